"""A scenario: the timing and outcome of a task, a rejection of the request, or a fault of the response."""

import math
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from sora_mock.domain.delivery import CallbackVariant
from sora_mock.domain.fault import Fault
from sora_mock.domain.plan import STEADY, Curve, Failure, Outcome, Plan

Shape = Literal["unknown_status", "unknown_fields", "numeric_error_code", "wrapped_in_data", "cancelled_as_status"]
"""How response bodies about a task differ from the published contract (domain/shape.py)."""


_SHAPED: Final[Mapping[str, tuple[str, ...]]] = {
    "unknown_status": ("query",),
    "cancelled_as_status": ("query",),
    "unknown_fields": ("query", "credits"),
    "numeric_error_code": ("query", "credits"),
    "wrapped_in_data": ("query", "credits"),
}
"""The operations besides `create` whose responses each shape changes."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named scenario. Durations are seconds of the account's clock, except where real seconds are named.

    name: 1 to 80 characters of A-Z a-z 0-9 _ . -
    description: one sentence for a person.
    outcome: how the task ends; a `stuck` task never ends.
    generation_time: seconds from creation to the end; None uses the server's default.
    queue_time: seconds of `generation_time` in which the task is pending; None uses the server's default part.
    at: the part of the processing time after which the task fails, 0 to 1; None fails at the end.
    code: failure code of the task, or error code of the rejection; None uses the documented one.
    message: text of the failure or the rejection; None uses the documented one.
    progress: how progress climbs; None climbs evenly.
    latency: real seconds before the response is sent, 0 to 60.
    status: HTTP status of the rejection, 400 to 599; None handles the request.
    retry_after: real seconds in the Retry-After header of a 429 or 503; None is 60 for a 429, and no header for a 503.
    fault: the fault of the response; None sends it whole.
    shape: how response bodies differ from the published contract; None follows it.
    tells_error: whether a failed task has an `error` object.
    callback: how the callback of the task differs from the usual one; None sends the usual one.
    """

    name: str
    description: str
    outcome: Outcome | Literal["stuck"] = "completed"
    generation_time: float | None = None
    queue_time: float | None = None
    at: float | None = None
    code: str | None = None
    message: str | None = None
    progress: Curve | None = None
    latency: float = 0.0
    status: int | None = None
    retry_after: int | None = None
    fault: Fault | None = None
    shape: Shape | None = None
    tells_error: bool = True
    callback: CallbackVariant | None = None

    @property
    def rejects(self) -> bool:
        """Whether the response is an error and the request is not handled."""
        return self.status is not None

    def affects(self, operation: str) -> bool:
        """Whether the scenario changes a response of `query`, `credits` or `file`.

        The timing and outcome of a task do not count: they only follow from the scenario of its create request.
        """
        if self.status or self.latency or (self.fault and self.fault != "reply_after_callback"):
            return True
        return operation in _SHAPED.get(self.shape or "", ())

    def plan(self, created_at: float, generation_time: float, queue_share: float, messages: Mapping[str, str]) -> Plan:
        """The plan of a task that is created at `created_at` (Unix seconds of the account's clock).

        generation_time: the server's default, in seconds.
        queue_share: the part of the generation time that a task is pending by default, 0 to 1.
        messages: the default message of each failure code.
        """
        total = generation_time if self.generation_time is None else self.generation_time
        queued = total * queue_share if self.queue_time is None else min(self.queue_time, total)
        curve = self.progress or STEADY
        processing_at, full_at = created_at + queued, created_at + total
        if self.outcome == "stuck":
            return Plan(created_at, processing_at, full_at, math.inf, curve=curve)
        if self.outcome == "completed":
            return Plan(created_at, processing_at, full_at, full_at, curve=curve)
        ended_at = full_at if self.at is None else processing_at + (full_at - processing_at) * self.at
        code = self.code or "unknown_error"
        failure = Failure(code, self.message or messages.get(code, code)) if self.tells_error else None
        return Plan(created_at, processing_at, full_at, ended_at, self.outcome, failure, curve)
