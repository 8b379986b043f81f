"""A task's future, decided once when the task is created, as timestamps and not as durations.

A duration added to a clock of 1.7e9 seconds is rounded, and a task would still be processing at its own end.
"""

from typing import Literal

import msgspec

Outcome = Literal["completed", "failed", "cancelled"]

Curve = tuple[tuple[float, float], ...]
"""Points (fraction of the processing time 0 to 1, progress 0 to 100); both values never fall from point to point."""

STEADY: Curve = ((0.0, 1.0), (1.0, 100.0))
"""Progress is 1 when processing starts (docs/fidelity.md, R). Assumption: from there it climbs evenly."""


class Failure(msgspec.Struct, frozen=True):
    """The `error` object of a failed task.

    code: a failure code of the published contract, or a code of the user.
    message: the text for a person.
    """

    code: str
    message: str


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Timestamps of a task: Unix seconds of the account's clock. Everything compares the time with these floats.

    created_at: when the task was created.
    processing_at: the task is pending before this time, and processing from it on.
    full_at: when progress would reach 100; later than `ended_at` for a task that fails before.
    ended_at: the task shows its outcome from this time on; infinity for a task that never ends.
    outcome: how the task ends.
    failure: the `error` object of the task; None for a completed task, or a failed one without an error object.
    curve: how progress climbs from `processing_at` to `full_at`.
    """

    created_at: float
    processing_at: float
    full_at: float
    ended_at: float
    outcome: Outcome = "completed"
    failure: Failure | None = None
    curve: Curve = STEADY

    def ending(self, now: float, outcome: Outcome, failure: Failure | None = None) -> "Plan":
        """The same plan, but it ends at `now` with this outcome. The control API uses it."""
        started = min(self.processing_at, now)
        return msgspec.structs.replace(self, processing_at=started, ended_at=now, outcome=outcome, failure=failure)
