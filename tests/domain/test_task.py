"""Task ids, result links, and the views of a task that clients get."""

import re

from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.models import DEFAULT_MODEL, read_models
from sora_mock.domain.plan import Failure, Plan
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.task import (
    Behaviour,
    Task,
    created_view,
    estimated_time,
    result_path,
    task_id_of,
    task_view,
)
from sora_mock.runtime.package_data import model_tables

MODEL = read_models(model_tables())[DEFAULT_MODEL]
ORDER = MODEL.orders[15, "9:16", False]
COMPLETED = Scenario(name="completed", description="")
created = st.integers(10**9, 10**10 - 1)


def make_task(plan: Plan, task_id: str = "task-unified-1757169743-7cvnl5zw") -> Task:
    return Task(task_id, "A" * 18, MODEL, plan, ORDER, MODEL.price(ORDER), "http://localhost:4010", COMPLETED)


@given(created, st.from_regex(r"\A[a-z0-9]{8}\Z"))
def test_the_name_of_a_result_file_gives_its_task_id(created_at: int, suffix: str) -> None:
    task_id = f"task-unified-{created_at}-{suffix}"
    plan = Plan(float(created_at), float(created_at), created_at + 5.0, created_at + 5.0)
    path = result_path(make_task(plan, task_id))
    assert re.fullmatch(r"/files/A{18}/videos/\d{4}/\d\d/\d\d/[0-9a-f]{32}\.mp4", path)
    assert task_id_of(path[-36:-4]) == task_id


@given(st.text("0123456789abcdef", min_size=32, max_size=32) | st.text(max_size=40))
def test_any_other_file_name_gives_none_or_a_valid_task_id(name: str) -> None:
    found = task_id_of(name)
    assert found is None or re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", found)


def test_the_day_in_a_result_link_is_the_day_of_completion() -> None:
    # created 2025-12-31 23:59:59 UTC, completed two seconds later
    plan = Plan(1767225599.0, 1767225599.0, 1767225601.0, 1767225601.0)
    assert "/2026/01/01/" in result_path(make_task(plan))


def test_a_new_task_is_pending_or_processing() -> None:
    def first_status(total: float, queue_share: float) -> tuple[str, int]:
        view = created_view(make_task(COMPLETED.plan(1000.0, total, queue_share, {})), Behaviour())
        return view["status"], view["progress"]

    assert first_status(5, 0.1) == ("pending", 0)
    assert first_status(5, 0) == ("processing", 1)
    assert first_status(0, 0.1) == ("pending", 0)


@given(st.floats(1e9, 9e9), st.integers(0, 10**6))
def test_the_estimated_time_of_whole_seconds_is_exact(created_at: float, seconds: int) -> None:
    assert estimated_time(COMPLETED.plan(created_at, float(seconds), 0.1, {})) == seconds


def test_a_failed_task_shows_its_error_and_a_cancelled_task_follows_its_setting() -> None:
    failed = make_task(Plan(0.0, 1.0, 5.0, 5.0, "failed", Failure("service_error", "try later")))
    assert task_view(failed, 5.0, Behaviour())["error"] == {
        "code": "service_error",
        "message": "try later",
        "type": "task_error",
    }
    assert "error" not in task_view(failed, 4.9, Behaviour())
    cancelled = make_task(Plan(0.0, 1.0, 5.0, 5.0, "cancelled", Failure("request_cancelled", "")))
    assert task_view(cancelled, 5.0, Behaviour())["status"] == "failed"
    assert task_view(cancelled, 5.0, Behaviour(cancelled_status="cancelled"))["status"] == "cancelled"


def test_fields_that_only_recordings_show_are_off_by_default() -> None:
    task = make_task(Plan(0.0, 1.0, 5.0, 5.0))
    shown = Behaviour(query_usage=True, query_estimated_time=True)
    assert task_view(task, 2.0, Behaviour())["task_info"] == {"can_cancel": True}
    assert task_view(task, 2.0, shown)["task_info"] == {"can_cancel": True, "estimated_time": 5}
    assert "usage" not in task_view(task, 5.0, Behaviour())
    assert task_view(task, 5.0, shown)["usage"] == {"credits_used": 8.64}
