"""Progress at any time, failures during processing, stuck tasks, tasks that are ended by hand, running clocks."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from contract_tests.orders import GENERATION
from contract_tests.service import Service
from sora_mock.client import Account
from sora_mock.runtime.package_data import contract_document
from sora_mock.verify.rule import TEN_SECONDS

QUERY = "service documentation, task query (D)"
CATALOGUE = "docs/scenarios.md; fixtures/scenarios"
QUEUE = GENERATION / 10
HOOK = "https://inbox.sora-mock.test/hook"

SetScenario = Callable[..., None]

CURVES: dict[str, tuple[Any, list[int]]] = {
    "whole": ([[0, 10], [0.5, 40], [1, 90]], [0, 10, 25, 40, 65]),
    "middle": ([[0.25, 20], [0.75, 60]], [0, 20, 20, 40, 60]),
    "step": ([[0.5, 10], [0.5, 80]], [0, 10, 10, 80, 80]),
    "bounds": ([[0, 0], [0.5, 0], [1, 100]], [0, 1, 1, 1, 50]),
    "fractions": ([[0, 0.5], [1, 63.5]], [0, 1, 16, 32, 47]),
    "one": ([[0.5, 33]], [0, 33, 33, 33, 33]),
}
"""Points of a curve, and the progress at the end of the queue, then at every quarter of the processing."""


def progress_after(service: Service, mock: Account, task_id: str, *steps: float) -> list[Any]:
    """The progress after each of these steps in seconds."""
    found = []
    for step in steps:
        mock.clock.advance(step)
        found.append(service.task(task_id)["progress"])
    return found


def messages(mock: Account, name: str, count: int) -> list[Any]:
    """The messages of an inbox: as soon as there are `count` of them, at the latest after ten real seconds."""
    found: list[Any] = mock.call("GET", f"/inbox/{name}?wait=10&count={count}", timeout=20)["messages"]
    return found


@pytest.mark.contract(
    id="life.progress.even", source=f"{QUERY}; evenly is an assumption (docs/fidelity.md)", needs={"clock"}
)
def test_progress_rises_evenly(service: Service, mock: Account) -> None:
    """Progress climbs evenly from 1 to 99 between the end of the queue and the end."""
    task_id = service.created()["id"]
    steps = int(GENERATION * 2) - 1
    seen = progress_after(service, mock, task_id, *[0.5] * steps)
    for number, progress in enumerate(seen, 1):
        done = (number / 2 - QUEUE) / (GENERATION - QUEUE)
        expected = 0 if done < 0 else min(99, math.floor(1 + 99 * done + 1e-6))
        # a double near 1.8e9 has a resolution of 2e-7 s
        assert progress in (expected, max(0, expected - 1)), f"after {number / 2} s"
    assert progress_after(service, mock, task_id, 0.49) == [99]


@pytest.mark.contract(id="life.progress.curve", source=CATALOGUE, needs={"clock"})
def test_progress_follows_the_points_of_a_scenario(service: Service, mock: Account, every_task: SetScenario) -> None:
    """Progress follows the points that a scenario gives: linear between them, constant outside them."""
    seen, ends = {}, {}
    for name, (points, _) in CURVES.items():
        every_task("completed", generation_time=18, queue_time=2, progress=points)
        task_id = service.created()["id"]
        seen[name] = progress_after(service, mock, task_id, 1.99, 0.02, 3.99, 4, 4)
        ends[name] = progress_after(service, mock, task_id, 20)
    assert seen == {name: expected for name, (_, expected) in CURVES.items()}
    assert ends == {name: [100] for name in CURVES}
    every_task("completed", generation_time=1, queue_time=0.2, progress=[[0, 1], [1, 99]])
    (halfway,) = progress_after(service, mock, service.created()["id"], 0.6)
    assert 49 <= halfway <= 50, "halfway through a task of a second"


@pytest.mark.contract(id="life.queue.share", source="docs/time.md", needs={"clock"})
def test_the_queue_is_a_part_of_the_generation_time(service: Service, mock: Account, every_task: SetScenario) -> None:
    """The queue takes a tenth of the generation time, or what the scenario says, but never more than all of it."""
    starts: list[Any] = []
    for override in ({}, {"queue_time": 0}, {"queue_time": 30}):
        every_task("completed", generation_time=30, **override)
        created = service.created()
        starts.append((created["id"], created["status"], created["progress"]))
    tasks = [task_id for task_id, *_ in starts]
    assert [start for _, *start in starts] == [["pending", 0], ["processing", 1], ["pending", 0]]

    def states_after(step: float) -> list[str]:
        mock.clock.advance(step)
        return [service.task(task_id)["status"] for task_id in tasks]

    assert states_after(0.02) == ["pending", "processing", "pending"]
    assert states_after(2.97) == ["pending", "processing", "pending"]
    assert states_after(0.02) == ["processing", "processing", "pending"]
    assert states_after(26.98) == ["processing", "processing", "pending"]
    assert states_after(0.02) == ["completed", "completed", "completed"]


@pytest.mark.contract(id="life.failure.midway", source=CATALOGUE, needs={"clock", "ledger"})
def test_a_task_can_fail_during_processing(service: Service, mock: Account, every_task: SetScenario) -> None:
    """A task can fail during processing: before, it looks like any task; then its whole reservation is returned."""
    # halfway through the processing: after 11 of 20 seconds
    every_task("failed", generation_time=GENERATION, queue_time=QUEUE, at=0.5, code="service_error", message="a\nb")
    created = service.created(callback_url=HOOK)
    assert created["task_info"]["estimated_time"] == int(GENERATION)
    mock.clock.advance(10.99)
    task = service.task(created["id"])
    assert task["status"] == "processing"
    assert 49 <= task["progress"] <= 50
    assert service.balance() == (1000 - TEN_SECONDS, 0)
    mock.clock.advance(0.01)
    task = service.task(created["id"])
    assert (task["status"], task["progress"]) == ("failed", 0)
    assert task["error"] == {"code": "service_error", "message": "a\nb", "type": "task_error"}
    assert service.balance() == (1000, 0)
    assert len(mock.inbox("hook").messages) == 1


@pytest.mark.contract(
    id="life.failure.message",
    source="service documentation, failure codes of a failed task (D); openapi/openapi.json, TaskError",
    needs={"clock"},
)
def test_each_failure_code_has_its_message(service: Service, mock: Account, every_task: SetScenario) -> None:
    """Each failure code comes with its documented message; a failure without a code is unknown_error."""
    codes = contract_document()["components"]["schemas"]["TaskError"]["properties"]["code"]
    expected = {code: row["message"] for code, row in codes["x-failure-codes"].items()}
    expected |= {code: code.replace("_", " ") for code in codes["x-seen-codes"]}
    tasks = {}
    for code in (*expected, None):
        every_task("failed", generation_time=1, **({} if code is None else {"code": code}))
        tasks[code] = service.created()["id"]
    mock.clock.advance(1)
    errors = {code: service.task(task_id)["error"] for code, task_id in tasks.items()}
    assert errors.pop(None) == {
        "code": "unknown_error",
        "message": expected["unknown_error"],
        "type": "task_error",
    }
    assert errors == {
        code: {"code": code, "message": message, "type": "task_error"} for code, message in expected.items()
    }


@pytest.mark.contract(
    id="life.failure.silent",
    source="service documentation, failure codes: the error may be missing (D, C)",
    needs={"clock"},
)
def test_a_failed_task_may_come_without_an_error_object(
    service: Service, mock: Account, every_task: SetScenario
) -> None:
    every_task("failed_without_error_object", generation_time=GENERATION)
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION)
    task = service.task(task_id)
    assert (task["status"], task["progress"]) == ("failed", 0)
    assert {"error", "results"} & task.keys() == set()


@pytest.mark.contract(id="life.stuck", source=CATALOGUE, needs={"clock", "ledger"})
def test_a_stuck_task_never_ends(service: Service, mock: Account, every_task: SetScenario) -> None:
    """A stuck task stays at 99, keeps its reservation and never sends a callback."""
    every_task("stuck", generation_time=GENERATION)
    created = service.created(callback_url=HOOK)
    assert created["task_info"]["estimated_time"] == int(GENERATION)
    for step in (GENERATION, 365 * 86_400):
        mock.clock.advance(step)
        task = service.task(created["id"])
        assert (task["status"], task["progress"]) == ("processing", 99)
        assert task["task_info"]["can_cancel"] is True
    assert service.balance() == (1000 - TEN_SECONDS, 0)
    assert mock.inbox("hook").messages == []
    assert [(each["state"], each["attempts"]) for each in mock.deliveries()] == [("pending", [])]
    mock.task(created["id"]).finish("completed")
    assert service.task(created["id"])["status"] == "completed"
    assert service.balance() == (1000 - TEN_SECONDS, TEN_SECONDS)
    assert len(messages(mock, "hook", 1)) == 1


@pytest.mark.contract(id="life.instant", source=CATALOGUE, needs={"clock", "ledger"})
def test_a_task_that_takes_no_time_is_completed_at_its_first_poll(service: Service, every_task: SetScenario) -> None:
    """A task that takes no time is completed at its first poll, and paid.

    The response to its create request is pending.
    """
    every_task("instant")
    created = service.created()
    assert (created["status"], created["progress"]) == ("pending", 0)
    assert created["task_info"]["estimated_time"] == 0
    assert service.balance() == (1000 - TEN_SECONDS, TEN_SECONDS)
    task = service.task(created["id"])
    assert (task["status"], task["progress"], len(task["results"])) == ("completed", 100, 1)
    every_task("completed_first_reply_processing", generation_time=GENERATION)
    created = service.created()
    assert (created["status"], created["progress"]) == ("processing", 1)


@pytest.mark.contract(id="life.finished", source="docs/reference.md, control API, finish", needs={"clock", "ledger"})
def test_the_control_api_can_end_a_task(service: Service, mock: Account) -> None:
    """The control API can end a task; state, credits, link and callback follow at once."""
    # the first task is still pending, the second one is processing; their planned ends change nothing more
    for wait, used in ((1, TEN_SECONDS), (7, 2 * TEN_SECONDS)):
        task_id = service.created(callback_url=HOOK)["id"]
        now = mock.clock.advance(wait)
        mock.task(task_id).finish("completed")
        first, task = service.get(f"/v1/tasks/{task_id}").content, service.task(task_id)
        assert (task["status"], task["progress"], len(task["results"])) == ("completed", 100, 1)
        assert service.balance()[1] == round(used, 4)
        mock.clock.advance(GENERATION + 10)
        assert service.get(f"/v1/tasks/{task_id}").content == first
        assert service.balance()[1] == round(used, 4)
        times = [message["at"] for message in mock.inbox("hook").messages]
        assert [round(at - now, 3) for at in times][-1:] == [0], "the last callback comes at once"
    assert len(times) == 2
    task_id = service.created()["id"]
    mock.task(task_id).finish("failed", code="generation_timeout", message="by hand")
    error = {"code": "generation_timeout", "message": "by hand", "type": "task_error"}
    assert service.task(task_id)["error"] == error
    assert service.balance()[0] == round(1000 - 2 * TEN_SECONDS, 4)


@pytest.mark.contract(id="life.estimated.fraction", source="published contract, VideoTaskInfo", needs={"clock"})
def test_estimated_time_is_the_next_whole_second(service: Service, every_task: SetScenario) -> None:
    """estimated_time is the next whole second."""
    expected = {7.2: 8, 5: 5, 0.4: 1, 6.99: 7}
    estimated = {}
    for seconds in expected:
        every_task("completed", generation_time=seconds)
        estimated[seconds] = service.created()["task_info"]["estimated_time"]
    assert estimated == expected


@pytest.mark.contract(id="life.running", source="docs/time.md", needs={"clock", "receiver", "ledger"})
def test_on_a_running_clock_a_task_ends_without_any_request(
    service: Service, mock: Account, every_task: SetScenario
) -> None:
    """On a running clock, a task ends, is charged and sends its callback without any request."""
    mock.inbox("hook").reply(500, 200)
    service.created(callback_url=HOOK)
    # 20 s take a fifth of a second
    mock.clock.speed = 100
    task_id = service.created(callback_url=HOOK)["id"]
    mock.clock.unfreeze()
    got = messages(mock, "hook", 3)
    assert [message["json"]["status"] for message in got] == ["completed"] * 3
    assert service.task(task_id)["status"] == "completed"
    assert service.balance()[1] == round(2 * TEN_SECONDS, 4)
    retried = [each["attempts"] for each in mock.deliveries() if len(each["attempts"]) > 1]
    assert len(retried) == 1
    assert 1 <= retried[0][1]["at"] - retried[0][0]["at"] < 1000, "a second, and the delay of this machine"
    mock.clock.speed = 1
    every_task("completed", generation_time=0.01)
    lateness = []
    for count in (1, 2, 3):
        service.created(callback_url="https://inbox.sora-mock.test/prompt")
        sent = messages(mock, "prompt", count)
        assert len(sent) == count
        lateness.append(sent[-1]["at"] - mock.tasks[0]["mock"]["ended_at"])
    # a machine under load may be late once
    assert 0 <= min(lateness) < 0.9, lateness
