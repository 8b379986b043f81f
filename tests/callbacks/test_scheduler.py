"""When callback attempts are made, and what the control API shows of them: a frozen clock and the built-in inbox."""

import gc
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sora_mock.callbacks import scheduler
from sora_mock.control import deliveries as control_deliveries
from sora_mock.runtime.clock import stopwatch
from sora_mock.server import MockServer
from sora_mock.storage import memory
from sora_mock.storage.memory import MemoryAccount
from tests.conftest import Api

HOOK = "https://inbox.sora-mock.test/hook"


def deliveries(api: Api, task_id: str | None = None) -> Any:
    return api.account.call("GET", "/deliveries" + (f"?task_id={task_id}" if task_id else ""))["deliveries"]


def messages(api: Api, name: str = "hook") -> Any:
    return api.account.call("GET", f"/inbox/{name}")["messages"]


def replies(api: Api, *statuses: int) -> None:
    api.account.call("PUT", "/inbox/hook", {"replies": [{"status": status} for status in statuses]})


def after_end(api: Api, task_id: str) -> list[float]:
    """Times of the attempts, counted from the end of the task."""
    ended_at = next(t["mock"]["ended_at"] for t in api.account.call("GET", "/tasks")["tasks"] if t["id"] == task_id)
    return [round(attempt["at"] - ended_at, 3) for attempt in deliveries(api, task_id)[0]["attempts"]]


def test_attempts_land_at_0_1_3_and_7_seconds_after_the_end_and_then_the_delivery_has_failed(api: Api) -> None:
    replies(api, 500)
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(100)
    assert after_end(api, task_id) == [0, 1, 3, 7]
    delivery = deliveries(api, task_id)[0]
    assert delivery["state"] == "failed"
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500] * 4
    assert [attempt["number"] for attempt in delivery["attempts"]] == [1, 2, 3, 4]
    assert len(messages(api)) == 4


@pytest.mark.parametrize("advances", [[5, 1, 2, 4], [4, 1, 0.5, 0.5, 1, 1, 3, 1], [12], [5] + [0.25] * 28])
def test_however_the_time_is_cut_the_attempts_land_at_the_same_times(api: Api, advances: list[float]) -> None:
    replies(api, 500)
    task_id = api.new_task(callback_url=HOOK)
    for seconds in advances:
        api.account.clock.advance(seconds)
    assert after_end(api, task_id) == [0, 1, 3, 7]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_a_success(api: Api, status: int) -> None:
    replies(api, status)
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(100)
    assert deliveries(api, task_id)[0]["state"] == "succeeded"
    assert after_end(api, task_id) == [0]


@pytest.mark.parametrize("status", [300, 302, 304, 400, 404, 410, 429, 500, 503])
def test_any_other_status_is_tried_again(api: Api, status: int) -> None:
    replies(api, status, 200)
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(100)
    assert [attempt["status"] for attempt in deliveries(api, task_id)[0]["attempts"]] == [status, 200]
    assert deliveries(api, task_id)[0]["state"] == "succeeded"


def test_nothing_is_sent_before_the_end(api: Api) -> None:
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(4.999)
    assert messages(api) == []
    assert deliveries(api, task_id)[0]["state"] == "pending"
    api.account.clock.advance(0.001)
    assert len(messages(api)) == 1


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_the_body_is_byte_for_byte_that_of_the_query(api: Api, outcome: str) -> None:
    task_id = api.new_task(callback_url=HOOK)
    api.account.call("POST", f"/tasks/{task_id}/finish", {"outcome": outcome})
    [message] = messages(api)
    assert message["body"] == api.request("GET", f"/v1/tasks/{task_id}").text
    assert message["json"] == api.task(task_id) == deliveries(api)[0]["body"]
    assert message["headers"]["content-type"] == "application/json"


def test_the_credits_are_settled_before_the_first_attempt(api: Api) -> None:
    api.account.call("PUT", "/inbox/hook", {"replies": [{"status": 200, "delay": 0.05}]})
    api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    assert api.credits()["used_credits"] == 5.76
    api.new_task(callback_url=HOOK, headers={"X-Mock-Scenario": "failed"})
    api.account.clock.advance(5)
    assert api.credits()["remaining_credits"] == 994.24


def test_a_reset_clock_setting_settles_like_an_advance(api: Api) -> None:
    replies(api, 500)
    task_id = api.new_task(callback_url=HOOK)
    now = api.account.call("GET", "/clock")["now"]
    assert api.account.call("PATCH", "/clock", {"now": now + 50})["now"] == now + 50
    assert after_end(api, task_id) == [0, 1, 3, 7]


def test_an_advance_ends_exactly_at_the_given_time(api: Api) -> None:
    replies(api, 500)
    api.new_task(callback_url=HOOK)
    before = api.account.call("GET", "/clock")["now"]
    assert api.account.clock.advance(6.5) == before + 6.5


def test_redeliver_sends_once_more_and_is_no_part_of_the_schedule(api: Api) -> None:
    replies(api, 500, 500, 500, 500, 204)
    task_id = api.new_task(callback_url=HOOK)
    delivery_id = deliveries(api, task_id)[0]["id"]
    refused = api.request("POST", f"/__mock/deliveries/{delivery_id}/redeliver")
    assert refused.status_code == 409
    api.account.clock.advance(100)
    again = api.account.call("POST", f"/deliveries/{delivery_id}/redeliver")
    assert (again["state"], len(again["attempts"])) == ("succeeded", 5)
    api.account.clock.advance(100)
    assert len(messages(api)) == 5


def test_a_redelivery_beyond_the_bound_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_deliveries, "MAX_ATTEMPTS", 2)
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(100)
    path = f"/__mock/deliveries/{deliveries(api, task_id)[0]['id']}/redeliver"
    assert [api.request("POST", path).status_code for _ in range(2)] == [200, 409]
    assert api.request("POST", path).json()["error"]["code"] == "too_many_attempts"


def test_two_accounts_have_no_inbox_and_no_deliveries_in_common(api: Api) -> None:
    other = Api(api.client, api.key + "-other")
    other.account.clock.freeze()
    api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    assert len(messages(api)) == 1
    assert messages(other) == deliveries(other) == []


def test_a_task_without_a_callback_has_no_delivery(api: Api) -> None:
    api.new_task()
    api.account.clock.advance(5)
    assert deliveries(api) == []


def test_deliveries_are_listed_by_task(api: Api) -> None:
    first, second = api.new_task(callback_url=HOOK), api.new_task(callback_url=HOOK + "/2")
    assert [each["task_id"] for each in deliveries(api, first)] == [first]
    assert {each["task_id"] for each in deliveries(api)} == {first, second}


def test_a_reset_forgets_what_was_to_be_delivered(api: Api) -> None:
    api.new_task(callback_url=HOOK)
    api.account.call("POST", "/reset")
    api.account.clock.freeze()
    api.account.clock.advance(100)
    assert deliveries(api) == messages(api) == []


def test_a_request_that_moves_the_clock_sends_what_falls_due(api: Api) -> None:
    task_id = api.new_task(callback_url=HOOK)
    api.account.call("PATCH", "/clock", {"per_request": 5})
    assert api.task(task_id)["status"] == "completed"
    assert len(api.account.call("GET", "/inbox/hook?wait=5")["messages"]) == 1


# --- the inbox ---


def test_waiting_for_a_message_ends_when_it_comes(api: Api) -> None:
    api.account.call("PATCH", "/clock", {"frozen": False, "speed": 100})
    api.new_task(callback_url=HOOK)
    assert len(api.account.call("GET", "/inbox/hook?wait=10&count=1")["messages"]) == 1


def test_waiting_for_what_never_comes_ends_after_the_time(api: Api) -> None:
    assert api.account.call("GET", "/inbox/hook?wait=0.05&count=3")["messages"] == []


@pytest.mark.parametrize("query", ["wait=x", "wait=61", "count=0", "count=1001", "wait=-1"])
def test_a_bad_wait_is_refused(api: Api, query: str) -> None:
    assert api.request("GET", f"/__mock/inbox/hook?{query}").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"replies": []},
        {"replies": [{"status": 99}]},
        {"replies": [{"delay": 61}]},
        {"replies": [{"state": 5}]},
        {"replies": 5},
        {"replies": [5]},
        {"replies": [{"status": True}]},
    ],
)
def test_replies_that_cannot_be_given_are_refused(api: Api, body: Any) -> None:
    assert api.request("PUT", "/__mock/inbox/hook", json=body).status_code == 400


def test_anybody_may_post_to_an_inbox_and_gets_the_programmed_reply(api: Api) -> None:
    replies(api, 202, 503)
    statuses = [api.request("POST", "/__mock/inbox/hook", content=b"\xffno json").status_code for _ in range(3)]
    assert statuses == [202, 503, 503]
    assert messages(api)[0]["json"] is None
    assert messages(api)[0]["body"] == "\ufffdno json"


def test_a_post_without_a_key_lands_in_the_shared_account(api: Api) -> None:
    name = api.key[-20:]
    assert api.client.post(f"/__mock/inbox/{name}", json={"a": 1}).status_code == 200
    assert api.client.get(f"/__mock/inbox/{name}").json()["messages"][0]["json"] == {"a": 1}
    assert messages(api, name) == []


# --- scenarios ---


def created(api: Api, scenario: str) -> str:
    return api.new_task(callback_url=HOOK, headers={"X-Mock-Scenario": scenario})


def test_a_callback_comes_before_the_response_to_its_create_request(api: Api) -> None:
    response = api.create(callback_url=HOOK, headers={"X-Mock-Scenario": "callback_before_reply"})
    [message] = messages(api)
    assert message["json"]["id"] == response.json()["id"]
    assert message["json"]["status"] == "completed"
    request = api.account.call("GET", "/requests")["requests"]
    assert response.json()["status"] == "pending"
    assert request


def test_a_duplicate_comes_once_and_only_after_a_success(api: Api) -> None:
    replies(api, 500, 200)
    task_id = created(api, "callback_duplicate")
    api.account.clock.advance(100)
    assert after_end(api, task_id) == [0, 1, 2]
    assert messages(api)[1]["body"] == messages(api)[2]["body"]


def test_a_late_callback_is_60_seconds_late(api: Api) -> None:
    task_id = created(api, "callback_late")
    api.account.clock.advance(1000)
    assert after_end(api, task_id) == [60]


def test_a_callback_out_of_order_waits_for_another_task(api: Api) -> None:
    first = created(api, "callback_out_of_order")
    api.account.clock.advance(2)
    second = api.new_task(callback_url=HOOK)
    api.account.clock.advance(10)
    assert [message["json"]["id"] for message in messages(api)] == [second, first]
    assert after_end(api, first) == [2]


def test_a_callback_out_of_order_without_another_task_comes_after_60_seconds(api: Api) -> None:
    task_id = created(api, "callback_out_of_order")
    api.account.clock.advance(1000)
    assert after_end(api, task_id) == [60]


def test_an_extra_field_is_in_the_callback_and_not_in_the_query(api: Api) -> None:
    task_id = created(api, "callback_extra_field")
    api.account.clock.advance(5)
    extra = set(messages(api)[0]["json"]) - set(api.task(task_id))
    assert extra == {"model_version", "queue"}


def test_a_shape_chosen_with_the_create_request_holds_for_the_callback_too(api: Api) -> None:
    api.create(callback_url=HOOK, headers={"X-Mock-Scenario": "wrapped_in_data"})
    api.account.clock.advance(5)
    assert set(json.loads(messages(api)[0]["body"])) == {"code", "data"}


# --- several things at once ---


def slow(api: Api, seconds: float, status: int = 200, name: str = "hook") -> None:
    api.account.call("PUT", f"/inbox/{name}", {"replies": [{"status": status, "delay": seconds}]})


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Results of calls that begin together, in their order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_an_advance_waits_for_attempts_that_are_under_way_already(api: Api) -> None:
    slow(api, 0.1, 500)
    task_id = created(api, "instant")
    api.account.clock.advance(60)
    assert after_end(api, task_id) == [0, 1, 3, 7]


def test_two_advances_at_once_add_up_and_keep_the_schedule(api: Api) -> None:
    slow(api, 0.2, 500)
    task_id = api.new_task(callback_url=HOOK)
    before = api.account.call("GET", "/clock")["now"]
    at_once(lambda: api.account.clock.advance(20), lambda: api.account.clock.advance(50))
    assert api.account.call("GET", "/clock")["now"] == before + 70
    assert after_end(api, task_id) == [0, 1, 3, 7]


def test_setting_the_clock_beside_an_advance_does_not_overshoot(api: Api) -> None:
    slow(api, 0.2)
    api.new_task(callback_url=HOOK)
    before = api.account.call("GET", "/clock")["now"]
    at_once(lambda: api.account.clock.advance(10), lambda: api.account.call("PATCH", "/clock", {"now": before + 30}))
    assert api.account.call("GET", "/clock")["now"] in (before + 30, before + 40)


def test_a_callback_that_waits_for_another_is_made_once_though_both_fall_due_together(api: Api) -> None:
    slow(api, 0.1, name="a")
    first = api.new_task(
        callback_url="https://inbox.sora-mock.test/a", headers={"X-Mock-Scenario": "callback_out_of_order"}
    )
    api.account.clock.advance(60)
    api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    assert len(messages(api, "a")) == 1
    assert after_end(api, first) == [60]


def test_two_tasks_out_of_order_change_places(api: Api) -> None:
    first, second = created(api, "callback_out_of_order"), created(api, "callback_out_of_order")
    api.account.clock.advance(5)
    assert [message["json"]["id"] for message in messages(api)] == [second, first]


def test_a_failed_attempt_of_another_task_lets_nothing_go(api: Api) -> None:
    first = created(api, "callback_out_of_order")
    replies(api, 500, 200)
    second = api.new_task(callback_url=HOOK)
    api.account.clock.advance(10)
    assert [message["json"]["id"] for message in messages(api)] == [second, second, first]


def test_no_account_waits_for_the_attempt_of_another_one(api: Api) -> None:
    slow(api, 8, name="slow")
    slow_task = api.new_task(callback_url="https://inbox.sora-mock.test/slow")
    other, quiet = api.new_task(callback_url=HOOK), api.new_task()
    api.account.call("PATCH", "/clock", {"per_request": 5})
    api.task(slow_task)
    api.account.call("PATCH", "/clock", {"per_request": 0})
    began = stopwatch()
    api.account.call("POST", f"/tasks/{api.new_task()}/finish", {"outcome": "completed"})
    api.account.call("POST", f"/deliveries/{deliveries(api, other)[0]['id']}/redeliver")
    api.create(callback_url=HOOK, headers={"X-Mock-Scenario": "callback_before_reply"})
    assert stopwatch() - began < 4
    assert quiet


def test_finishing_a_task_keeps_its_callback_late(api: Api) -> None:
    task_id = created(api, "callback_late")
    api.account.call("POST", f"/tasks/{task_id}/finish", {"outcome": "failed"})
    assert messages(api) == []
    api.account.clock.advance(60)
    assert after_end(api, task_id) == [60]


def test_an_attempt_that_falls_due_while_another_of_its_delivery_is_under_way_is_made_after_it(api: Api) -> None:
    planned = [{"status": 500}, {"status": 500, "delay": 0.3}, {"status": 204}]
    api.account.call("PUT", "/inbox/hook", {"replies": planned})
    api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    [delivery] = deliveries(api)
    with ThreadPoolExecutor() as threads:
        other = threads.submit(api.account.call, "POST", f"/deliveries/{delivery['id']}/redeliver")
        api.account.call("GET", "/inbox/hook?wait=10&count=2")
        # the retry, a second later, falls into the 0.3 s that the redelivery takes
        api.account.call("PATCH", "/clock", {"frozen": False, "speed": 1000})
        assert len(api.account.call("GET", "/inbox/hook?wait=10&count=3")["messages"]) == 3
        other.result()
    [delivery] = deliveries(api)
    assert [(each["status"], each["extra"]) for each in delivery["attempts"]] == [
        (500, False),
        (500, True),
        (204, False),
    ]
    assert delivery["state"] == "succeeded"


def test_an_advance_ends_with_nothing_under_way_though_a_redelivery_comes_in_between(api: Api) -> None:
    planned = [{"status": 500, "delay": delay} for delay in (0, 0.2, 0.4, 0, 0)]
    api.account.call("PUT", "/inbox/hook", {"replies": planned})
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    [delivery] = deliveries(api)
    with ThreadPoolExecutor() as threads:
        walk = threads.submit(api.account.clock.advance, 20)
        api.account.call("GET", "/inbox/hook?wait=10&count=2")
        # the third attempt falls due while this one is under way
        other = threads.submit(api.account.call, "POST", f"/deliveries/{delivery['id']}/redeliver")
        walk.result()
        other.result()
    [delivery] = deliveries(api)
    made = [each for each in delivery["attempts"] if not each["extra"]]
    ended_at = next(t["mock"]["ended_at"] for t in api.account.call("GET", "/tasks")["tasks"] if t["id"] == task_id)
    assert [(each["at"] - ended_at, each["ended_at"] - each["at"]) for each in made] == [(0, 0), (1, 0), (3, 0), (7, 0)]
    assert delivery["state"] == "failed"


def test_a_redelivery_that_succeeds_ends_the_schedule(api: Api) -> None:
    replies(api, 500, 200, 500)
    task_id = api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    delivery = deliveries(api, task_id)[0]
    assert delivery["state"] == "pending"
    done = api.account.call("POST", f"/deliveries/{delivery['id']}/redeliver")
    assert (done["state"], done["next_at"]) == ("succeeded", None)
    api.account.clock.advance(100)
    assert len(messages(api)) == 2


@pytest.mark.parametrize("path", ["a/b", "a%2Fb", "h%C3%BCk", "a%20b"])
def test_an_inbox_is_read_under_the_name_that_it_was_written_to(api: Api, path: str) -> None:
    api.new_task(callback_url=f"https://INBOX.sora-mock.test.:8443/{path}")
    api.account.clock.advance(5)
    assert len(messages(api, path)) == 1


def test_a_wait_sees_an_inbox_that_does_not_exist_yet(api: Api) -> None:
    name, fresh = api.key[-24:], Api(api.client, api.key + "-fresh")

    def deliver() -> None:
        fresh.account.clock.freeze()
        fresh.new_task(callback_url=f"https://inbox.sora-mock.test/{name}")
        fresh.account.clock.advance(5)

    began = stopwatch()
    waited, _ = at_once(lambda: api.client.get(f"/__mock/inbox/{name}?wait=15").json()["messages"], deliver)
    assert len(waited) == 1
    assert stopwatch() - began < 10


def accounts_in_memory(prefix: str) -> list[str]:
    """The keys of the accounts that this process still holds, in use or forgotten."""
    gc.collect()
    return [each.key for each in gc.get_objects() if type(each) is MemoryAccount and each.key.startswith(prefix)]


def test_a_forgotten_account_is_really_gone(api: Api) -> None:
    api.account.clock.freeze()
    api.new_task(callback_url=HOOK)
    api.account.clock.advance(5)
    assert accounts_in_memory(api.key) == [api.key]
    api.account.call("POST", "/reset")
    assert accounts_in_memory(api.key) == []


def test_accounts_that_were_forgotten_for_new_ones_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, scheduler):
        monkeypatch.setattr(module, "MAX_ACCOUNTS", 2)
    with MockServer(port=0, frozen_clock=True) as server, httpx.Client(base_url=server.url) as client:
        for number in range(12):
            account = Api(client, f"sk-piled-{number}")
            account.new_task(callback_url=HOOK)
            account.account.clock.advance(5)
            assert len(messages(account)) == 1
        assert len(accounts_in_memory("sk-piled-")) <= 2


@pytest.mark.parametrize("everything", [False, True], ids=["the account", "everything"])
def test_a_reset_while_the_clock_advances_ends_the_advance_and_the_server_goes_on(everything: bool) -> None:
    with MockServer(port=0, frozen_clock=True) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        api = Api(client, "sk-reset-meanwhile")
        api.account.call("PUT", "/inbox/hook", {"replies": [{"status": 500, "delay": 1}]})
        api.new_task(callback_url=HOOK)
        with ThreadPoolExecutor() as threads:
            advance = threads.submit(api.account.clock.advance, 30)
            # the message is there, and its reply takes a second
            assert api.account.call("GET", "/inbox/hook?wait=10&count=1", timeout=15)["messages"]
            headers = {} if everything else api.headers
            assert client.post("/__mock/reset", headers=headers).status_code == 200
            assert isinstance(advance.result(10), float)
        assert client.get("/__mock/health").json()["status"] == "ok"
        assert deliveries(api) == []
        api.new_task(callback_url=HOOK)
        api.account.clock.advance(5)
        assert len(messages(api)) == 1
