"""Status and progress of a task: pure functions of its plan and the time."""

from typing import Literal

from sora_mock.domain.plan import Curve, Outcome, Plan

Status = Literal["pending", "processing"] | Outcome


def has_ended(plan: Plan, now: float) -> bool:
    """Whether the task has ended; at exactly `ended_at` it has."""
    return now >= plan.ended_at


def status(plan: Plan, now: float) -> Status:
    """pending, then processing, then the outcome of the plan for ever."""
    if now >= plan.ended_at:
        return plan.outcome
    return "processing" if now >= plan.processing_at else "pending"


def progress(plan: Plan, now: float) -> int:
    """Percent: 0 while pending, 1 to 99 while processing and never falling, 100 completed, 0 failed.

    Source: published contract, `progress`; docs/fidelity.md, how progress climbs.
    """
    if now >= plan.ended_at:
        return 100 if plan.outcome == "completed" else 0
    if now < plan.processing_at:
        return 0
    span = plan.full_at - plan.processing_at
    elapsed = (now - plan.processing_at) / span if span > 0 else 1.0
    return max(1, min(99, int(_height(plan.curve, elapsed))))


def _height(curve: Curve, elapsed: float) -> float:
    """The progress at a fraction of the processing time: linear between the points, constant before and after them."""
    left_x, left_y = curve[0]
    for right_x, right_y in curve:
        if elapsed < right_x:
            if right_x == left_x or elapsed <= left_x:
                return left_y
            return left_y + (right_y - left_y) * (elapsed - left_x) / (right_x - left_x)
        left_x, left_y = right_x, right_y
    return left_y
