"""Where a task stands at a moment: status and progress as a pure function of its plan and the time."""

from typing import Literal

from sora_mock.domain.plan import Curve, Outcome, Plan

Status = Literal["pending", "processing"] | Outcome


def has_ended(plan: Plan, now: float) -> bool:
    """A task is over at its own end."""
    return now >= plan.ended_at


def status(plan: Plan, now: float) -> Status:
    """pending, processing, then the plan's outcome for ever."""
    if now >= plan.ended_at:
        return plan.outcome
    return "processing" if now >= plan.processing_at else "pending"


def progress(plan: Plan, now: float) -> int:
    """Percent: 0 while pending, 1 to 99 while processing and never falling, 100 completed, 0 failed.

    Source: service-facts, task query (documented and recorded).
    """
    if now >= plan.ended_at:
        return 100 if plan.outcome == "completed" else 0
    if now < plan.processing_at:
        return 0
    span = plan.full_at - plan.processing_at
    share = (now - plan.processing_at) / span if span > 0 else 1.0
    return max(1, min(99, int(_height(plan.curve, share))))


def _height(curve: Curve, share: float) -> float:
    """The curve's value at `share`, straight between its points and level outside them."""
    left_x, left_y = curve[0]
    for right_x, right_y in curve:
        if share < right_x:
            if right_x == left_x or share <= left_x:
                return left_y
            return left_y + (right_y - left_y) * (share - left_x) / (right_x - left_x)
        left_x, left_y = right_x, right_y
    return left_y
