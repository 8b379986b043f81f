"""A task's future, decided once when it is created: moments, never durations."""

from typing import Literal

import msgspec

Outcome = Literal["completed", "failed", "cancelled"]

Curve = tuple[tuple[float, float], ...]
"""Points (share of the processing time 0..1, progress 0..100), both rising."""

STEADY: Curve = ((0.0, 1.0), (1.0, 100.0))
"""Progress is 1 when processing starts (service-facts, recorded) and climbs evenly (assumption)."""


class Failure(msgspec.Struct, frozen=True):
    """What the `error` of a failed task says. `code` is one of the documented failure codes, or a user's own."""

    code: str
    message: str


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Moments in Unix seconds of the account's clock; everybody compares with these same floats.

    processing_at: pending before it, processing from it on.
    full_at: when the progress would reach 100; later than `ended_at` where the task fails on the way.
    ended_at: from this moment on the task shows its outcome; infinity for a task that never ends.
    failure: what is told of a failed task; None for a completed one, or a failed one that tells nothing.
    """

    created_at: float
    processing_at: float
    full_at: float
    ended_at: float
    outcome: Outcome = "completed"
    failure: Failure | None = None
    curve: Curve = STEADY

    def ending(self, now: float, outcome: Outcome, failure: Failure | None = None) -> "Plan":
        """The same plan, ended at `now` with another outcome. Asked for through the control API."""
        started = min(self.processing_at, now)
        return msgspec.structs.replace(self, processing_at=started, ended_at=now, outcome=outcome, failure=failure)
