"""The lifecycle of a task: its states, its results and its error, second by second on a frozen clock."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contract_tests.orders import DAY, GENERATION
from contract_tests.reading import problems
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import TEN_SECONDS

QUERY = "service documentation, task query (D)"
STATES = ["pending", "processing", "completed"]
FAILURES = "service documentation, failure codes of a failed task (D)"
CODES = [
    "content_policy_violation",
    "invalid_parameters",
    "image_processing_error",
    "image_dimension_mismatch",
    "request_cancelled",
    "generation_failed_no_content",
    "service_error",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "service_unavailable",
    "resource_not_found",
    "unknown_error",
]


FOLLOWED: dict[str, Any] = {"price": TEN_SECONDS, "shared": "usual"}
"""One list of polls serves all these rules."""


@pytest.mark.contract(id="life.shape", source=QUERY, **FOLLOWED)
def test_at_every_second_the_task_has_the_shape_of_the_schema_task(views: list[Any]) -> None:
    """At every second the task has the shape Task."""
    assert [found for view in views for found in problems("Task", view)] == []


@pytest.mark.contract(id="life.order", source=QUERY, **FOLLOWED)
def test_a_task_is_pending_then_processing_then_completed(service: Service, completed_views: list[Any]) -> None:
    """A task is pending, processing, completed, in this order; on a mock each is seen."""
    states = [view["status"] for view in completed_views]
    assert [state for state in states if state not in STATES] == []
    assert states == sorted(states, key=STATES.index)
    assert states[-1] == "completed"
    if service.is_mock:
        assert list(dict.fromkeys(states)) == STATES


@pytest.mark.contract(id="life.progress.rises", source=QUERY, **FOLLOWED)
def test_progress_never_falls(service: Service, completed_views: list[Any]) -> None:
    """Progress never falls; on a mock it moves every second."""
    progress = [view["progress"] for view in completed_views]
    assert progress == sorted(progress)
    if service.is_mock:
        assert len(set(progress)) > 5, progress


@pytest.mark.contract(id="life.progress.bounds", source=f"{QUERY}; recorded response (R)", **FOLLOWED)
def test_progress_fits_the_status(service: Service, completed_views: list[Any]) -> None:
    """Progress is 0 while pending, 1 to 99 while processing, 100 when completed; processing starts with 1."""
    # there is only one recorded response, so on the live service 0 at the beginning is not a failure
    first = 1 if service.is_mock else 0
    bounds = {"pending": range(1), "processing": range(first, 100), "completed": range(100, 101)}
    pairs = [(view["status"], view["progress"]) for view in completed_views]
    assert [(status, progress) for status, progress in pairs if progress not in bounds.get(status, ())] == []
    if service.is_mock:
        assert [progress for status, progress in pairs if status == "processing"][:1] == [1]


@pytest.mark.contract(id="life.results", source=QUERY, **FOLLOWED)
def test_results_are_there_exactly_when_the_task_is_completed(completed_views: list[Any]) -> None:
    """Results are there exactly when the task is completed: one link then, and no field before."""
    shown = [("results" in view, view["status"]) for view in completed_views]
    assert [has for has, _ in shown] == [status == "completed" for _, status in shown]
    results = completed_views[-1]["results"]
    assert len(results) == 1
    assert results[0]


@pytest.mark.contract(id="life.no_error", source=QUERY, **FOLLOWED)
def test_a_task_that_does_not_fail_has_no_error(completed_views: list[Any]) -> None:
    assert [view for view in completed_views if view.get("error") is not None] == []


@pytest.mark.contract(id="life.can_cancel", source="recorded response (R)", **FOLLOWED)
def test_can_cancel_is_true_while_the_task_is_unfinished_and_false_afterwards(views: list[Any]) -> None:
    """can_cancel is true while the task is unfinished and false afterwards."""
    wrong = [view for view in views if view["task_info"]["can_cancel"] is not (view["status"] in STATES[:2])]
    assert wrong == []


@pytest.mark.contract(id="life.immutable", source=QUERY, **FOLLOWED)
def test_id_created_model_object_and_type_never_change(shared_task: Any, views: list[Any]) -> None:
    """id, created, model, object and type never change: each poll shows those of the response to the create request."""
    names = ("id", "created", "model", "object", "type")
    fixed = [{name: view.get(name) for name in names} for view in (shared_task, *views)]
    assert fixed == [fixed[0]] * len(fixed)


@pytest.mark.contract(id="life.moments", source="docs/time.md", needs={"clock"})
def test_a_task_changes_its_status_exactly_on_time(service: Service, mock: Account) -> None:
    """The task is processing after its queue time and completed at its end, not before and not later."""
    task_id, states = service.created()["id"], []
    # the queue takes 2 s and the whole 20 s: 10 ms before and after each
    for step in (1.99, 0.02, 17.98, 0.02):
        mock.clock.advance(step)
        states.append(service.task(task_id)["status"])
    assert states == ["pending", "processing", "processing", "completed"]


@pytest.mark.contract(id="life.end.exact", source="docs/time.md", needs={"clock"})
def test_a_task_is_over_at_its_own_end(service: Service, mock: Account) -> None:
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION)
    assert service.task(task_id)["status"] == "completed"


@pytest.fixture
def ended_polls(service: Service, request: pytest.FixtureRequest) -> list[httpx.Response]:
    """Polls of a task from its completion on: for three days on a mock, three polls on the live service."""
    if not service.is_mock:
        request.getfixturevalue("completed_views")
        polls: list[httpx.Response] = request.getfixturevalue("polls")
        return polls[-3:]
    mock, task_id = request.getfixturevalue("mock"), service.created()["id"]
    found = []
    for step in (GENERATION, 0, 1, 3600, DAY, 2 * DAY):
        mock.clock.advance(step)
        found.append(service.get(f"/v1/tasks/{task_id}"))
    return found


@pytest.mark.contract(id="life.results.stay", source=QUERY, **FOLLOWED)
def test_the_result_link_never_changes(ended_polls: list[httpx.Response]) -> None:
    """The result link never changes, on a mock in three days."""
    links = [accepted(poll)["results"] for poll in ended_polls]
    assert links == [links[0]] * len(links)


@pytest.mark.contract(id="life.final", source=QUERY, **FOLLOWED)
def test_a_completed_task_stays_as_it_is(ended_polls: list[httpx.Response]) -> None:
    """A completed task stays as it is, byte for byte, on a mock for three days."""
    bodies = [poll.content for poll in ended_polls]
    assert bodies == [bodies[0]] * len(bodies)


@pytest.mark.contract(id="life.reading", source="ARCHITECTURE.md: a query changes nothing", needs={"clock"})
def test_reading_changes_nothing(service: Service, mock: Account) -> None:
    """Reading changes nothing: ten polls at one time are equal."""
    task_id = service.created()["id"]
    mock.clock.advance(7)
    bodies = [service.get(f"/v1/tasks/{task_id}").content for _ in range(10)]
    assert bodies == [bodies[0]] * 10


@pytest.mark.contract(id="life.first_poll", source=QUERY, needs={"clock"})
def test_the_first_poll_says_what_the_create_request_said(service: Service, mock: Account) -> None:
    """The first poll says what the response to the create request said: the same status and progress."""
    created = service.created()
    task = service.task(created["id"])
    assert (task["status"], task["progress"]) == (created["status"], created["progress"])


def outcome_of(task: Any) -> dict[str, Any]:
    """The fields that say how a task failed. Of the message, only whether there is one."""
    error = task.get("error")
    if isinstance(error, dict):
        error = {"code": error.get("code"), "type": error.get("type"), "has message": bool(error.get("message"))}
    return {
        "problems": problems("Task", task),
        "status": task["status"],
        "progress": task["progress"],
        "has results": "results" in task,
        "can_cancel": task["task_info"]["can_cancel"],
        "error": error,
    }


def failed(code: str) -> dict[str, Any]:
    """`outcome_of` of a task that failed with a code."""
    error = {"code": code, "type": "task_error", "has message": True}
    return {
        "problems": [],
        "status": "failed",
        "progress": 0,
        "has results": False,
        "can_cancel": False,
        "error": error,
    }


@pytest.mark.contract(
    id="life.failed.*",
    claim="a task can fail with *: progress 0, an error of type task_error, no results, and stays so",
    source=FAILURES,
    needs={"clock"},
)
@pytest.mark.parametrize("code", [pytest.param(code, id=code) for code in CODES])
def test_a_task_can_fail_with_each_documented_code(
    service: Service, mock: Account, every_task: Callable[..., None], code: str
) -> None:
    every_task("failed", code=code, generation_time=GENERATION)
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION - 1)
    assert service.task(task_id)["status"] == "processing"
    mock.clock.advance(1)
    assert outcome_of(service.task(task_id)) == failed(code)
    mock.clock.advance(DAY)
    assert outcome_of(service.task(task_id)) == failed(code)


@pytest.mark.contract(
    id="life.cancelled", source="service documentation, cancelled tasks (D; an assumption)", needs={"clock"}
)
def test_a_cancelled_task_is_failed_with_request_cancelled(service: Service, mock: Account) -> None:
    """A cancelled task is failed with request_cancelled, at once, and stays so."""
    task_id = service.created()["id"]
    mock.clock.advance(5)
    mock.task(task_id).finish("cancelled")
    assert outcome_of(service.task(task_id)) == failed("request_cancelled")
    mock.clock.advance(GENERATION)
    assert outcome_of(service.task(task_id)) == failed("request_cancelled")


@pytest.mark.contract(id="life.moderation", source=FAILURES, needs={"clock"})
def test_moderation_fails_the_task_late(service: Service, mock: Account, every_task: Callable[..., None]) -> None:
    """What moderation finds fails the task late, with content_policy_violation and the documented message."""
    every_task("moderation_celebrity", generation_time=GENERATION)
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION)
    task = service.task(task_id)
    assert outcome_of(task) == failed("content_policy_violation")
    assert task["error"]["message"] == "celebrity detected in image"


@pytest.mark.contract(id="life.followed", source=QUERY, **FOLLOWED)
def test_a_task_that_is_followed_to_its_end_passes_through_the_documented_states_and_ends(
    completed_views: list[Any],
) -> None:
    assert [found for view in completed_views for found in problems("Task", view)] == []
    states = [view["status"] for view in completed_views]
    assert [state for state in states if state not in STATES] == []
    assert states == sorted(states, key=STATES.index)
    assert states[-1] == "completed"
