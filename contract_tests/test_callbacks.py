"""Callbacks: when, with what body and how often the service sends them."""

from collections.abc import Callable
from typing import Any

import pytest

from contract_tests.orders import DAY, GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service
from sora_mock.client import Account
from sora_mock.client.control import Inbox
from sora_mock.verify.rule import TEN_SECONDS

PROSE = "published contract, prose of callback_url"
HOOK = "https://inbox.sora-mock.test/hook"
NEEDS = {"clock", "receiver"}


@pytest.fixture
def hook(mock: Account) -> Inbox:
    """The inbox that the callbacks to `HOOK` reach."""
    return mock.inbox("hook")


def ages(mock: Account) -> list[float]:
    """Seconds from the end of the newest task to each message in the inbox."""
    ended_at = mock.tasks[0]["mock"]["ended_at"]
    return [round(message["at"] - ended_at, 3) for message in mock.inbox("hook").messages]


def ages_and_state(service: Service, mock: Account, statuses: list[int]) -> tuple[list[float], str]:
    """The times of the attempts and the state of the delivery, where the receiver responds with these statuses."""
    mock.inbox("hook").reply(*statuses)
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION + 3600)
    return ages(mock), mock.deliveries()[0]["state"]


@pytest.mark.contract(id="callback.moment", source=PROSE, needs=NEEDS)
def test_the_callback_is_sent_when_the_task_ends_not_before(service: Service, mock: Account, hook: Inbox) -> None:
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION - 0.1)
    assert hook.messages == []
    mock.clock.advance(0.1)
    assert ages(mock) == [0]


@pytest.mark.contract(
    id="callback.body.*",
    claim="the callback of a task that is * is the response to the query, byte for byte",
    source=f"{PROSE}: body as in the task query",
    needs=NEEDS,
)
@pytest.mark.parametrize(
    ("scenario", "override"),
    [
        pytest.param("completed", {}, id="completed"),
        pytest.param("failed", {"code": "service_error"}, id="failed"),
        pytest.param("moderation_celebrity", {}, id="moderated"),
    ],
)
def test_the_callback_is_the_response_to_the_query(
    service: Service,
    mock: Account,
    hook: Inbox,
    every_task: Callable[..., None],
    scenario: str,
    override: dict[str, str],
) -> None:
    every_task(scenario, generation_time=GENERATION, **override)
    task_id = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(GENERATION)
    assert len(hook.messages) == 1
    message = hook.messages[0]
    assert message["body"].encode() == service.get(f"/v1/tasks/{task_id}").content
    assert message["headers"]["content-type"] == "application/json"


@pytest.mark.contract(id="callback.cancelled", source=PROSE, needs=NEEDS)
def test_a_cancelled_task_is_reported_at_once(service: Service, mock: Account, hook: Inbox) -> None:
    task_id = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(5)
    mock.task(task_id).finish("cancelled")
    mock.clock.advance(0)
    # an advance returns when every due attempt has ended
    assert len(hook.messages) == 1
    message = hook.messages[0]
    assert message["json"]["error"]["code"] == "request_cancelled"


@pytest.mark.contract(id="callback.none", source=PROSE, needs=NEEDS)
def test_a_task_without_callback_url_is_not_reported(service: Service, mock: Account) -> None:
    service.created()
    mock.clock.advance(GENERATION * 2)
    assert mock.deliveries() == []


@pytest.mark.contract(id="callback.billing", source=f"{PROSE}: sent after billing", needs=NEEDS | {"ledger"})
def test_the_callback_comes_after_the_credits_are_settled(service: Service, mock: Account, hook: Inbox) -> None:
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION)
    assert len(hook.messages) == 1
    assert mock.reserved_credits == 0
    assert service.balance()[1] == TEN_SECONDS


@pytest.mark.contract(id="callback.schedule", source=PROSE, needs=NEEDS)
def test_failed_attempts_are_repeated_after_1_2_and_4_s(service: Service, mock: Account) -> None:
    """Failed attempts are repeated after 1, 2 and 4 s: at 0, 1, 3 and 7 s, then never."""
    assert ages_and_state(service, mock, [500]) == ([0, 1, 3, 7], "failed")


@pytest.mark.contract(id="callback.schedule.steps", source=PROSE, needs=NEEDS)
def test_each_retry_is_sent_when_it_is_due_not_before(service: Service, mock: Account, hook: Inbox) -> None:
    hook.reply(503)
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION)
    counts = []
    for pause in (1.0, 2.0, 4.0):
        mock.clock.advance(pause - 0.1)
        counts.append(len(hook.messages))
        mock.clock.advance(0.1)
        counts.append(len(hook.messages))
    assert counts == [1, 2, 2, 3, 3, 4]


@pytest.mark.contract(id="callback.same_body", source=PROSE, needs=NEEDS)
def test_every_attempt_has_the_same_body(service: Service, mock: Account, hook: Inbox) -> None:
    hook.reply(500)
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION + 10)
    assert len({message["body"] for message in hook.messages}) == 1


@pytest.mark.contract(
    id="callback.status.*",
    claim="a * is a success: no further attempt",
    source=f"{PROSE}: 2xx is success, others are retried",
    needs=NEEDS,
)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_a_2xx_is_a_success(service: Service, mock: Account, status: int) -> None:
    assert ages_and_state(service, mock, [status, 200]) == ([0], "succeeded")


@pytest.mark.contract(
    id="callback.status.*",
    claim="a * is a failure: the service sends the callback again",
    source=f"{PROSE}: 2xx is success, others are retried",
    needs=NEEDS,
)
@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 400, 401, 404, 410, 429, 500, 502, 503, 599])
def test_any_other_status_is_a_failure(service: Service, mock: Account, status: int) -> None:
    assert ages_and_state(service, mock, [status, 200]) == ([0, 1], "succeeded")


@pytest.mark.contract(
    id="callback.recovers.*", claim="after * failed attempts a success ends the delivery", source=PROSE, needs=NEEDS
)
@pytest.mark.parametrize(
    ("failures", "times"), [pytest.param(2, [0, 1, 3], id="2"), pytest.param(3, [0, 1, 3, 7], id="3")]
)
def test_a_success_ends_the_delivery(service: Service, mock: Account, failures: int, times: list[float]) -> None:
    assert ages_and_state(service, mock, [*[500] * failures, 204]) == (times, "succeeded")


@pytest.mark.contract(id="callback.once", source=PROSE, needs=NEEDS)
def test_a_delivered_callback_never_comes_again(service: Service, mock: Account, hook: Inbox) -> None:
    task_id = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(GENERATION)
    service.task(task_id)
    mock.clock.advance(2 * DAY)
    assert len(hook.messages) == 1


@pytest.mark.contract(id="callback.each", source=PROSE, needs=NEEDS)
def test_each_task_has_a_callback_of_its_own(service: Service, mock: Account, hook: Inbox) -> None:
    ids = [service.created(callback_url=HOOK)["id"] for _ in range(5)]
    mock.clock.advance(GENERATION)
    assert sorted(message["json"]["id"] for message in hook.messages) == sorted(ids)


@pytest.mark.contract(id="callback.own_time", source=PROSE, needs=NEEDS)
def test_each_callback_is_sent_at_the_end_of_its_own_task_also_in_one_step(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    """Each callback is sent at the end of its own task, also where the clock passes several ends in one step."""
    for seconds in (30, 10, 20):
        every_task("completed", generation_time=seconds)
        service.created(callback_url=HOOK)
    start = mock.clock.now
    mock.clock.advance(60)
    assert [round(message["at"] - start, 3) for message in hook.messages] == [10, 20, 30]


@pytest.mark.contract(id="callback.own_time.running", source=PROSE, needs=NEEDS)
def test_a_callback_does_not_wait_for_one_that_is_due_later(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    mock.clock.unfreeze()
    for seconds in (3600, 0.01):
        every_task("completed", generation_time=seconds)
        created = service.created(callback_url=HOOK)
    messages = mock.call("GET", "/inbox/hook?wait=5&count=1")["messages"]
    assert [message["json"]["id"] for message in messages] == [created["id"]]


@pytest.mark.contract(id="callback.timeout", source=f"{PROSE}: timeout 10 seconds", needs=NEEDS)
def test_a_receiver_that_needs_more_than_10_s_is_a_failed_attempt(service: Service, mock: Account, hook: Inbox) -> None:
    hook.reply({"status": 200, "delay": 10.5}, 200)
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION + 60)
    attempts = mock.deliveries()[0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [None, 200]
    assert 9.5 <= attempts[0]["seconds"] <= 10.4


@pytest.mark.contract(
    id="callback.one_at_a_time", source="docs/callbacks.md, errors of an attempt; an assumption", needs=NEEDS
)
def test_a_retry_that_is_due_waits_for_the_attempt_that_runs(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    every_task("completed", generation_time=1)
    # the redelivery takes 0.4 real seconds; the first retry is due after a tenth of a second
    hook.reply(500, {"status": 500, "delay": 0.4}, 200)
    service.created(callback_url=HOOK)
    mock.clock.advance(1)
    mock.clock.speed = 10
    mock.clock.unfreeze()
    mock.redeliver(mock.deliveries()[0]["id"])
    mock.call("GET", "/inbox/hook?wait=5&count=3")
    mock.clock.freeze()
    mock.clock.advance(0)
    attempts = mock.deliveries()[0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [500, 500, 200]
    assert attempts[2]["at"] >= attempts[1]["ended_at"]


@pytest.mark.contract(id="callback.method", source=PROSE, needs=NEEDS)
def test_a_callback_is_sent_to_exactly_the_path_of_callback_url(service: Service, mock: Account, hook: Inbox) -> None:
    service.created(callback_url="https://inbox.sora-mock.test/deep-name")
    mock.clock.advance(GENERATION)
    assert hook.messages == []
    assert len(mock.inbox("deep-name").messages) == 1


@pytest.mark.contract(id="callback.refused_creation", source=PROSE, needs=NEEDS)
def test_a_rejected_create_request_never_sends_a_callback(service: Service, mock: Account, hook: Inbox) -> None:
    assert error_of(service.create(callback_url=HOOK, duration=11))[:2] == (400, "invalid_request")
    mock.clock.advance(GENERATION * 2)
    assert hook.messages == []


# --- variants: a callback is sent twice, late, early, out of order, or with more fields ---

SCENARIOS = "fixtures/scenarios/callbacks.toml"


@pytest.mark.contract(id="callback.manner.again", source=SCENARIOS, needs=NEEDS)
def test_a_callback_can_be_sent_twice_late_or_with_fields_that_the_query_does_not_have(
    service: Service, mock: Account, every_task: Callable[..., None]
) -> None:
    """A callback can be sent twice, late, or with fields that the query does not have."""
    wanted: dict[str, list[float]] = {"duplicate": [0, 1], "late": [60], "extra_field": [0]}
    for name, times in wanted.items():
        inbox = mock.inbox(name)
        every_task(f"callback_{name}", generation_time=GENERATION)
        created = service.created(callback_url=inbox.url)
        mock.clock.advance(GENERATION + 59.9)
        assert len(inbox.messages) == len([each for each in times if each < 60]), name
        mock.clock.advance(600)
        ended_at = mock.tasks[0]["mock"]["ended_at"]
        assert [round(each["at"] - ended_at, 3) for each in inbox.messages] == times, name
        assert mock.deliveries(created["id"])[0]["state"] == "succeeded", name
        task = service.task(created["id"])
        more = [bool(message["json"].keys() - task.keys()) for message in inbox.messages]
        assert more == [name == "extra_field"] * len(times), name


@pytest.mark.contract(id="callback.manner.duplicate", source=SCENARIOS, needs=NEEDS)
def test_a_duplicate_follows_the_first_success_and_no_attempt_follows_the_duplicate(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    """A duplicate follows the first success, and no further attempt follows the duplicate."""
    # the second attempt succeeds, and the receiver rejects the duplicate
    hook.reply(500, 200, 500, 200)
    every_task("callback_duplicate", generation_time=GENERATION)
    service.created(callback_url=HOOK)
    mock.clock.advance(GENERATION + 600)
    assert ages(mock) == [0, 1, 2]


def ids(hook: Inbox) -> list[Any]:
    """The tasks of the messages."""
    return [message["json"]["id"] for message in hook.messages]


@pytest.mark.contract(id="callback.manner.order", source=SCENARIOS, needs=NEEDS)
def test_the_order_of_two_callbacks_can_be_reversed_and_a_single_one_waits_a_minute(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    """The order of two callbacks can be reversed; a single one waits a minute."""
    every_task("callback_out_of_order", generation_time=GENERATION)
    first = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(5)
    second = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(GENERATION - 5)
    assert ids(hook) == []
    mock.clock.advance(5)
    assert ids(hook) == [second, first]
    alone = service.created(callback_url=HOOK)["id"]
    mock.clock.advance(GENERATION + 59)
    assert ids(hook) == [second, first]
    mock.clock.advance(1)
    assert ids(hook) == [second, first, alone]
    mock.clock.advance(600)
    assert ids(hook) == [second, first, alone]


@pytest.mark.contract(id="callback.manner.held", source=SCENARIOS, needs=NEEDS)
def test_a_held_callback_waits_until_the_next_one_is_delivered_or_given_up(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    known = 0
    for failures, times in ((1, [0, 1, 1]), (4, [0, 1, 3, 7, 7])):
        hook.reply(*[500] * failures, 200)
        every_task("callback_out_of_order", generation_time=GENERATION)
        first = service.created(callback_url=HOOK)["id"]
        every_task("completed", generation_time=GENERATION)
        service.created(callback_url=HOOK)
        mock.clock.advance(GENERATION + 30)
        assert ages(mock)[known:] == times, failures
        assert ids(hook)[-1] == first, failures
        known = len(hook.messages)
    # a task that has not ended sends nothing
    every_task("callback_out_of_order", generation_time=100)
    slow = service.created(callback_url=HOOK)["id"]
    every_task("completed", generation_time=GENERATION)
    service.created(callback_url=HOOK)
    mock.clock.advance(99)
    assert ids(hook).count(slow) == 0
    mock.clock.advance(61.1)
    assert ids(hook).count(slow) == 1


@pytest.mark.contract(id="callback.manner.before", source=SCENARIOS, needs=NEEDS)
def test_a_callback_can_arrive_before_the_response_to_the_create_request(
    service: Service, mock: Account, hook: Inbox, every_task: Callable[..., None]
) -> None:
    every_task("callback_before_reply")
    hook.reply({"status": 200, "delay": 0.3})
    created = service.created(callback_url=HOOK)
    assert [delivery["state"] for delivery in mock.deliveries()] == ["succeeded"]
    assert ids(hook) == [created["id"]]
    assert hook.messages[0]["json"]["status"] == "completed"
