"""The response to a create request, and the ids."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from contract_tests.orders import DAY, GENERATION
from contract_tests.reading import problems
from contract_tests.service import Service
from sora_mock.client import Account
from sora_mock.verify.rule import TEN_SECONDS

RESPONSE = "published contract, VideoGenerationResponse"
RECORDED = "recorded response (R)"
ID = re.compile(r"task-unified-\d{10}-[a-z0-9]{8}")


@pytest.mark.contract(id="creation.shape", source=RESPONSE, price=TEN_SECONDS, shared="usual")
def test_the_response_has_the_documented_shape(shared_task: Any) -> None:
    """The response has the shape VideoGenerationResponse."""
    assert problems("VideoGenerationResponse", shared_task) == []


@pytest.mark.contract(id="creation.fixed", source=RESPONSE, price=TEN_SECONDS, shared="usual")
def test_model_object_and_type_are_those_of_a_video(shared_task: Any) -> None:
    fixed = (shared_task["model"], shared_task["object"], shared_task["type"])
    assert fixed == ("sora-2-beta-max", "video.generation.task", "video")


@pytest.mark.contract(
    id="creation.first_state", source=f"{RESPONSE}; {RECORDED} for processing", price=TEN_SECONDS, shared="usual"
)
def test_a_new_task_is_pending_with_progress_0_or_just_processing(service: Service, shared_task: Any) -> None:
    allowed = [("pending", 0)] if service.is_mock else [("pending", 0), ("processing", 0), ("processing", 1)]
    assert (shared_task["status"], shared_task["progress"]) in allowed


@pytest.mark.contract(id="creation.can_cancel", source=RECORDED, price=TEN_SECONDS, shared="usual")
def test_a_new_task_can_be_cancelled(shared_task: Any) -> None:
    assert shared_task["task_info"]["can_cancel"] is True


@pytest.mark.contract(id="creation.id", source=RECORDED, price=TEN_SECONDS, shared="usual")
def test_an_id_has_ten_digits_that_equal_created_and_eight_of_a_z_0_9(shared_task: Any) -> None:
    """An id is task-unified-, ten digits that equal created, and eight of a-z0-9."""
    assert ID.fullmatch(shared_task["id"])
    assert shared_task["id"][13:23] == str(shared_task["created"])


@pytest.mark.contract(
    id="creation.usage", source="service documentation, credits (D)", price=TEN_SECONDS, shared="usual"
)
def test_usage_names_the_rule_the_group_and_the_price(shared_task: Any) -> None:
    """Usage names the rule, the group and the price: per_call, 5.76 for ten seconds."""
    usage = shared_task["usage"]
    assert (usage["billing_rule"], usage["credits_reserved"]) == ("per_call", TEN_SECONDS)
    assert usage["user_group"] in ("default", "vip")


@pytest.mark.contract(id="creation.created.now", source=RESPONSE, price=TEN_SECONDS, shared="usual")
def test_created_is_the_present_second(service: Service, shared_task: Any, now: Callable[[], float]) -> None:
    # exact on a mock; the shared create request may be some minutes old, and clocks differ
    tolerance = 0 if service.is_mock else 3600
    assert abs(shared_task["created"] - int(now())) <= tolerance


@pytest.mark.contract(
    id="creation.queried",
    source="published contract, description; service documentation, task query (D)",
    price=TEN_SECONDS,
    shared="usual",
)
def test_a_new_task_can_be_queried_at_once_and_says_the_same(service: Service, shared_task: Any) -> None:
    task = service.task(shared_task["id"])
    names = ("id", "created", "model", "object", "type")
    assert {name: task.get(name) for name in names} == {name: shared_task[name] for name in names}


@pytest.mark.contract(id="creation.key_order", source=RECORDED, price=TEN_SECONDS, shared="usual")
def test_the_names_in_responses_are_in_alphabetical_order(service: Service, shared_task: Any) -> None:
    assert list(shared_task) == sorted(shared_task)
    task = service.task(shared_task["id"])
    assert list(task) == sorted(task)


@pytest.mark.contract(id="creation.created.clock", source=RESPONSE, needs={"clock"})
def test_created_follows_the_clock(service: Service, mock: Account) -> None:
    first = service.created()["created"]
    mock.clock.advance(DAY)
    assert service.created()["created"] == first + DAY


@pytest.mark.contract(id="creation.ids.differ", source=RESPONSE, needs={"mock"})
def test_no_two_tasks_have_one_id(service: Service) -> None:
    assert len({service.created()["id"] for _ in range(20)}) == 20


@pytest.mark.contract(id="creation.video_duration", source="published contract, VideoTaskInfo", needs={"mock"})
def test_task_info_names_the_duration_that_was_ordered(service: Service) -> None:
    for seconds in (10, 15):
        assert service.created(duration=seconds)["task_info"]["video_duration"] == seconds


@pytest.mark.contract(id="creation.estimated_time", source="published contract, VideoTaskInfo", needs={"clock"})
def test_estimated_time_is_the_whole_seconds_until_the_end(service: Service) -> None:
    assert service.created()["task_info"]["estimated_time"] == int(GENERATION)


@pytest.mark.contract(id="creation.scenario_header", source="docs/scenarios.md", needs={"mock"})
def test_a_mock_names_the_scenario_that_it_used(service: Service) -> None:
    """A mock names the scenario that it used; `--no-mock-headers` leaves it out."""
    response = service.create()
    assert response.status_code == 200
    assert response.headers.get("x-mock-scenario", "completed") == "completed"
