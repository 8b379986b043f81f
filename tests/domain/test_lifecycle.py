"""Status and progress of a task depend only on its plan and the time."""

from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain import lifecycle
from sora_mock.domain.plan import Plan
from sora_mock.domain.scenario import Scenario

timestamps = st.floats(1.0e9, 9.0e9)
durations = st.floats(0, 1e6) | st.sampled_from([0.1, 0.3, 5.0, 60.0])
outcomes = st.sampled_from(["completed", "failed", "cancelled", "stuck"])
plans = st.builds(
    lambda outcome, created_at, total, queue_share: Scenario(name="x", description="", outcome=outcome).plan(
        created_at, total, queue_share, {}
    ),
    outcomes,
    timestamps,
    durations,
    st.floats(0, 1),
)
ORDER = ["pending", "processing", "completed", "failed", "cancelled"]


@given(plans)
def test_a_task_has_ended_at_ended_at(plan: Plan) -> None:
    if plan.ended_at < float("inf"):
        assert lifecycle.has_ended(plan, plan.ended_at)
        assert lifecycle.status(plan, plan.ended_at) == plan.outcome


@given(plans)
def test_a_task_is_processing_at_processing_at(plan: Plan) -> None:
    if plan.processing_at < plan.full_at:
        assert lifecycle.status(plan, plan.processing_at) == "processing"
        assert lifecycle.progress(plan, plan.processing_at) == 1


@given(plans, st.lists(st.floats(-10, 2e6), min_size=2, max_size=20))
def test_status_never_goes_back_and_progress_never_falls_while_unfinished(plan: Plan, offsets: list[float]) -> None:
    seen = [
        (lifecycle.status(plan, plan.created_at + offset), lifecycle.progress(plan, plan.created_at + offset))
        for offset in sorted(offsets)
    ]
    ranks = [ORDER.index(status) for status, _ in seen]
    assert ranks == sorted(ranks)
    unfinished = [progress for status, progress in seen if status in ("pending", "processing")]
    assert unfinished == sorted(unfinished)


@given(plans, st.floats(-10, 2e6))
def test_progress_stays_in_the_range_of_its_status(plan: Plan, offset: float) -> None:
    now = plan.created_at + offset
    progress = lifecycle.progress(plan, now)
    match lifecycle.status(plan, now):
        case "pending" | "failed" | "cancelled":
            assert progress == 0
        case "processing":
            assert 1 <= progress <= 99
        case "completed":
            assert progress == 100


@given(plans)
def test_the_timestamps_of_a_plan_are_in_order(plan: Plan) -> None:
    assert plan.created_at <= plan.processing_at <= plan.full_at
    assert plan.created_at <= plan.ended_at


def test_every_tenth_of_five_seconds() -> None:
    plan = Scenario(name="x", description="").plan(1000.0, 5.0, 0.1, {})
    seen = [(lifecycle.status(plan, 1000 + t / 2), lifecycle.progress(plan, 1000 + t / 2)) for t in range(12)]
    assert seen == [
        ("pending", 0),
        ("processing", 1),
        ("processing", 12),
        ("processing", 23),
        ("processing", 34),
        ("processing", 45),
        ("processing", 56),
        ("processing", 67),
        ("processing", 78),
        ("processing", 89),
        ("completed", 100),
        ("completed", 100),
    ]


def test_a_curve_is_linear_between_its_points_and_constant_outside() -> None:
    plan = Plan(0.0, 0.0, 10.0, 10.0, curve=((0.2, 10.0), (0.5, 10.0), (0.5, 50.0), (0.9, 90.0)))
    assert [lifecycle.progress(plan, t) for t in (0.0, 1.0, 2.0, 4.9, 5.0, 7.0, 9.0, 9.9)] == [
        10, 10, 10, 10, 50, 70, 90, 90
    ]  # fmt: skip


def test_progress_of_a_failing_task_climbs_as_if_it_completed_later() -> None:
    plan = Plan(0.0, 0.0, 100.0, 95.0, "failed")
    assert lifecycle.progress(plan, 94.0) == 94
    assert lifecycle.progress(plan, 95.0) == 0
