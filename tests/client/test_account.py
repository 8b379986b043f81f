"""`Account` and `AllAccounts`: clock, credits, scenarios, tasks, callbacks and journal of a running mock."""

import pickle
import re
from collections.abc import Callable

import httpx
import pytest

from sora_mock.client import Account, AllAccounts, Refused
from sora_mock.server import MockServer
from tests.conftest import Api


def test_refused_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(Refused(404, "task_not_found", "there is none")))
    assert (copy.status, copy.code, str(copy)) == (404, "task_not_found", "there is none")


def test_nan_and_infinity_are_rejected_before_a_request(account: Account) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        account.credits = float("nan")
    with pytest.raises(ValueError, match="expected seconds up to 60, got inf"):
        account.inbox("hook").wait(timeout=float("inf"))


def test_time_is_read_stopped_moved_and_sped_up(account: Account) -> None:
    now = account.clock.now
    assert account.clock.frozen
    assert account.clock.advance(300) == account.clock.now == now + 300
    account.clock.now = now + 400
    assert account.clock.freeze() == now + 400
    account.clock.speed = 60
    assert account.clock.speed == 60
    account.clock.unfreeze()
    assert not account.clock.frozen


def test_a_loop_that_polls_ends_after_a_known_number_of_polls(account: Account, api: Api) -> None:
    account.clock.per_request(2.5)
    task_id = api.new_task()
    assert [api.task(task_id)["status"] for _ in range(2)] == ["processing", "completed"]


def test_money_is_read_and_set(account: Account, api: Api) -> None:
    account.credits = 10
    api.new_task()
    assert (account.credits, account.reserved_credits, account.used_credits) == (4.24, 5.76, 0)
    account.clock.advance(5)
    assert (account.credits, account.reserved_credits, account.used_credits) == (4.24, 0, 5.76)
    account.credits = "unlimited"
    assert account.credits == float("inf")
    account.credits = account.credits
    assert account.rate_limit is None
    account.rate_limit = "2/hour"
    assert account.rate_limit == "2/hour"


def test_a_scenario_has_parameters_and_a_match(account: Account, api: Api) -> None:
    account.scenario("failed", code="generation_timeout", at=0.4, times=None, match={"prompt": "dog"})
    assert api.new_task(prompt="A cat")
    assert api.new_task(prompt="A dog")
    account.clock.advance(3)
    dog, cat = account.tasks
    assert dog.get("error", {}).get("code") == "generation_timeout"
    assert cat["mock"]["scenario"] == "completed"
    assert account.task(dog["id"]).view == dog


def test_a_task_is_finished_by_hand(account: Account, api: Api) -> None:
    task = account.task(api.new_task())
    assert task.finish("failed", code="content_policy_violation", message="No.")["status"] == "failed"
    assert task.view.get("error") == {"code": "content_policy_violation", "message": "No.", "type": "task_error"}
    assert account.task(api.new_task()).finish()["status"] == "completed"


def test_an_inbox_receives_callbacks_responds_and_receives_a_redelivery(account: Account, api: Api) -> None:
    inbox = account.inbox("a hook")
    inbox.reply(500, {"status": 204, "delay": 0.01})
    task_id = api.new_task(callback_url=inbox.url)
    assert inbox.messages == []
    account.clock.advance(10)
    assert [message["json"]["id"] for message in inbox.wait(2)] == [task_id, task_id]
    (delivery,) = account.deliveries(task_id)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 204]
    assert account.redeliver(delivery["id"])["attempts"][2]["extra"]
    assert len(inbox.messages) == 3
    assert account.deliveries("task-unified-other") == []


def test_a_wait_that_times_out_says_how_many_came_and_that_the_clock_is_frozen(account: Account, api: Api) -> None:
    inbox = account.inbox("hook")
    account.task(api.new_task(callback_url=inbox.url)).finish()
    reason = "inbox 'hook' got 1 of 2 messages in 0.01 s; the clock is frozen, advance it"
    with pytest.raises(TimeoutError, match=re.escape(reason)):
        inbox.wait(2, timeout=0.01)


def test_a_route_leads_to_the_tests_own_receiver_and_keeps_the_routes_before(account: Account, api: Api) -> None:
    with MockServer() as receiver:
        account.route("https://hooks.example.com", receiver.url)
        account.route("https://other.example.com", receiver.url)
        account.task(api.new_task(callback_url="https://hooks.example.com/__mock/inbox/own")).finish()
        received = Account(receiver.url, "sk-mock-shared-inbox").inbox("own").messages
    assert [message["json"]["status"] for message in received] == ["completed"]


def test_requests_are_listed_newest_first(account: Account, api: Api) -> None:
    task_id = api.new_task()
    api.task(task_id)
    assert [(each["method"], each["status"]) for each in account.requests] == [("GET", 200), ("POST", 200)]


@pytest.mark.parametrize(
    ("send", "status", "code", "text"),
    [
        (lambda a: a.scenario("fail"), 400, "unknown_scenario", "unknown scenario 'fail'; did you mean failed?"),
        (lambda a: a.task("x y").finish(), 404, "task_not_found", "there is no task 'x y' in this account"),
        (lambda a: a.task("x").view, 404, "task_not_found", "there is no task 'x' in this account"),
        (lambda a: a.clock.advance(-1), 400, "invalid_body", "seconds: expected a number from 0 to 1e+10"),
        (lambda a: a.inbox("x").wait(timeout=61), 400, "invalid_query", "wait must be a number from 0 to 60"),
    ],
)
def test_a_rejected_control_request_raises_the_message_of_the_mock(
    account: Account, send: Callable[[Account], object], status: int, code: str, text: str
) -> None:
    with pytest.raises(Refused, match=f"^{re.escape(text)}") as refused:
        send(account)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_a_queue_of_scenarios_is_emptied(account: Account, api: Api) -> None:
    account.scenario("unauthorized", times=None)
    assert api.create().status_code == 401
    account.clear_scenarios()
    assert api.create().status_code == 200


# all accounts at once


def test_all_accounts_are_steered_at_once() -> None:
    with MockServer() as mock:
        all_accounts, one = AllAccounts(mock.url), mock.account()
        one.clock.freeze()
        all_accounts.credits = 7
        all_accounts.rate_limit = "60/minute"
        later = mock.account()
        assert [(each.credits, each.rate_limit) for each in (one, later)] == [(7, "60/minute")] * 2
        before = one.clock.now
        all_accounts.clock.advance(60)
        assert one.clock.now == before + 60


def test_all_accounts_are_listed_together_and_forgotten_together() -> None:
    with MockServer() as mock, httpx.Client(base_url=mock.url) as client:
        all_accounts = AllAccounts(mock.url)
        assert all_accounts.journal() == f"no request came to {mock.url}"
        created = [Api(client, key).new_task() for key in ("sk-a", "sk-b")]
        Api(client, "wrong").create()
        assert [task["id"] for task in all_accounts.tasks] == created[::-1]
        assert [record["status"] for record in all_accounts.requests] == [401, 200, 200]
        assert all_accounts.journal().count("POST /v1/videos/generations") == 3
        all_accounts.task(created[0]).finish()
        assert all_accounts.task(created[0]).view["status"] == "completed"
        all_accounts.reset()
        assert (all_accounts.tasks, all_accounts.requests) == ([], [])


def test_the_repr_of_an_account_has_no_key(account: Account) -> None:
    assert repr(account) == f"Account('{account.url}')"
    assert repr(AllAccounts(account.url)) == f"AllAccounts('{account.url}')"
