"""The result files behind result links, which need no key."""

from sora_mock.domain import lifecycle
from sora_mock.domain.byte_range import response_for
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.domain.task import LINK_LIFETIME, result_path, task_id_of
from sora_mock.runtime.package_data import video_bytes
from sora_mock.service.admission import choose_effect
from sora_mock.service.authentication import arrive
from sora_mock.service.context import Service


def download(service: Service, exchange: Exchange, *, file_name: str, **folders: str) -> ApiResponse:
    """The clip of a completed task, whole or a part of it.

    file_name: 32 hexadecimal digits without `.mp4`. folders: the rest of the path, which is compared as a whole.

    Raises ApiError 404 for a link that no task has, the configured status for an expired one, 416, and the error of
    a scenario that rejects.
    """
    task = service.storage.tasks.get(task_id_of(file_name) or "")
    if task is None:
        choose_effect(service, None, exchange, "file", service.selector.from_header(exchange))
        raise _not_found()
    with service.storage.owner(task) as account:
        now = arrive(service, account, exchange)
        choose_effect(service, account, exchange, "file", service.selector.from_header(exchange))
    exchange.task_id = task.id
    if lifecycle.status(task.plan, now) != "completed" or result_path(task) != exchange.path:
        raise _not_found()
    if now >= task.plan.ended_at + LINK_LIFETIME:
        message = "The result link has expired: it was valid for 24 hours after its task completed"
        raise ApiError(service.settings.behaviour.expired_link_status, message, code="file_expired")
    body = video_bytes(task.model.clip(task.order))
    # RFC 9110, 14.2: a range is for GET alone
    headers = exchange.headers if exchange.method == "GET" else {**exchange.headers, b"range": b""}
    return response_for(body, f'"{file_name}"'.encode(), headers)


def _not_found() -> ApiError:
    return ApiError(404, "The requested file could not be found", code="file_not_found")
