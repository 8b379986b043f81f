"""The facts of a task, how the API shows them at a given time, and the address of its video."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from sora_mock.domain import lifecycle
from sora_mock.domain.ledger import to_credits
from sora_mock.domain.models import Model, VideoOrder
from sora_mock.domain.plan import Plan
from sora_mock.domain.scenario import Scenario

LINK_LIFETIME: Final = 24 * 3600.0
"""Seconds of the account's clock from completion for which a result link works. Source: published contract."""

ID_PREFIX: Final = "task-unified-"
"""How every task id begins; ten digits of `created`, a hyphen and 8 characters of 0-9a-z follow."""


ErrorStatus = Annotated[int, Meta(ge=400, le=499)]


class Behaviour(msgspec.Struct, frozen=True):
    """Behaviour that the sources leave open: the `[service]` table of the configuration.

    Assumption: each default (docs/fidelity.md).

    cancelled_status: `status` that a cancelled task shows, `failed` or `cancelled`.
    user_group: `user_group` in the response to a create request.
    queue_share: the part of the generation time that a task is pending, 0 to 1.
    query_usage: whether a completed task shows `usage`.
    query_estimated_time: whether a task that has not ended shows `estimated_time`.
    expired_link_status: HTTP status of a result link after 24 hours.
    idempotency_conflict_status: HTTP status for an `Idempotency-Key` that is used again with another body.
    retry_after: whether a 429 has a Retry-After header; `date` writes it as a date instead of seconds.
    """

    cancelled_status: Literal["failed", "cancelled"] = "failed"
    user_group: Literal["default", "vip"] = "default"
    queue_share: Annotated[float, Meta(ge=0, le=1)] = 0.1
    query_usage: bool = False
    query_estimated_time: bool = False
    expired_link_status: ErrorStatus = 404
    idempotency_conflict_status: ErrorStatus = 409
    retry_after: bool | Literal["date"] = True


class Task(msgspec.Struct, frozen=True, gc=False):
    """All facts of a task. A million tasks are held at once, so tasks refer to the same values where possible.

    id: `task-unified-`, the created time in ten digits, a hyphen, 8 characters of 0-9a-z.
    account: public name of the account, 18 characters of A-Z0-9, as in result links.
    model: the model that makes it.
    plan: the timestamps and the outcome.
    order: what the create request asked for.
    price: units of 1/10,000 credit, reserved when the task is created.
    origin: what its result link begins with, such as `http://127.0.0.1:4010`; kept so that all responses agree.
    scenario: the scenario that was chosen for the create request.
    callback_url: where its callback goes; None for a task without a callback.
    """

    id: str
    account: str
    model: Model
    plan: Plan
    order: VideoOrder
    price: int
    origin: str
    scenario: Scenario
    callback_url: str | None = None


def created_view(task: Task, behaviour: Behaviour) -> dict[str, Any]:
    """The response body of the create request; keys in alphabetical order, as the service sends them.

    The first status is pending with progress 0, or processing with 1 where there is no queue (docs/fidelity.md, R).
    """
    plan = task.plan
    started = plan.processing_at <= plan.created_at < plan.ended_at
    return {
        "created": int(plan.created_at),
        "id": task.id,
        "model": task.model.name,
        "object": task.model.object,
        "progress": lifecycle.progress(plan, plan.created_at) if started else 0,
        "status": "processing" if started else "pending",
        "task_info": {
            "can_cancel": True,
            "estimated_time": estimated_time(plan),
            "video_duration": task.order.duration,
        },
        "type": task.model.kind,
        "usage": {
            "billing_rule": "per_call",
            "credits_reserved": to_credits(task.price),
            "user_group": behaviour.user_group,
        },
    }


def estimated_time(plan: Plan) -> int:
    """Whole seconds from creation to the planned completion, rounded up."""
    # a timestamp near 1.8e9 has an error of 1e-7: 5.0000001 means 5
    return math.ceil(plan.full_at - plan.created_at - 0.001)


def task_view(task: Task, now: float, behaviour: Behaviour) -> dict[str, Any]:
    """The body of the task query and of the callback at `now` (Unix seconds of the account's clock)."""
    plan = task.plan
    status = lifecycle.status(plan, now)
    ended = now >= plan.ended_at
    if status == "cancelled":
        status = behaviour.cancelled_status
    view: dict[str, Any] = {"created": int(plan.created_at)}
    if ended and plan.failure is not None:
        view["error"] = {"code": plan.failure.code, "message": plan.failure.message, "type": "task_error"}
    view["id"] = task.id
    view["model"] = task.model.name
    view["object"] = task.model.object
    view["progress"] = lifecycle.progress(plan, now)
    if status == "completed":
        view["results"] = [result_url(task)]
    view["status"] = status
    view["task_info"] = {"can_cancel": not ended}
    if behaviour.query_estimated_time and not ended:
        view["task_info"]["estimated_time"] = estimated_time(plan)
    view["type"] = task.model.kind
    if behaviour.query_usage and status == "completed":
        view["usage"] = {"credits_used": to_credits(task.price)}
    return view


# The name of a result file is its task's id, multiplied by an odd number modulo 2^128. It looks like the names of the
# service, and the inverse multiplication finds the task without an index of a million files.
_SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835
_GATHER = pow(_SCATTER, -1, 2**128)
_SUFFIXES = 36**8


def result_url(task: Task) -> str:
    """The result link of a task: `{origin}/files/{account}/videos/YYYY/MM/DD/{32 hex}.mp4`.

    Assumption: the day is the UTC day of completion.
    """
    return task.origin + result_path(task)


def result_path(task: Task) -> str:
    """The path of the result link. Only for a task that ends."""
    number = int(task.id[13:23]) * _SUFFIXES + int(task.id[24:], 36)
    name = number * _SCATTER % 2**128
    return f"/files/{task.account}/videos/{_day(task.plan.ended_at // 86400)}/{name:032x}.mp4"


@lru_cache(maxsize=64)
def _day(number: float) -> str:
    """`YYYY/MM/DD` of a day in UTC. number: days since 1970."""
    return f"{datetime.fromtimestamp(number * 86400, UTC):%Y/%m/%d}"


def task_id_of(file_name: str) -> str | None:
    """The id of the task that a result file belongs to; None for a name that no task can have.

    file_name: without `.mp4`; 32 hexadecimal digits.
    """
    if re.fullmatch(r"[0-9a-f]{32}", file_name) is None:
        return None
    created, suffix = divmod(int(file_name, 16) * _GATHER % 2**128, _SUFFIXES)
    if not 10**9 <= created < 10**10:
        return None
    return f"{ID_PREFIX}{created}-{_base36(suffix)}"


def _base36(number: int) -> str:
    """Eight digits in base 36."""
    digits = ""
    for _ in range(8):
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
