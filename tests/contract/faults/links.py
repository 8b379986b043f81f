"""Faults in result links and the files behind them."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from sora_mock.domain import byte_range, task
from sora_mock.domain.errors import ApiError
from sora_mock.domain.models import Model
from sora_mock.domain.task import LINK_LIFETIME, result_path, task_id_of
from sora_mock.runtime.package_data import video_bytes
from sora_mock.service import files
from tests.contract.faults import responses as sent
from tests.contract.faults.planting import Plant, Table, around, first, part, replaced, responses, then, wrapped
from tests.contract.faults.responses import Response


class _AnyPath(str):
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _shown_until(seconds_after_end: float, code: str) -> Callable[..., Any]:
    """The file is sent instead of the error with that code, until so many seconds after the task's end."""

    def download(original: Any, service: Any, exchange: Any, *, file_name: str, **folders: str) -> Any:
        try:
            return original(service, exchange, file_name=file_name, **folders)
        except ApiError as error:
            found = service.storage.tasks.get(task_id_of(file_name) or "")
            if error.code != code or found is None or result_path(found) != exchange.path:
                raise
            if exchange.at >= found.plan.ended_at + seconds_after_end:
                raise
            return byte_range.response_for(video_bytes(found.model.clip(found.order)), b'"tag"', exchange.headers)

    return download


def _lives_from_the_create_request(
    response: Any, service: Any, exchange: Any, *, file_name: str, **folders: str
) -> None:
    if exchange.at >= service.storage.tasks[task_id_of(file_name)].plan.created_at + LINK_LIFETIME:
        raise ApiError(404, code="file_expired")


def _with_key(service: Any, exchange: Any, **path: str) -> None:
    if b"authorization" not in exchange.headers:
        raise ApiError(401)


def _file(edit: Callable[[bytes], bytes]) -> Plant:
    """Another file behind every link."""
    return around(files, "video_bytes", then(lambda body, name: edit(body)))


def _suffix_first(byte_range: Any, wanted: bytes, size: int) -> Any:
    return byte_range(wanted.replace(b"=-", b"=0-"), size)


def _less(found: Any, wanted: bytes, size: int) -> Any:
    return found and (found[0], found[1] - 1)


def _starts_at_zero(found: Any, wanted: bytes, size: int) -> Any:
    return found and ((0, found[1]) if wanted.endswith(b"-") else found)


def _whole(byte_range: Any, wanted: bytes, size: int) -> Any:
    try:
        return byte_range(wanted, size)
    except ApiError:
        return None


def _strict_end(wanted: bytes, size: int) -> None:
    if re.search(rb"-\d{6,}$", wanted):
        raise ApiError(416)


def _strict_range(found: Any, wanted: bytes, size: int) -> None:
    if wanted and found is None:
        raise ApiError(416)


def _range_lost(response: Response) -> None:
    response.status = 200 if response.status == 206 else response.status


def _wrong_type(response: Response) -> None:
    if response.path.startswith("/files/") and response.status == 200:
        response.headers["content-type"] = "application/octet-stream"


def _no_head(response: Response) -> None:
    if response.method == "HEAD" and response.status == 200:
        response.status = 405


def _result(edit: Callable[[str], str]) -> Plant:
    return responses(sent.task(lambda view: "results" in view and view.update(results=[edit(view["results"][0])])))


def _path_of_created_day(one: Any) -> str:
    plan = msgspec.structs.replace(one.plan, ended_at=one.plan.created_at)
    return result_path(msgspec.structs.replace(one, plan=plan))


LINKS: Table = {
    "octet-stream": ("link.video link.head", responses(_wrong_type)),
    "files want a key": ("link.video link.range.* link.order", wrapped(files.download, first(_with_key))),
    "the video is cut off": ("link.video", _file(lambda body: body[:-100])),
    "the video has a tail": ("link.video", _file(lambda body: body + b"<!-- -->")),
    "a page for the video": ("link.video", _file(lambda body: b"<html></html>")),
    "path unchecked": ("link.unknown", part(files, "result_path", lambda one: _AnyPath(result_path(one)))),
    "file early": ("link.before", wrapped(files.download, _shown_until(0, "file_not_found"))),
    "links for ever": ("link.24h link.24h.completion", part(files, "LINK_LIFETIME", 1e9)),
    "links short": ("link.24h link.24h.completion", part(files, "LINK_LIFETIME", 3600.0)),
    "life from the create request": (
        "link.24h link.24h.completion",
        wrapped(files.download, then(_lives_from_the_create_request)),
    ),
    "an hour of grace": (
        "link.24h link.24h.completion",
        wrapped(files.download, _shown_until(90_000, "file_expired")),
    ),
    "range ignored": ("link.range.[!4i]*", responses(_range_lost)),
    "suffix from the start": ("link.range.suffix", around(byte_range, "byte_range", _suffix_first)),
    "end left out": ("link.range.[!4i]*", around(byte_range, "byte_range", then(_less))),
    "open from zero": ("link.range.open", around(byte_range, "byte_range", then(_starts_at_zero))),
    "whole beyond": ("link.range.416", around(byte_range, "byte_range", _whole)),
    "end beyond rejected": ("link.range.beyond", around(byte_range, "byte_range", first(_strict_end))),
    "unreadable rejected": ("link.range.ignored", around(byte_range, "byte_range", then(_strict_range))),
    "no HEAD": ("link.head", responses(_no_head)),
    "day with hyphens": ("link.form", _result(lambda link: re.sub(r"(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", link))),
    "link of the created day": (
        "link.day",
        replaced(task.result_path, _path_of_created_day),
    ),
    "one link": ("link.differ", _result(lambda link: "http://x/one.mp4")),
    "one video": ("link.order", part(Model, "clip", lambda self, order: "landscape-10s.mp4")),
}
