"""The control API: shapes, scopes and refusals of every call that docs/reference.md names and that exists."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from sora_mock.client import AllAccounts
from sora_mock.server import MockServer
from sora_mock.version import VERSION
from tests.conftest import ORDER, Api

MIB = 1024 * 1024
LAST_TIME = 9_999_999_999


@contextmanager
def serving(**settings: Any) -> Iterator[httpx.Client]:
    """A server of a test's own, for calls that are about the whole of it."""
    with (
        MockServer(port=0, **{"seed": 1, **settings}) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[httpx.Client]:
    """Such a server with the default settings."""
    with serving() as client:
        yield client


@pytest.fixture
def own(shared: httpx.Client) -> httpx.Client:
    """That server, as if it had just been started."""
    keyless(shared, "POST", "/reset")
    return shared


@pytest.fixture
def other(api: Api) -> Api:
    """A second account on the same server."""
    second = Api(api.client, api.key + "-other")
    second.account.clock.freeze()
    return second


def keyless(client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
    """The response to a control request about the whole server."""
    return AllAccounts(str(client.base_url)).call(method, path, body)


def refused(response: httpx.Response, status: int) -> Any:
    """The refusal of a control call: `{"error":{"code","message"}}`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message"}
    assert all(isinstance(value, str) and value for value in body["error"].values())
    return body["error"]


# --- health, routes, keys ---


def test_health_shows_status_and_version(client: httpx.Client) -> None:
    response = client.get("/__mock/health")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "ok", "version": VERSION}


@pytest.mark.parametrize("path", ["/nothing", "/clock/nothing", "/clock/", "/health/", "/%00", "/tasks/x"])
def test_an_unknown_control_call_is_404(client: httpx.Client, path: str) -> None:
    refused(client.get("/__mock" + path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", {"GET"}),
        ("DELETE", "/clock", {"GET", "PATCH"}),
        ("GET", "/clock/advance", {"POST"}),
        ("PUT", "/account", {"GET", "PATCH"}),
        ("DELETE", "/tasks", {"GET"}),
        ("GET", "/tasks/x/finish", {"POST"}),
        ("POST", "/requests", {"GET"}),
        ("GET", "/reset", {"POST"}),
    ],
)
def test_a_wrong_method_is_405_with_allow(client: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    response = client.request(method, "/__mock" + path)
    refused(response, 405)
    assert {name.strip() for name in response.headers["allow"].split(",")} >= allowed


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic c2stYWJj", "Bearer", "sk-abc"])
@pytest.mark.parametrize("path", ["/clock", "/account", "/tasks", "/requests"])
def test_a_wrong_key_is_refused_and_not_taken_for_none(client: httpx.Client, header: str, path: str) -> None:
    refused(client.get("/__mock" + path, headers={"Authorization": header}), 401)


@pytest.mark.parametrize("key", ["sk-mock-expired-k", "sk-mock-broken-k", "sk-mock-rate-limited-k"])
def test_a_key_with_a_meaning_can_be_controlled(client: httpx.Client, key: str) -> None:
    assert Api(client, key).account.call("GET", "/account")["remaining_credits"] == 1000


def test_a_control_call_takes_no_rate_limit_token(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    for _ in range(5):
        api.account.call("GET", "/clock")
    assert api.request("GET", "/v1/credits").status_code == 200


# --- bad bodies, for every call that takes one ---

WRITES = [
    ("PATCH", "/clock", {"frozen": True}),
    ("POST", "/clock/advance", {"seconds": 1}),
    ("PATCH", "/account", {"remaining_credits": 5}),
    ("POST", "/tasks/task-unified-1757169743-7cvnl5zw/finish", {"outcome": "completed"}),
    ("POST", "/reset", {}),
]


@pytest.mark.parametrize(("method", "path", "good"), WRITES)
@pytest.mark.parametrize(
    "body",
    [b"{", b"not json", b"[]", b"[{}]", b'"text"', b"5", b"null", b"true", b"\xff", b'{"a":NaN}', b'{"a":"\\ud800"}'],
)
def test_a_body_that_is_no_json_object_is_400(
    api: Api, method: str, path: str, good: dict[str, Any], body: bytes
) -> None:
    refused(api.request(method, "/__mock" + path, content=body), 400)


@pytest.mark.parametrize(("method", "path", "good"), WRITES)
def test_an_unknown_field_is_400_and_named(api: Api, method: str, path: str, good: dict[str, Any]) -> None:
    response = api.request(method, "/__mock" + path, json={**good, "colour": "red"})
    assert "colour" in refused(response, 400)["message"]


@pytest.mark.parametrize(("method", "path", "good"), WRITES)
def test_a_body_over_one_mib_is_413(api: Api, method: str, path: str, good: dict[str, Any]) -> None:
    body = json.dumps(good).encode()
    refused(api.request(method, "/__mock" + path, content=body + b" " * (MIB + 1 - len(body))), 413)


def test_a_body_of_exactly_one_mib_is_read(api: Api) -> None:
    body = b'{"frozen":true}'
    assert api.request("PATCH", "/__mock/clock", content=body + b" " * (MIB - len(body))).status_code == 200


def test_a_body_needs_no_content_type(api: Api) -> None:
    assert api.request("POST", "/__mock/clock/advance", content=b'{"seconds":1}').status_code == 200


def test_a_near_name_is_suggested(api: Api) -> None:
    assert "frozen" in refused(api.request("PATCH", "/__mock/clock", json={"froze": True}), 400)["message"]


# --- clock ---


def test_the_clock_shows_now_speed_and_frozen(api: Api) -> None:
    clock = api.account.call("GET", "/clock")
    assert isinstance(clock["now"], float)
    assert (clock["speed"], clock["frozen"]) == (1.0, True)


def test_the_clock_of_a_new_account_shows_unix_seconds_and_runs(own: httpx.Client) -> None:
    api = Api(own, "sk-new")
    first = api.account.call("GET", "/clock")
    second = api.account.call("GET", "/clock")
    assert first["frozen"] is False
    assert 1_700_000_000 < first["now"] < second["now"]


def test_a_frozen_clock_does_not_move(api: Api) -> None:
    assert api.account.call("GET", "/clock")["now"] == api.account.call("GET", "/clock")["now"]


def test_freezing_does_not_move_the_clock(own: httpx.Client) -> None:
    api = Api(own, "sk-new")
    before = api.account.call("GET", "/clock")["now"]
    frozen = api.account.call("PATCH", "/clock", {"frozen": True})["now"]
    thawed = api.account.call("PATCH", "/clock", {"frozen": False})["now"]
    after = api.account.call("GET", "/clock")["now"]
    assert before <= frozen <= thawed <= after < before + 10


def test_every_change_returns_the_clock(api: Api) -> None:
    now = api.account.call("GET", "/clock")["now"]
    for method, path, body in (
        ("PATCH", "/clock", {"speed": 2}),
        ("PATCH", "/clock", {"now": now + 5}),
        ("PATCH", "/clock", {"per_request": 0}),
        ("PATCH", "/clock", {}),
        ("POST", "/clock/advance", {"seconds": 0}),
    ):
        assert api.account.call(method, path, body) == api.account.call("GET", "/clock")


def test_advance_moves_the_clock_by_exactly_that_much(api: Api) -> None:
    before = api.account.call("GET", "/clock")["now"]
    assert api.account.call("POST", "/clock/advance", {"seconds": 300}) == {
        **api.account.call("GET", "/clock"),
        "now": before + 300,
    }


def test_advance_moves_a_running_clock_too(own: httpx.Client) -> None:
    api = Api(own, "sk-new")
    before = api.account.call("GET", "/clock")["now"]
    after = api.account.call("POST", "/clock/advance", {"seconds": 3600})
    assert after["frozen"] is False
    assert 3600 <= after["now"] - before < 3610


def test_the_clock_can_be_set_forwards(api: Api) -> None:
    now = api.account.call("GET", "/clock")["now"]
    assert api.account.call("PATCH", "/clock", {"now": now + 1000.5})["now"] == now + 1000.5


def test_the_clock_can_be_set_to_its_own_time(api: Api) -> None:
    now = api.account.call("GET", "/clock")["now"]
    assert api.account.call("PATCH", "/clock", {"now": now})["now"] == now


def test_the_clock_cannot_be_set_backwards(api: Api) -> None:
    now = api.account.call("GET", "/clock")["now"]
    refused(api.request("PATCH", "/__mock/clock", json={"now": now - 0.001, "speed": 7, "frozen": False}), 400)
    # nothing of a refused change happens
    clock = api.account.call("GET", "/clock")
    assert (clock["now"], clock["speed"], clock["frozen"]) == (now, 1.0, True)


def test_setting_the_clock_settles_like_advance(api: Api) -> None:
    api.new_task()
    now = api.account.call("GET", "/clock")["now"]
    api.account.clock.now = now + 5
    account = api.account.call("GET", "/account")
    assert (account["reserved_credits"], account["used_credits"]) == (0, 5.76)


def test_a_fast_clock_runs_fast(own: httpx.Client) -> None:
    api = Api(own, "sk-new")
    before = api.account.call("PATCH", "/clock", {"speed": 1_000_000})
    assert before["speed"] == 1_000_000
    task_id = api.new_task()
    assert api.task(task_id)["status"] == "completed"


def test_a_faster_clock_does_not_jump(own: httpx.Client) -> None:
    api = Api(own, "sk-new")
    api.account.clock.freeze()
    now = api.account.call("GET", "/clock")["now"]
    assert api.account.call("PATCH", "/clock", {"speed": 60})["now"] == now


@pytest.mark.parametrize(
    "body",
    [
        {"frozen": 1},
        {"frozen": "true"},
        {"frozen": None},
        {"speed": 0},
        {"speed": -1},
        {"speed": "60"},
        {"speed": True},
        {"speed": None},
        {"speed": 1e300},
        {"speed": []},
        {"now": "tomorrow"},
        {"now": -1},
        {"now": 1e300},
        {"now": None},
        {"now": 10**30},
        {"per_request": -1},
        {"per_request": "5"},
        {"per_request": None},
        {"per_request": 1e300},
        {"per_request": {}},
    ],
    ids=str,
)
def test_a_bad_change_of_the_clock_is_400_and_named(api: Api, body: dict[str, Any]) -> None:
    before = api.account.call("GET", "/clock")
    [name] = body
    assert name in refused(api.request("PATCH", "/__mock/clock", json=body), 400)["message"]
    assert api.account.call("GET", "/clock") == before


@pytest.mark.parametrize(
    "body", [{}, {"seconds": -1}, {"seconds": "5"}, {"seconds": None}, {"seconds": True}, {"seconds": 1e300}], ids=str
)
def test_a_bad_advance_is_400(api: Api, body: dict[str, Any]) -> None:
    before = api.account.call("GET", "/clock")
    assert "seconds" in refused(api.request("POST", "/__mock/clock/advance", json=body), 400)["message"]
    assert api.account.call("GET", "/clock") == before


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000])
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("POST", "/clock/advance", "seconds"), ("PATCH", "/clock", "now"), ("PATCH", "/account", "remaining_credits")],
)
def test_a_number_beyond_all_bounds_is_400(api: Api, method: str, path: str, name: str, written: str) -> None:
    body = f'{{"{name}":{written}}}'.encode()
    refused(api.request(method, "/__mock" + path, content=body), 400)


def test_the_clock_ends_where_ids_would_need_eleven_digits(api: Api) -> None:
    api.account.clock.advance(LAST_TIME)
    assert api.account.call("GET", "/clock")["now"] <= LAST_TIME
    assert len(api.new_task().split("-")[2]) == 10


# --- per_request ---


def test_per_request_ends_a_polling_loop_after_a_known_number_of_polls(api: Api) -> None:
    api.account.clock.per_request(1)
    task_id = api.new_task()
    statuses = [api.task(task_id)["status"] for _ in range(6)]
    assert statuses == ["processing"] * 4 + ["completed"] * 2


def test_every_operation_advances_the_clock_first(api: Api) -> None:
    now = api.account.call("PATCH", "/clock", {"per_request": 5})["now"]
    assert api.create().json()["created"] == int(now + 5)
    api.credits()
    assert api.request("GET", "/v1/tasks/abc").status_code == 400
    assert api.account.call("GET", "/clock")["now"] == now + 15


def test_control_calls_do_not_advance_the_clock(api: Api) -> None:
    now = api.account.call("PATCH", "/clock", {"per_request": 5})["now"]
    assert [api.account.call("GET", "/clock")["now"] for _ in range(3)] == [now] * 3


def test_per_request_is_the_accounts_own(api: Api, other: Api) -> None:
    api.account.clock.per_request(5)
    now = other.account.call("GET", "/clock")["now"]
    other.credits()
    api.credits()
    assert other.account.call("GET", "/clock")["now"] == now


def test_per_request_0_ends_it(api: Api) -> None:
    now = api.account.call("PATCH", "/clock", {"per_request": 5})["now"]
    api.account.clock.per_request(0)
    api.credits()
    assert api.account.call("GET", "/clock")["now"] == now


# --- account ---


def test_an_account_shows_its_four_fields(api: Api) -> None:
    assert api.account.call("GET", "/account") == {
        "remaining_credits": 1000,
        "reserved_credits": 0,
        "used_credits": 0,
        "rate_limit": None,
    }


def test_a_change_of_the_account_returns_the_account(api: Api) -> None:
    response = api.account.call("PATCH", "/account", {"remaining_credits": 12.5, "rate_limit": "60/minute"})
    assert response == {
        "remaining_credits": 12.5,
        "reserved_credits": 0,
        "used_credits": 0,
        "rate_limit": "60/minute",
    }
    assert response == api.account.call("GET", "/account")


def test_an_account_can_be_unlimited_and_limited_again(api: Api) -> None:
    assert api.account.call("PATCH", "/account", {"remaining_credits": "unlimited"})["remaining_credits"] == "unlimited"
    assert api.credits()["unlimited_credits"] is True
    assert api.account.call("PATCH", "/account", {"remaining_credits": 0})["remaining_credits"] == 0
    assert api.create().status_code == 402


def test_a_rate_limit_can_be_lifted(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    assert api.account.call("PATCH", "/account", {"rate_limit": None})["rate_limit"] is None
    assert [api.request("GET", "/v1/credits").status_code for _ in range(3)] == [200] * 3


def test_a_new_balance_leaves_what_is_reserved_and_used(api: Api) -> None:
    api.new_task()
    api.account.credits = 1
    account = api.account.call("GET", "/account")
    assert (account["remaining_credits"], account["reserved_credits"], account["used_credits"]) == (1, 5.76, 0)
    api.account.clock.advance(5)
    account = api.account.call("GET", "/account")
    assert (account["remaining_credits"], account["reserved_credits"], account["used_credits"]) == (1, 0, 5.76)


@pytest.mark.parametrize(
    "body",
    [
        {"remaining_credits": -1},
        {"remaining_credits": "10"},
        {"remaining_credits": "limited"},
        {"remaining_credits": None},
        {"remaining_credits": True},
        {"remaining_credits": 0.00001},
        {"remaining_credits": 1e300},
        {"remaining_credits": []},
        {"remaining_credits": {}},
        {"rate_limit": "fast"},
        {"rate_limit": "0/minute"},
        {"rate_limit": "-1/minute"},
        {"rate_limit": "60/fortnight"},
        {"rate_limit": "60"},
        {"rate_limit": ""},
        {"rate_limit": 60},
        {"rate_limit": True},
        {"rate_limit": ["60/minute"]},
        {"used_credits": 5},
        {"reserved_credits": 5},
    ],
    ids=str,
)
def test_a_bad_change_of_the_account_is_400_and_named(api: Api, body: dict[str, Any]) -> None:
    before = api.account.call("GET", "/account")
    [name] = body
    assert name in refused(api.request("PATCH", "/__mock/account", json=body), 400)["message"]
    assert api.account.call("GET", "/account") == before


def test_a_change_that_is_half_bad_changes_nothing(api: Api) -> None:
    before = api.account.call("GET", "/account")
    refused(api.request("PATCH", "/__mock/account", json={"remaining_credits": 5, "rate_limit": "fast"}), 400)
    assert api.account.call("GET", "/account") == before


# --- tasks and finish ---


def test_tasks_are_listed_newest_first(api: Api) -> None:
    assert api.account.call("GET", "/tasks") == {"tasks": []}
    created = [api.new_task() for _ in range(3)]
    assert [task["id"] for task in api.account.call("GET", "/tasks")["tasks"]] == created[::-1]


def test_a_listed_task_shows_what_the_query_shows(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    [listed] = api.account.call("GET", "/tasks")["tasks"]
    assert listed.items() >= api.task(task_id).items()


def test_finish_completes_a_task_at_once(api: Api) -> None:
    task_id = api.new_task()
    response = api.account.call("POST", f"/tasks/{task_id}/finish", {"outcome": "completed"})
    assert (response["id"], response["status"], response["progress"]) == (task_id, "completed", 100)
    assert response.items() >= api.task(task_id).items()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"outcome": "failed"}, "unknown_error"),
        ({"outcome": "failed", "code": "generation_timeout"}, "generation_timeout"),
        ({"outcome": "cancelled"}, "request_cancelled"),
    ],
)
def test_finish_fails_a_task_with_a_code(api: Api, body: dict[str, str], code: str) -> None:
    task_id = api.new_task()
    response = api.account.call("POST", f"/tasks/{task_id}/finish", body)
    assert (response["status"], response["error"]["code"]) == ("failed", code)
    assert api.task(task_id)["error"]["message"]


def test_finish_takes_a_message_of_its_own(api: Api) -> None:
    task_id = api.new_task()
    body = {"outcome": "failed", "code": "content_policy_violation", "message": "nudity\ndetected"}
    api.account.call("POST", f"/tasks/{task_id}/finish", body)
    assert api.task(task_id)["error"] == {
        "code": "content_policy_violation",
        "message": "nudity\ndetected",
        "type": "task_error",
    }


@pytest.mark.parametrize(
    "code",
    [
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
    ],
)
def test_finish_knows_every_documented_failure_code(api: Api, code: str) -> None:
    task_id = api.new_task()
    response = api.account.call("POST", f"/tasks/{task_id}/finish", {"outcome": "failed", "code": code})
    assert response["error"]["code"] == code


def test_a_task_can_be_finished_while_it_is_processing(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(3)
    api.account.task(task_id).finish("failed")
    api.account.clock.advance(100)
    assert api.task(task_id)["status"] == "failed"


def test_a_task_cannot_be_finished_twice(api: Api) -> None:
    task_id = api.new_task()
    api.account.task(task_id).finish("failed")
    refused(api.request("POST", f"/__mock/tasks/{task_id}/finish", json={"outcome": "completed"}), 409)
    assert api.task(task_id)["status"] == "failed"
    assert api.account.call("GET", "/account")["remaining_credits"] == 1000


@pytest.mark.parametrize("task_id", ["abc", "task-unified-1757169743-7cvnl5zw", "%00"])
def test_an_unknown_task_cannot_be_finished(api: Api, task_id: str) -> None:
    refused(api.request("POST", f"/__mock/tasks/{task_id}/finish", json={"outcome": "failed"}), 404)


def test_another_accounts_task_cannot_be_finished(api: Api, other: Api) -> None:
    task_id = api.new_task()
    refused(other.request("POST", f"/__mock/tasks/{task_id}/finish", json={"outcome": "failed"}), 404)
    assert api.task(task_id)["status"] == "pending"


def test_without_a_key_any_task_can_be_finished(api: Api) -> None:
    task_id = api.new_task()
    keyless(api.client, "POST", f"/tasks/{task_id}/finish", {"outcome": "completed"})
    assert api.task(task_id)["status"] == "completed"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outcome": "stuck"},
        {"outcome": None},
        {"outcome": 5},
        {"outcome": ["failed"]},
        {"outcome": {}},
        {"code": "unknown_error"},
        {"outcome": "failed", "code": 5},
        {"outcome": "failed", "code": ""},
        {"outcome": "failed", "code": None},
        {"outcome": "failed", "message": 5},
        {"outcome": "failed", "message": []},
    ],
    ids=str,
)
def test_a_bad_finish_is_400_and_ends_nothing(api: Api, body: dict[str, Any]) -> None:
    task_id = api.new_task()
    refused(api.request("POST", f"/__mock/tasks/{task_id}/finish", json=body), 400)
    assert api.task(task_id)["status"] == "pending"


# --- the journal ---


def test_a_request_is_recorded_with_its_fields(api: Api) -> None:
    created = api.create()
    [record] = api.account.call("GET", "/requests")["requests"]
    assert record["at"] == api.account.call("GET", "/clock")["now"]
    assert (record["method"], record["path"], record["status"]) == ("POST", "/v1/videos/generations", 200)
    assert (record["scenario"], record["request"], record["response"]) == ("completed", ORDER, created.json())


def test_requests_are_listed_newest_first(api: Api) -> None:
    api.credits()
    api.create()
    api.request("GET", "/v1/tasks/abc")
    assert [record["status"] for record in api.account.call("GET", "/requests")["requests"]] == [400, 200, 200]


def test_refused_requests_are_recorded(api: Api) -> None:
    api.create(duration=11)
    api.request("POST", "/v1/videos/generations", content=b"{")
    records = api.account.call("GET", "/requests")["requests"]
    assert [record["status"] for record in records] == [400, 400]
    assert records[0]["request"] == "{"
    assert records[1]["response"]["error"]["param"] == "duration"


def test_control_calls_are_not_recorded(api: Api) -> None:
    api.account.call("GET", "/clock")
    assert api.account.call("GET", "/requests") == {"requests": []}


def test_a_request_with_a_bad_key_is_in_the_whole_servers_journal(own: httpx.Client) -> None:
    own.get("/v1/credits", headers={"Authorization": "Bearer wrong-key"})
    own.get("/v1/nothing")
    records = keyless(own, "GET", "/requests")["requests"]
    assert [record["status"] for record in records] == [404, 401]
    assert "wrong-key" not in json.dumps(records)


def test_without_a_key_the_journals_of_all_accounts_are_one_newest_first(own: httpx.Client) -> None:
    for key in ("sk-a", "sk-b", "sk-a", "sk-c"):
        Api(own, key).request("GET", f"/v1/tasks/task-unified-{key[-1]}")
    records = keyless(own, "GET", "/requests")["requests"]
    assert [record["path"][-1] for record in records] == ["c", "a", "b", "a"]


SECRET = "sk-secret-0123456789"


@pytest.mark.parametrize(
    "sent",
    [
        {"method": "POST", "url": "/v1/videos/generations", "json": {**ORDER, "prompt": f"my key is {SECRET}."}},
        {"method": "POST", "url": "/v1/videos/generations", "json": {**ORDER, SECRET: 1}},
        {
            "method": "POST",
            "url": "/v1/videos/generations",
            "json": {**ORDER, "callback_url": f"https://e.org/{SECRET}"},
        },
        {"method": "POST", "url": "/v1/videos/generations", "content": f"{{broken {SECRET}".encode()},
        {"method": "POST", "url": "/v1/videos/generations", "json": {**ORDER, "duration": SECRET}},
        {
            "method": "POST",
            "url": "/v1/videos/generations",
            "content": json.dumps({**ORDER, "prompt": SECRET}).replace("sk-", "\\u0073k-").encode(),
        },
        {
            "method": "POST",
            "url": "/v1/videos/generations",
            "content": json.dumps({**ORDER, "prompt": "sk-secret/0123456789"}).replace("/0", "\\/0").encode(),
        },
        {"method": "GET", "url": f"/v1/tasks/{SECRET}"},
        {"method": "GET", "url": f"/v1/tasks/task-unified-{SECRET}"},
        {"method": "GET", "url": f"/v1/nothing/{SECRET}"},
        {"method": "GET", "url": f"/v1/credits?key={SECRET}"},
        {"method": "GET", "url": "/v1/credits", "headers": {"X-Api-Key": SECRET}},
        {"method": "GET", "url": "/v1/credits", "headers": {"Cookie": f"key={SECRET}"}},
        {"method": "GET", "url": "/v1/credits", "headers": {"Referer": f"http://localhost/?key={SECRET}"}},
    ],
    ids=[
        "prompt",
        "name",
        "callback",
        "broken",
        "field",
        "escaped",
        "slash",
        "task",
        "task-with-prefix",
        "route",
        "query",
        "header",
        "cookie",
        "referer",
    ],
)
def test_keys_are_redacted_wherever_they_are(own: httpx.Client, sent: dict[str, Any]) -> None:
    own.request(**{**sent, "headers": {"Authorization": f"Bearer {SECRET}", **sent.get("headers", {})}})
    records = keyless(own, "GET", "/requests")["requests"]
    assert len(records) == 1
    assert "0123456789" not in json.dumps(records)


def test_a_task_id_is_not_taken_for_a_key(api: Api) -> None:
    task_id = api.new_task()
    api.task(task_id)
    records = api.account.call("GET", "/requests")["requests"]
    assert records[0]["path"] == f"/v1/tasks/{task_id}"
    assert records[1]["response"]["id"] == task_id


def test_the_bytes_of_a_video_are_not_in_the_journal(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    url = api.task(task_id)["results"][0]
    api.client.get(url)
    record = api.account.call("GET", "/requests")["requests"][0]
    assert record["path"] in url
    assert len(json.dumps(record)) < 3000


def test_the_journal_is_bounded_by_count(api: Api) -> None:
    for number in range(1050):
        api.request("GET", f"/v1/tasks/task-unified-{number}")
    records = api.account.call("GET", "/requests")["requests"]
    assert len(records) <= 1000
    # the oldest go first
    assert records[0]["path"] == "/v1/tasks/task-unified-1049"
    assert records[-1]["path"] == f"/v1/tasks/task-unified-{1050 - len(records)}"


def test_the_journal_is_bounded_by_bytes(api: Api) -> None:
    body = b'{"model":"sora-2-beta-max","prompt":"x","more":"%s"}' % (b"a" * 900_000)
    for _ in range(30):
        api.request("POST", "/v1/videos/generations", content=body)
    assert len(api.request("GET", "/__mock/requests").content) < 5_000_000


def test_the_journal_of_many_large_headers_is_bounded(api: Api) -> None:
    for _ in range(120):
        api.request("GET", "/v1/credits", headers={"X-Large": "a" * 50_000})
    assert len(api.request("GET", "/__mock/requests").content) < 5_000_000


# --- scope: one key, another key, no key ---


def test_two_keys_never_see_each_other(api: Api, other: Api) -> None:
    before = {path: other.account.call("GET", path) for path in ("/clock", "/account", "/tasks", "/requests")}
    api.new_task()
    api.account.call("PATCH", "/account", {"remaining_credits": 7, "rate_limit": "5/minute"})
    api.account.clock.advance(1000)
    api.account.call("PATCH", "/clock", {"speed": 5, "per_request": 9})
    api.task(api.account.call("GET", "/tasks")["tasks"][0]["id"])
    assert {path: other.account.call("GET", path) for path in before} == before


def test_keyless_advance_reaches_every_account_and_later_ones(own: httpx.Client) -> None:
    keyless(own, "PATCH", "/clock", {"frozen": True})
    first, second = Api(own, "sk-a"), Api(own, "sk-b")
    tasks = [(account, account.new_task()) for account in (first, second)]
    before = keyless(own, "GET", "/clock")["now"]
    assert keyless(own, "POST", "/clock/advance", {"seconds": 5})["now"] == before + 5
    assert [account.task(task_id)["status"] for account, task_id in tasks] == ["completed"] * 2
    assert Api(own, "sk-later").account.call("GET", "/clock")["now"] == before + 5


def test_keyless_changes_of_the_clock_reach_every_account_and_later_ones(own: httpx.Client) -> None:
    first = Api(own, "sk-a")
    first.account.call("GET", "/clock")
    template = keyless(own, "PATCH", "/clock", {"frozen": True, "speed": 3})
    assert (template["frozen"], template["speed"]) == (True, 3)
    for key in ("sk-a", "sk-later"):
        clock = Api(own, key).account.call("GET", "/clock")
        assert (clock["frozen"], clock["speed"]) == (True, 3)


def test_keyless_changes_of_the_account_reach_every_account_and_later_ones(own: httpx.Client) -> None:
    Api(own, "sk-a").credits()
    keyless(own, "PATCH", "/account", {"remaining_credits": 7, "rate_limit": "5/minute"})
    for key in ("sk-a", "sk-later"):
        account = Api(own, key).account.call("GET", "/account")
        assert (account["remaining_credits"], account["rate_limit"]) == (7, "5/minute")


def test_keyless_reads_show_what_new_accounts_begin_with(own: httpx.Client) -> None:
    Api(own, "sk-a").account.credits = 3
    Api(own, "sk-a").account.clock.speed = 9
    assert keyless(own, "GET", "/account") == {
        "remaining_credits": 1000,
        "reserved_credits": 0,
        "used_credits": 0,
        "rate_limit": None,
    }
    assert keyless(own, "GET", "/clock")["speed"] == 1


def test_keyless_tasks_are_those_of_all_accounts_newest_first(own: httpx.Client) -> None:
    created = [Api(own, key).new_task() for key in ("sk-a", "sk-b", "sk-a")]
    assert [task["id"] for task in keyless(own, "GET", "/tasks")["tasks"]] == created[::-1]


def test_a_keyless_clock_cannot_be_set_before_the_time_of_any_account(own: httpx.Client) -> None:
    keyless(own, "PATCH", "/clock", {"frozen": True})
    ahead = Api(own, "sk-a").account.clock.advance(1000)
    refused(own.patch("/__mock/clock", json={"now": ahead - 1}), 400)
    keyless(own, "PATCH", "/clock", {"now": ahead})
    assert Api(own, "sk-b").account.call("GET", "/clock")["now"] == ahead


def test_the_no_credit_key_stays_poor_when_new_accounts_begin_with_credits(own: httpx.Client) -> None:
    keyless(own, "PATCH", "/account", {"remaining_credits": 7})
    assert Api(own, "sk-mock-no-credit").create().status_code == 402


# --- reset ---


def test_reset_forgets_the_account(api: Api, other: Api) -> None:
    task_id, kept = api.new_task(headers={"Idempotency-Key": "order-2025-09-06-0001"}), other.new_task()
    api.account.call("PATCH", "/account", {"remaining_credits": 5, "rate_limit": "60/minute"})
    api.account.reset()
    assert api.account.call("GET", "/requests") == {"requests": []}
    assert api.account.call("GET", "/tasks") == {"tasks": []}
    assert api.account.call("GET", "/account")["remaining_credits"] == 1000
    assert api.account.call("GET", "/account")["rate_limit"] is None
    assert api.account.call("GET", "/clock")["frozen"] is False
    assert api.request("GET", f"/v1/tasks/{task_id}").status_code == 404
    assert "idempotency-replayed" not in api.create(headers={"Idempotency-Key": "order-2025-09-06-0001"}).headers
    assert other.task(kept)["status"] == "pending"


def test_reset_gives_the_account_what_new_ones_begin_with(own: httpx.Client) -> None:
    keyless(own, "PATCH", "/account", {"remaining_credits": 7})
    api = Api(own, "sk-a")
    api.account.credits = 9
    api.account.reset()
    assert api.account.call("GET", "/account")["remaining_credits"] == 7


def test_a_keyless_reset_forgets_everything(own: httpx.Client) -> None:
    api = Api(own, "sk-a")
    task_id = api.new_task()
    keyless(own, "PATCH", "/account", {"remaining_credits": 7})
    keyless(own, "PATCH", "/clock", {"frozen": True, "speed": 5})
    keyless(own, "POST", "/clock/advance", {"seconds": 86_400})
    advanced = keyless(own, "GET", "/clock")["now"]
    keyless(own, "POST", "/reset")
    assert keyless(own, "GET", "/tasks") == {"tasks": []}
    assert keyless(own, "GET", "/requests") == {"requests": []}
    assert keyless(own, "GET", "/account")["remaining_credits"] == 1000
    clock = keyless(own, "GET", "/clock")
    assert (clock["frozen"], clock["speed"]) == (False, 1)
    assert clock["now"] < advanced
    assert api.request("GET", f"/v1/tasks/{task_id}").status_code == 404


def test_a_reset_keeps_the_settings_of_the_start() -> None:
    with serving(frozen_clock=True, credits=7, speed=2.0) as client:
        keyless(client, "PATCH", "/account", {"remaining_credits": 1})
        keyless(client, "PATCH", "/clock", {"frozen": False})
        keyless(client, "POST", "/reset")
        clock = keyless(client, "GET", "/clock")
        assert (clock["frozen"], clock["speed"]) == (True, 2.0)
        assert keyless(client, "GET", "/account")["remaining_credits"] == 7


def test_a_reset_account_repeats_its_random_choices(api: Api) -> None:
    first = [api.new_task()[-8:] for _ in range(3)]
    api.account.reset()
    assert [api.new_task()[-8:] for _ in range(3)] == first
