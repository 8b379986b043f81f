"""The facts of a task, what they look like to a client at a moment, and the address of its video."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.ledger import to_credits
from sora_mock.domain.plan import Plan
from sora_mock.domain.scenario import Scenario

LINK_LIFETIME: Final = 24 * 3600.0
"""Seconds that a result link lives, counted from completion (published contract, description)."""

ID_PREFIX: Final = "task-unified-"


class Behaviour(msgspec.Struct, frozen=True):
    """What the sources leave open, as settings: the `[service]` table of the configuration (docs/fidelity.md).

    retry_after: whether a 429 has that header; `date` for a moment in the place of seconds.
    """

    cancelled_status: str = "failed"
    user_group: str = "default"
    queue_share: float = 0.1
    query_usage: bool = False
    query_estimated_time: bool = False
    expired_link_status: int = 404
    idempotency_conflict_status: int = 409
    retry_after: bool | Literal["date"] = True


class Video(msgspec.Struct, frozen=True):
    """What was ordered: seconds, `16:9` or `9:16`, and whether the watermark stays."""

    duration: int = 10
    aspect_ratio: str = "16:9"
    watermark: bool = False

    @property
    def file_name(self) -> str:
        """The file of `fixtures/videos/` that shows such a video."""
        shape = "portrait" if self.aspect_ratio == "9:16" else "landscape"
        return f"{shape}-{self.duration}s{'-watermark' if self.watermark else ''}.mp4"


class Task(msgspec.Struct, frozen=True, gc=False):
    """Everything that is kept of a task. A million are held at once: whatever can be shared is shared.

    account: the account's public name, 18 of A-Z0-9, as it stands in result links.
    price: units of 1/10,000 credit, reserved at creation.
    origin: what its result link begins with, kept so that every poll and the callback agree.
    """

    id: str
    account: str
    plan: Plan
    video: Video
    price: int
    origin: str
    scenario: Scenario
    callback_url: str | None = None


def created_view(task: Task, behaviour: Behaviour) -> dict[str, Any]:
    """The reply to the creation, keys in alphabetical order as the service sends them (recorded).

    The first status is pending/0, or processing/1 where there is no queue (recorded once).
    """
    plan = task.plan
    started = plan.processing_at <= plan.created_at < plan.ended_at
    return {
        "created": int(plan.created_at),
        "id": task.id,
        "model": MODEL,
        "object": "video.generation.task",
        "progress": lifecycle.progress(plan, plan.created_at) if started else 0,
        "status": "processing" if started else "pending",
        "task_info": {
            "can_cancel": True,
            "estimated_time": estimated_time(plan),
            "video_duration": task.video.duration,
        },
        "type": "video",
        "usage": {
            "billing_rule": "per_call",
            "credits_reserved": to_credits(task.price),
            "user_group": behaviour.user_group,
        },
    }


MODEL: Final = "sora-2-beta-max"


def estimated_time(plan: Plan) -> int:
    """Whole seconds from creation to the planned completion."""
    # a moment near 1.8e9 carries an error of 1e-7, and 5.0000001 is 5
    return math.ceil(plan.full_at - plan.created_at - 0.001)


def task_view(task: Task, now: float, behaviour: Behaviour) -> dict[str, Any]:
    """What the task query and the callback say of a task at `now`."""
    plan = task.plan
    status = lifecycle.status(plan, now)
    ended = now >= plan.ended_at
    if status == "cancelled":
        status = behaviour.cancelled_status  # type: ignore[assignment]  # checked by the settings
    view: dict[str, Any] = {"created": int(plan.created_at)}
    if ended and plan.failure is not None:
        view["error"] = {"code": plan.failure.code, "message": plan.failure.message, "type": "task_error"}
    view["id"] = task.id
    view["model"] = MODEL
    view["object"] = "video.generation.task"
    view["progress"] = lifecycle.progress(plan, now)
    if status == "completed":
        view["results"] = [result_url(task)]
    view["status"] = status
    view["task_info"] = {"can_cancel": not ended}
    if behaviour.query_estimated_time and not ended:
        view["task_info"]["estimated_time"] = estimated_time(plan)
    view["type"] = "video"
    if behaviour.query_usage and status == "completed":
        view["usage"] = {"credits_used": to_credits(task.price)}
    return view


# A result file is named after its task's id, scattered by multiplication with an odd number modulo 2^128:
# unguessable enough to look like the service's names, and undone without an index of a million files.
_SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835
_GATHER = pow(_SCATTER, -1, 2**128)
_SUFFIXES = 36**8


def result_url(task: Task) -> str:
    """`{origin}/files/{account}/videos/YYYY/MM/DD/{32 hex}.mp4`; the day is that of completion (assumption)."""
    return task.origin + result_path(task)


def result_path(task: Task) -> str:
    """The path of the result link. Only for tasks that end."""
    number = int(task.id[13:23]) * _SUFFIXES + int(task.id[24:], 36)
    name = number * _SCATTER % 2**128
    return f"/files/{task.account}/videos/{_day(task.plan.ended_at // 86400)}/{name:032x}.mp4"


@lru_cache(maxsize=64)
def _day(number: float) -> str:
    """`YYYY/MM/DD` of a day counted from 1970, UTC."""
    return f"{datetime.fromtimestamp(number * 86400, UTC):%Y/%m/%d}"


def task_id_of(file_name: str) -> str | None:
    """The id of the task that a result file (32 hex digits) belongs to; None if it can belong to none."""
    if re.fullmatch(r"[0-9a-f]{32}", file_name) is None:
        return None
    created, suffix = divmod(int(file_name, 16) * _GATHER % 2**128, _SUFFIXES)
    if not 10**9 <= created < 10**10:
        return None
    return f"{ID_PREFIX}{created}-{_base36(suffix)}"


def _base36(number: int) -> str:
    """Eight digits of base 36."""
    digits = ""
    for _ in range(8):
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
