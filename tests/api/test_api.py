"""The three operations of the emulated service: errors, order of checks, fields, lifecycle, money, rate limit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from sora_mock.client.control import Outcome
from sora_mock.server import MockServer
from tests.conftest import ORDER, Api

CREATE = "/v1/videos/generations"
CREDITS = "/v1/credits"
MIB = 1024 * 1024
ABSENT = "task-unified-1757169743-7cvnl5zw"

Row = tuple[int, str, str, str]

# service documentation and published contract: status, code, message, type
CREATE_401 = (401, "unauthorized", "Invalid or expired token", "authentication_error")
CREATE_402 = (402, "insufficient_quota", "Insufficient quota. Please top up your account.", "insufficient_quota")
CREATE_403 = (
    403,
    "model_access_denied",
    "Token does not have access to model: sora-2-beta-max",
    "invalid_request_error",
)
CREATE_429 = (429, "rate_limit_exceeded", "Too many requests, please try again later", "rate_limit_error")
CREATE_500 = (500, "internal_error", "Internal server error", "api_error")
QUERY_400 = (
    400,
    "invalid_task_id",
    "Invalid task ID format, must start with 'task-unified-'",
    "invalid_request_error",
)
QUERY_401 = (401, "unauthorized", "Authentication required", "authentication_error")
QUERY_403 = (403, "permission_denied", "You don't have permission to access this task", "invalid_request_error")
QUERY_404 = (404, "task_not_found", "The requested task could not be found", "invalid_request_error")
QUERY_429 = (429, "rate_limit_exceeded", "Rate limit exceeded", "evo_api_error")
QUERY_500 = (500, "internal_error", "Failed to retrieve task status", "api_error")


@contextmanager
def serving(key: str = "sk-own", **settings: Any) -> Iterator[Api]:
    """An account on a server with settings of its own."""
    with (
        MockServer(port=0, **{"seed": 1, **settings}) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield Api(client, key)


@pytest.fixture
def other(api: Api) -> Api:
    """A second account on the same server."""
    second = Api(api.client, api.key + "-other")
    second.account.clock.freeze()
    return second


def error(response: httpx.Response) -> Any:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert {"code", "message", "type"} <= set(body["error"]) <= {"code", "message", "type", "param"}
    return body["error"]


def row(response: httpx.Response) -> Row:
    found = error(response)
    return response.status_code, found["code"], found["message"], found["type"]


def assert_bad_request(response: httpx.Response, param: str | None = None) -> str:
    """The documented 400 of a create request, the field in `param`; returns its message."""
    found = error(response)
    assert (response.status_code, found["code"], found["type"]) == (400, "invalid_request", "invalid_request_error")
    if param is not None:
        assert found.get("param") == param
    return str(found["message"])


def post(api: Api, body: bytes, content_type: str | None = "application/json", **headers: str) -> httpx.Response:
    """A create request with exactly these bytes."""
    if content_type is not None:
        headers["content-type"] = content_type
    return api.request("POST", CREATE, content=body, headers=headers)


def order(**fields: Any) -> bytes:
    return json.dumps({**ORDER, **fields}).encode()


def padded(size: int) -> bytes:
    """A valid order of exactly `size` bytes."""
    body = order()
    return body + b" " * (size - len(body))


def keys_in_order(value: Any) -> bool:
    if isinstance(value, dict):
        return list(value) == sorted(value) and all(map(keys_in_order, value.values()))
    return not isinstance(value, list) or all(map(keys_in_order, value))


# --- the response to a create request ---


def test_a_create_request_returns_the_published_fields(api: Api) -> None:
    task = api.create(duration=15).json()
    assert task == {
        "created": task["created"],
        "id": task["id"],
        "model": "sora-2-beta-max",
        "object": "video.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 5, "video_duration": 15},
        "type": "video",
        "usage": {"billing_rule": "per_call", "credits_reserved": 8.64, "user_group": "default"},
    }


def test_the_id_holds_the_time_of_creation_and_eight_characters(api: Api) -> None:
    task = api.create().json()
    prefix, created, suffix = task["id"].rsplit("-", 2)
    assert (prefix, created) == ("task-unified", str(task["created"]))
    assert len(suffix) == 8
    assert set(suffix) <= set("abcdefghijklmnopqrstuvwxyz0123456789")


def test_created_is_the_whole_second_of_the_accounts_clock(api: Api) -> None:
    now = api.account.clock.advance(86_400 * 30)
    assert api.create().json()["created"] == int(now)


def test_two_create_requests_at_one_time_have_different_ids(api: Api) -> None:
    assert len({api.new_task() for _ in range(20)}) == 20


def test_ids_repeat_with_the_seed() -> None:
    found = []
    for _ in range(2):
        with serving(seed=7) as api:
            found.append([api.new_task()[-8:] for _ in range(3)])
    assert found[0] == found[1]


def test_estimated_time_is_the_generation_time() -> None:
    with serving(generation_time=(300.0, 300.0)) as api:
        assert api.create().json()["task_info"]["estimated_time"] == 300


def test_a_random_generation_time_stays_in_its_range() -> None:
    with serving(generation_time=(60.0, 180.0)) as api:
        chosen = {api.create().json()["task_info"]["estimated_time"] for _ in range(40)}
    assert min(chosen) >= 60
    assert max(chosen) <= 180
    assert len(chosen) > 10


def test_the_first_json_of_a_task_has_its_keys_in_alphabetical_order(api: Api) -> None:
    assert keys_in_order(api.create().json())


def test_a_query_has_its_keys_in_alphabetical_order_in_every_state(api: Api) -> None:
    completed, failed = api.new_task(), api.new_task()
    assert keys_in_order(api.task(completed))
    api.account.task(failed).finish("failed")
    api.account.clock.advance(5)
    assert keys_in_order(api.task(completed))
    assert keys_in_order(api.task(failed))


def test_credits_have_their_keys_in_alphabetical_order(api: Api) -> None:
    assert keys_in_order(api.request("GET", CREDITS).json())


# --- X-Mock-Scenario on responses ---


def test_a_create_request_names_its_scenario(api: Api) -> None:
    assert api.create().headers["x-mock-scenario"] == "completed"


def test_a_chosen_scenario_is_named(api: Api) -> None:
    assert api.create(headers={"X-Mock-Scenario": "completed"}).headers["x-mock-scenario"] == "completed"


def test_a_scenario_in_the_prompt_is_named(api: Api) -> None:
    assert api.create(prompt="A cat [[mock:completed]]").headers["x-mock-scenario"] == "completed"


def test_responses_before_the_choice_name_no_scenario(api: Api) -> None:
    api.account.credits = 0
    responses = [
        api.create(),
        api.create(duration=11),
        post(api, b"{"),
        api.create(headers={"Authorization": "Bearer wrong"}),
        api.create(headers={"X-Mock-Scenario": "no such thing"}),
        post(api, padded(MIB + 1)),
        api.request("GET", CREATE),
    ]
    assert [each.status_code for each in responses] == [402, 400, 400, 401, 400, 413, 405]
    assert not any("x-mock-scenario" in each.headers for each in responses)


def test_a_query_tells_no_scenario(api: Api) -> None:
    response = api.request("GET", f"/v1/tasks/{api.new_task()}")
    assert "x-mock-scenario" not in response.headers


def test_mock_headers_can_be_left_out() -> None:
    with serving(no_mock_headers=True) as api:
        responses = [api.create(headers={"Idempotency-Key": "order-2025-09-06-0001"}) for _ in range(2)]
    assert [response.status_code for response in responses] == [200, 200]
    assert not any(name.startswith("x-mock") for response in responses for name in response.headers)


def test_the_scenario_of_the_settings_is_the_default() -> None:
    with serving(scenario="completed") as api:
        assert api.create().headers["x-mock-scenario"] == "completed"


# --- each operation's own errors ---


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", "Bearer pk-abc", "Basic c2stYWJj", "sk-abc", "Bearer xsk-abc"],
)
def test_a_create_request_without_a_good_key_is_401(api: Api, header: str) -> None:
    assert row(api.create(headers={"Authorization": header})) == CREATE_401


def test_a_create_request_without_the_header_is_401(api: Api) -> None:
    assert row(api.client.post(CREATE, json=ORDER)) == CREATE_401


@pytest.mark.parametrize("path", [f"/v1/tasks/{ABSENT}", CREDITS])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2stYWJj"}])
def test_a_read_without_a_good_key_is_401_in_its_own_words(api: Api, path: str, headers: dict[str, str]) -> None:
    assert row(api.client.get(path, headers=headers)) == QUERY_401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(api: Api, scheme: str) -> None:
    assert api.request("GET", CREDITS, headers={"Authorization": f"{scheme} {api.key}"}).status_code == 200


@pytest.mark.parametrize("key", ["sk-", "sk-evo-abc", "sk-x", "sk-mock", "sk-mock-other", "sk-Ä", "sk-" + "k" * 200])
def test_every_key_that_begins_with_sk_is_good(api: Api, key: str) -> None:
    header = f"Bearer {key}".encode("latin-1")
    assert api.client.get(CREDITS, headers={b"Authorization": header}).status_code == 200


def test_the_configuration_narrows_the_keys() -> None:
    with serving("sk-listed", keys=("sk-listed",)) as api:
        assert api.create().status_code == 200
        assert row(Api(api.client, "sk-other").create()) == CREATE_401
        assert row(Api(api.client, "sk-listed-too").create()) == CREATE_401


def test_a_task_id_without_the_prefix_is_400(api: Api) -> None:
    response = api.request("GET", "/v1/tasks/abc")
    assert row(response) == QUERY_400
    assert error(response)["param"] == "task_id"


@pytest.mark.parametrize("task_id", [ABSENT, "task-unified-", "task-unified-x", "task-unified-%F0%9F%90%B1"])
def test_an_id_with_the_prefix_that_is_no_task_is_404(api: Api, task_id: str) -> None:
    response = api.request("GET", f"/v1/tasks/{task_id}")
    assert row(response) == QUERY_404
    assert "param" not in error(response)


def test_another_accounts_task_is_403(api: Api, other: Api) -> None:
    response = other.request("GET", f"/v1/tasks/{api.new_task()}")
    assert row(response) == QUERY_403
    assert "param" not in error(response)


def test_a_create_request_that_the_balance_does_not_cover_is_402(api: Api) -> None:
    api.account.credits = 5.75
    assert row(api.create()) == CREATE_402


# --- keys with a meaning ---


@pytest.mark.parametrize("suffix", ["", "-1", "-ci/4", "x"])
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sk-mock-expired", CREATE_401),
        ("sk-mock-no-access", CREATE_403),
        ("sk-mock-no-credit", CREATE_402),
        ("sk-mock-rate-limited", CREATE_429),
        ("sk-mock-broken", CREATE_500),
    ],
)
def test_a_key_with_a_meaning_rejects_a_create_request(
    client: httpx.Client, key: str, suffix: str, expected: Row
) -> None:
    assert row(Api(client, key + suffix).create()) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [("sk-mock-expired-q", QUERY_401), ("sk-mock-rate-limited-q", QUERY_429), ("sk-mock-broken-q", QUERY_500)],
)
def test_a_key_with_a_meaning_refuses_a_query_in_its_own_words(client: httpx.Client, key: str, expected: Row) -> None:
    assert row(Api(client, key).request("GET", f"/v1/tasks/{ABSENT}")) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [("sk-mock-expired-c", QUERY_401), ("sk-mock-rate-limited-c", QUERY_429), ("sk-mock-broken-c", QUERY_500)],
)
def test_credits_have_the_same_errors_as_the_query(client: httpx.Client, key: str, expected: Row) -> None:
    status, code, message, kind = row(Api(client, key).request("GET", CREDITS))
    assert (status, code, kind) == (expected[0], expected[1], expected[3])
    # the words of a 500 name what could not be read
    assert status == 500 or message == expected[2]


@pytest.mark.parametrize("key", ["sk-mock-no-access-q", "sk-mock-no-credit-q"])
def test_no_access_and_no_credit_do_not_block_reading(client: httpx.Client, key: str) -> None:
    api = Api(client, key)
    assert row(api.request("GET", f"/v1/tasks/{ABSENT}")) == QUERY_404
    assert api.request("GET", CREDITS).status_code == 200


def test_the_no_credit_key_shows_a_balance_of_0(client: httpx.Client) -> None:
    assert Api(client, "sk-mock-no-credit-shown").credits()["remaining_credits"] == 0


@pytest.mark.parametrize("key", ["sk-mock-no-access-h", "sk-mock-rate-limited-h", "sk-mock-broken-h"])
def test_a_header_overrides_the_keys_meaning(client: httpx.Client, key: str) -> None:
    assert Api(client, key).create(headers={"X-Mock-Scenario": "completed"}).status_code == 200


@pytest.mark.parametrize("key", ["sk-mock-no-access-t", "sk-mock-rate-limited-t", "sk-mock-broken-t"])
def test_a_prompt_token_overrides_the_keys_meaning(client: httpx.Client, key: str) -> None:
    assert Api(client, key).create(prompt="A cat [[mock:completed]]").status_code == 200


@pytest.mark.parametrize(("key", "expected"), [("sk-mock-expired-h", CREATE_401), ("sk-mock-no-credit-h", CREATE_402)])
def test_nothing_overrides_the_401_and_the_ledger(client: httpx.Client, key: str, expected: Row) -> None:
    api = Api(client, key)
    assert row(api.create(headers={"X-Mock-Scenario": "completed"})) == expected
    assert row(api.create(prompt="[[mock:completed]]")) == expected


def test_a_rate_limited_key_says_when_to_come_back(client: httpx.Client) -> None:
    api = Api(client, "sk-mock-rate-limited-r")
    assert int(api.create().headers["retry-after"]) >= 1
    assert int(api.request("GET", CREDITS).headers["retry-after"]) >= 1


# --- routes and methods ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", f"/v1/videos/generations/{ABSENT}"),
        ("POST", "/v1/videos/generations/"),
        ("GET", "/v1/credits/"),
        ("GET", f"/v1/tasks/{ABSENT}/"),
        ("GET", f"/v1/tasks/{ABSENT}/cancel"),
        ("DELETE", "/v1/nothing"),
        ("PUT", "/v2/videos/generations"),
        ("PATCH", "/V1/credits"),
        ("OPTIONS", "/somewhere"),
    ],
)
def test_an_unknown_route_is_404_and_names_itself(api: Api, method: str, path: str) -> None:
    response = api.request(method, path)
    found = error(response)
    assert (response.status_code, found["type"]) == (404, "invalid_request_error")
    assert f"Invalid URL ({method} {path})" in found["message"]


def test_an_unknown_route_needs_no_key(api: Api) -> None:
    assert api.client.get("/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(CREATE, {"POST"}), (CREDITS, {"GET"}), (f"/v1/tasks/{ABSENT}", {"GET"})],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_405_and_says_what_is_allowed(api: Api, method: str, path: str, allowed: set[str]) -> None:
    response = api.request(method, path)
    if method in allowed:
        assert response.status_code != 405
    else:
        assert response.status_code == 405
        assert error(response)["type"] == "invalid_request_error"
        assert allowed <= {name.strip() for name in response.headers["allow"].split(",")}


# --- the order of checks ---


def test_a_wrong_method_comes_before_the_key(api: Api) -> None:
    assert api.client.get(CREATE).status_code == 405


def test_a_bad_key_comes_before_everything_in_the_request(api: Api) -> None:
    bad = {"authorization": "Bearer wrong"}
    assert row(post(api, b"{", **bad)) == CREATE_401
    assert row(post(api, padded(MIB + 1), **bad)) == CREATE_401
    assert row(api.create(headers={**bad, "X-Mock-Scenario": "no such thing"})) == CREATE_401
    assert row(api.create(headers={**bad, "Content-Type": "text/plain"})) == CREATE_401


def test_an_expired_key_comes_before_an_unknown_scenario(client: httpx.Client) -> None:
    api = Api(client, "sk-mock-expired-o")
    assert row(api.create(headers={"X-Mock-Scenario": "no such thing"})) == CREATE_401


def test_an_unknown_scenario_comes_before_the_bucket(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    assert api.create().status_code == 200
    assert api.create(headers={"X-Mock-Scenario": "no such thing"}).status_code == 400
    assert api.create().status_code == 429


def test_an_unknown_scenario_takes_no_token_from_the_bucket(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    assert api.create(headers={"X-Mock-Scenario": "no such thing"}).status_code == 400
    assert api.create().status_code == 200


def test_an_unknown_scenario_comes_before_the_size(api: Api) -> None:
    assert post(api, padded(MIB + 1), **{"x-mock-scenario": "no such thing"}).status_code == 400


def test_the_bucket_comes_before_the_size_and_the_body(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    api.new_task()
    assert row(post(api, padded(MIB + 1))) == CREATE_429
    assert row(post(api, b"{")) == CREATE_429


def test_the_size_comes_before_decoding(api: Api) -> None:
    assert post(api, b"{" * (MIB + 1)).status_code == 413
    assert post(api, padded(MIB + 1), "text/plain").status_code == 413


def test_the_contract_comes_before_the_balance_and_access(client: httpx.Client) -> None:
    assert_bad_request(Api(client, "sk-mock-no-credit-o").create(duration=11), "duration")
    assert_bad_request(Api(client, "sk-mock-no-access-o").create(duration=11), "duration")


def test_an_unknown_prompt_token_comes_before_the_balance(client: httpx.Client) -> None:
    assert Api(client, "sk-mock-no-credit-p").create(prompt="[[mock:no such thing]]").status_code == 400


def test_the_contract_comes_before_a_replay(api: Api) -> None:
    headers = {"Idempotency-Key": "order-2025-09-06-0001"}
    api.new_task(headers=headers)
    assert_bad_request(api.create(duration=11, headers=headers), "duration")


def test_a_replay_comes_before_access(client: httpx.Client) -> None:
    api = Api(client, "sk-mock-no-access-replay")
    headers = {"Idempotency-Key": "order-2025-09-06-0001"}
    task_id = api.new_task(headers={**headers, "X-Mock-Scenario": "completed"})
    assert api.create(headers=headers).json()["id"] == task_id


def test_a_replay_comes_before_the_balance(api: Api) -> None:
    headers = {"Idempotency-Key": "order-2025-09-06-0001"}
    task_id = api.new_task(headers=headers)
    api.account.credits = 0
    assert api.create(headers=headers).json()["id"] == task_id
    assert api.create(prompt="another", headers=headers).status_code == 409


def test_access_comes_before_the_balance(client: httpx.Client) -> None:
    api = Api(client, "sk-mock-no-access-and-poor")
    api.account.credits = 0
    assert row(api.create()) == CREATE_403


def test_a_query_checks_the_key_before_the_id(api: Api) -> None:
    assert row(api.client.get("/v1/tasks/abc")) == QUERY_401


# --- the request's fields ---


@pytest.mark.parametrize(
    ("fields", "param", "expected"),
    [
        ({"model": "sora-1"}, "model", ["sora-2-beta-max", "sora-1"]),
        ({"model": 5}, "model", ["string", "5"]),
        ({"model": None}, "model", ["string", "null"]),
        ({"prompt": 5}, "prompt", ["string"]),
        ({"prompt": None}, "prompt", ["string"]),
        ({"prompt": ["a"]}, "prompt", ["string"]),
        ({"aspect_ratio": "1:1"}, "aspect_ratio", ["16:9", "9:16", "1:1"]),
        ({"aspect_ratio": 16}, "aspect_ratio", ["string", "16"]),
        ({"aspect_ratio": None}, "aspect_ratio", ["string", "null"]),
        ({"duration": 11}, "duration", ["10", "15", "11"]),
        ({"duration": "10"}, "duration", ["10"]),
        ({"duration": 10.5}, "duration", ["10"]),
        ({"duration": True}, "duration", ["true"]),
        ({"duration": None}, "duration", ["null"]),
        ({"duration": -10}, "duration", ["10", "15"]),
        ({"duration": 10**30}, "duration", ["10", "15"]),
        ({"image_urls": "http://example.com/a.jpg"}, "image_urls", ["array"]),
        ({"image_urls": None}, "image_urls", ["array"]),
        ({"image_urls": ["http://example.com/a.jpg"] * 2}, "image_urls", ["1"]),
        ({"image_urls": [5]}, "image_urls[0]", ["string"]),
        ({"image_urls": ["not a uri"]}, "image_urls[0]", ["uri", "not a uri"]),
        ({"image_urls": [None]}, "image_urls[0]", ["string"]),
        ({"remove_watermark": "yes"}, "remove_watermark", ["boolean"]),
        ({"remove_watermark": 1}, "remove_watermark", ["boolean"]),
        ({"remove_watermark": None}, "remove_watermark", ["boolean"]),
        ({"callback_url": 5}, "callback_url", ["string"]),
        ({"callback_url": None}, "callback_url", ["string"]),
        ({"callback_url": "/hooks"}, "callback_url", ["uri"]),
        ({"callback_url": ""}, "callback_url", ["uri"]),
    ],
)
def test_a_bad_field_is_400_that_names_it_and_what_was_expected(
    api: Api, fields: dict[str, Any], param: str, expected: list[str]
) -> None:
    response = api.create(**fields)
    message = assert_bad_request(response, param)
    assert param in message
    assert [word for word in expected if word not in message] == []


@pytest.mark.parametrize("name", ["model", "prompt"])
def test_an_absent_required_field_is_named(api: Api, name: str) -> None:
    message = assert_bad_request(api.create({key: value for key, value in ORDER.items() if key != name}), name)
    assert "required" in message


@pytest.mark.parametrize("body", [[], [ORDER], "text", 5, None, True])
def test_a_body_that_is_no_object_is_400(api: Api, body: Any) -> None:
    assert "object" in assert_bad_request(post(api, json.dumps(body).encode()))


def test_a_rejected_create_request_makes_no_task_and_takes_no_credit(api: Api) -> None:
    api.create(duration=11)
    assert api.account.tasks == []
    assert api.account.reserved_credits == 0


@pytest.mark.parametrize("size", [5000])
def test_a_prompt_of_5000_characters_is_accepted_for_all_characters(api: Api, size: int) -> None:
    assert api.create(prompt="a" * size).status_code == 200
    assert api.create(prompt="é" * size).status_code == 200
    assert api.create(prompt="\U0001f408" * size).status_code == 200


def test_a_prompt_of_5001_characters_is_refused(api: Api) -> None:
    message = assert_bad_request(api.create(prompt="a" * 5001), "prompt")
    assert "5000" in message
    assert_bad_request(api.create(prompt="\U0001f408" * 5001), "prompt")


def test_a_callback_url_may_have_2048_characters(api: Api) -> None:
    url = "https://example.com/"
    assert api.create(callback_url=url.ljust(2048, "a")).status_code == 200
    assert "2048" in assert_bad_request(api.create(callback_url=url.ljust(2049, "a")), "callback_url")


@pytest.mark.parametrize("written", ["10.0", "1e1", "100e-1", "15.0", "1.5E1"])
def test_a_whole_number_is_one_however_it_is_written(api: Api, written: str) -> None:
    body = b'{"model":"sora-2-beta-max","prompt":"A cat","duration":%s}' % written.encode()
    task = post(api, body).json()
    assert task["task_info"]["video_duration"] == float(written)
    assert isinstance(task["task_info"]["video_duration"], int)


def test_unknown_fields_are_accepted(api: Api) -> None:
    assert api.create(seed=7, style={"deep": [1, 2]}, Model="other").status_code == 200


def test_empty_image_urls_are_accepted(api: Api) -> None:
    assert api.create(image_urls=[]).status_code == 200


def test_an_empty_prompt_is_within_the_contract(api: Api) -> None:
    assert api.create(prompt="").status_code == 200


def test_all_documented_fields_together_are_accepted(api: Api) -> None:
    response = api.create(
        aspect_ratio="9:16",
        duration=15,
        image_urls=["http://example.com/image1.jpg"],
        remove_watermark=False,
        callback_url="https://your-domain.com/webhooks/video-task-completed",
    )
    assert response.status_code == 200


# --- the callback's address ---


@pytest.mark.parametrize(
    "url",
    ["http://example.com/hook", "ftp://example.com/hook", "HTTP://example.com/", "ws://example.com/", "mailto:a@b.c"],
)
def test_a_callback_url_of_another_scheme_is_refused(api: Api, url: str) -> None:
    assert "https" in assert_bad_request(api.create(callback_url=url), "callback_url")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "0.0.0.0",
        "169.254.169.254",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[fec0::1]",
        "[2002:7f00:1::]",
        "[64:ff9b::7f00:1]",
        "224.0.0.1",
    ],
)
@pytest.mark.parametrize("rest", ["/hook", ":8443/hook"])
def test_a_callback_url_to_an_internal_address_is_refused(api: Api, host: str, rest: str) -> None:
    message = assert_bad_request(api.create(callback_url=f"https://{host}{rest}"), "callback_url")
    assert "internal" in message


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://user:secret@example.com/hook",
        "https://8.8.8.8:8443/hook",
        "https://172.15.0.1/",
        "https://172.32.0.1/",
        "https://inbox.sora-mock.test/name",
        "https://example.com/hook?task=1&x=%20",
        "HTTPS://example.com/",
    ],
)
def test_a_public_callback_url_is_accepted(api: Api, url: str) -> None:
    assert api.create(callback_url=url).status_code == 200


# --- bodies ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \r\n ",
        b"{",
        b"not json",
        b"{'model': 'sora-2-beta-max'}",
        b'{"model":"sora-2-beta-max","prompt":"A cat"',
        b'{"model":"sora-2-beta-max","prompt":"A cat",}',
        b'{"model":"sora-2-beta-max","prompt":"A cat"} {}',
        b'{"model":"sora-2-beta-max","prompt":"\xff\xfe"}',
        b'{"model":"sora-2-beta-max","prompt":"\xc3\x28"}',
        b'{"model":"sora-2-beta-max","prompt":"\xed\xa0\x80"}',
        b'{"model":"sora-2-beta-max","prompt":"\\ud800"}',
        b'{"model":"sora-2-beta-max","prompt":"\\udc00\\ud800"}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","x":"\\ud83d"}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","\\ud83d":1}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","x":NaN}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","x":Infinity}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","x":-Infinity}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","x":1e999}',
        b'{"model":"sora-2-beta-max","prompt":"A\ncat"}',
        b'{"model":"sora-2-beta-max","prompt":"\x00"}',
        b'{"model":"sora-2-beta-max","prompt":"A cat","duration":010}',
        order().decode().encode("utf-16"),
    ],
)
def test_a_body_that_is_no_json_in_utf8_is_400(api: Api, body: bytes) -> None:
    assert assert_bad_request(post(api, body))


def test_a_pair_of_surrogates_is_one_character(api: Api) -> None:
    assert post(api, b'{"model":"sora-2-beta-max","prompt":"\\ud83d\\udc08"}').status_code == 200


def test_a_missing_content_type_is_accepted(api: Api) -> None:
    assert post(api, order(), None).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=y"]
)
def test_json_is_accepted_however_it_is_spelled(api: Api, content_type: str) -> None:
    assert post(api, order(), content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonx",
        "application/xml",
    ],
)
def test_another_content_type_is_400(api: Api, content_type: str) -> None:
    assert "application/json" in assert_bad_request(post(api, order(), content_type))


def test_of_duplicate_names_the_last_counts(api: Api) -> None:
    body = b'{"duration":11,"model":"x","model":"sora-2-beta-max","prompt":"A cat","duration":10,"duration":15}'
    assert post(api, body).json()["task_info"]["video_duration"] == 15
    body = b'{"model":"sora-2-beta-max","prompt":"A cat","duration":10,"duration":11}'
    assert_bad_request(post(api, body), "duration")


def test_a_body_of_exactly_one_mib_is_accepted(api: Api) -> None:
    assert post(api, padded(MIB)).status_code == 200


def test_a_body_of_one_byte_more_is_413(api: Api) -> None:
    response = post(api, padded(MIB + 1))
    assert response.status_code == 413
    assert error(response)["type"] == "invalid_request_error"
    assert api.account.tasks == []


@pytest.mark.parametrize(("opening", "closing", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)])
def test_a_body_may_be_nested_64_levels_deep(api: Api, opening: str, closing: str, levels: int) -> None:
    # the body's own braces are the first level
    times = 63 // levels
    body = b'{"model":"sora-2-beta-max","prompt":"A cat","x":%s}'
    assert post(api, body % (opening * times + "1" + closing * times).encode()).status_code == 200


@pytest.mark.parametrize(("opening", "closing", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)])
def test_a_body_nested_65_levels_deep_is_refused(api: Api, opening: str, closing: str, levels: int) -> None:
    times = 64 // levels
    body = b'{"model":"sora-2-beta-max","prompt":"A cat","x":%s}'
    assert "64" in assert_bad_request(post(api, body % (opening * times + "1" + closing * times).encode()))


def test_a_wide_body_is_not_a_deep_one(api: Api) -> None:
    assert api.create(x=[[] for _ in range(10_000)], y=[{"a": {}}] * 100).status_code == 200


# --- choosing a scenario that does not exist ---


def test_a_scenario_in_the_header_of_a_poll_is_ignored_and_the_journal_says_so(api: Api) -> None:
    task_id = api.new_task()
    response = api.request("GET", f"/v1/tasks/{task_id}", headers={"X-Mock-Scenario": "completed"})
    assert (response.status_code, response.json()["status"]) == (200, "pending")
    assert "ignored" in json.dumps(api.account.requests[0])


# --- Idempotency-Key ---

IDEMPOTENT = {"Idempotency-Key": "order-2025-09-06-0001"}


def test_a_repeated_create_request_gets_the_first_response_again(api: Api) -> None:
    first = api.create(headers=IDEMPOTENT)
    api.account.clock.advance(60)
    second = api.create(headers=IDEMPOTENT)
    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-mock-scenario"] == "completed"
    assert "idempotency-replayed" not in first.headers


def test_a_replay_makes_no_task_and_takes_no_credit(api: Api) -> None:
    for _ in range(3):
        api.create(headers=IDEMPOTENT)
    assert len(api.account.tasks) == 1
    assert api.account.reserved_credits == 5.76


def test_the_same_key_with_another_body_is_409(api: Api) -> None:
    api.new_task(headers=IDEMPOTENT)
    response = api.create(prompt="Another cat", headers=IDEMPOTENT)
    assert response.status_code == 409
    assert error(response)["code"] == "idempotency_conflict"
    assert api.create(headers=IDEMPOTENT).status_code == 200


def test_another_key_makes_another_task(api: Api) -> None:
    first = api.new_task(headers=IDEMPOTENT)
    assert api.new_task(headers={"Idempotency-Key": "order-2025-09-06-0002"}) != first


def test_rejected_create_requests_are_not_remembered(api: Api) -> None:
    api.account.credits = 0
    assert api.create(headers=IDEMPOTENT).status_code == 402
    assert api.create(duration=11, headers=IDEMPOTENT).status_code == 400
    api.account.credits = 10
    response = api.create(headers=IDEMPOTENT)
    assert response.status_code == 200
    assert "idempotency-replayed" not in response.headers


def test_an_idempotency_key_is_the_accounts_own(api: Api, other: Api) -> None:
    assert api.new_task(headers=IDEMPOTENT) != other.new_task(headers=IDEMPOTENT)


@pytest.mark.parametrize("key", ["a" * 16, "a" * 96, "A.b_c-0123456789"])
def test_an_idempotency_key_of_16_to_96_plain_characters_is_accepted(api: Api, key: str) -> None:
    assert api.create(headers={"Idempotency-Key": key}).status_code == 200


@pytest.mark.parametrize("key", ["", "a" * 15, "a" * 97, "a" * 15 + "!", "a b c d e f g h i j", "a" * 16 + "\u00e9"])
def test_another_idempotency_key_is_400(api: Api, key: str) -> None:
    response = api.request("POST", CREATE, json=ORDER, headers={"Idempotency-Key": key.encode("latin-1")})
    assert_bad_request(response, "Idempotency-Key")


# --- a task's life ---


def test_a_foreign_task_stays_foreign_when_it_is_over(api: Api, other: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    assert row(other.request("GET", f"/v1/tasks/{task_id}")) == QUERY_403


def test_every_second_of_a_tasks_life() -> None:
    with serving(generation_time=(100.0, 100.0)) as api:
        api.account.clock.freeze()
        task_id = api.new_task()
        seen = [api.task(task_id)]
        for _ in range(110):
            api.account.clock.advance(1)
            seen.append(api.task(task_id))
    # queue time is 10 % of the generation time
    assert [task["status"] for task in seen] == ["pending"] * 10 + ["processing"] * 90 + ["completed"] * 11
    progress = [task["progress"] for task in seen]
    assert progress[:10] == [0] * 10
    assert progress[10] == 1
    assert all(before <= after for before, after in pairwise(progress))
    assert max(progress[:100]) < 100
    assert progress[100:] == [100] * 11
    assert [task["task_info"]["can_cancel"] for task in seen] == [True] * 100 + [False] * 11
    assert ["results" in task for task in seen] == [False] * 100 + [True] * 11
    assert not any("error" in task for task in seen)
    assert len({task["results"][0] for task in seen[100:]}) == 1


def test_a_task_is_over_at_its_own_end_and_not_before(api: Api) -> None:
    task_id = api.new_task()
    now = api.account.clock.now
    api.account.clock.now = now + 5 - 0.001
    assert api.task(task_id)["status"] == "processing"
    api.account.clock.now = now + 5
    assert api.task(task_id)["status"] == "completed"


def test_a_failed_task_tells_why_and_has_no_results(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(3)
    api.account.task(task_id).finish("failed", code="content_policy_violation")
    task = api.task(task_id)
    assert (task["status"], task["progress"], task["task_info"]) == ("failed", 0, {"can_cancel": False})
    assert set(task["error"]) == {"code", "message", "type"}
    assert (task["error"]["code"], task["error"]["type"]) == ("content_policy_violation", "task_error")
    assert "results" not in task


def test_a_cancelled_task_is_shown_as_failed_with_request_cancelled(api: Api) -> None:
    task_id = api.new_task()
    api.account.task(task_id).finish("cancelled")
    task = api.task(task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", "request_cancelled")


def test_a_query_shows_the_documented_fields(api: Api) -> None:
    created = api.create().json()
    assert api.task(created["id"]) == {
        "created": created["created"],
        "id": created["id"],
        "model": "sora-2-beta-max",
        "object": "video.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True},
        "type": "video",
    }


def test_the_published_limits_hold_on_a_running_clock() -> None:
    with serving(speed=1_000_000.0) as api:
        assert api.task(api.new_task())["status"] == "completed"


# --- result links ---


def test_a_result_link_has_the_shape_of_the_services(api: Api, server: MockServer) -> None:
    task_id = api.new_task()
    now = api.account.clock.advance(5)
    [url] = api.task(task_id)["results"]
    assert url.startswith(server.url + "/files/")
    account, videos, *day, name = url.removeprefix(server.url + "/files/").split("/")
    assert (len(account), videos) == (18, "videos")
    assert account.isalnum()
    assert account == account.upper()
    assert day == datetime.fromtimestamp(now, UTC).strftime("%Y %m %d").split()
    assert name.endswith(".mp4")
    assert len(name) == 36
    assert set(name[:32]) <= set("0123456789abcdef")


def test_a_result_link_takes_the_creating_requests_host(api: Api) -> None:
    task_id = api.new_task(headers={"Host": "mock.example:8080"})
    api.account.clock.advance(5)
    assert api.task(task_id)["results"][0].startswith("http://mock.example:8080/files/")


def test_a_result_link_does_not_change_with_the_polls_host(api: Api, server: MockServer) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    task = api.request("GET", f"/v1/tasks/{task_id}", headers={"Host": "elsewhere.example"}).json()
    assert task["results"][0].startswith(server.url)


@pytest.mark.parametrize("host", ['evil"example', "a b", "a/b", "user@host", "<x>", "a:b:c", "a:123456"])
def test_a_host_that_is_none_stays_out_of_result_links(api: Api, server: MockServer, host: str) -> None:
    task_id = api.new_task(headers={"Host": host})
    api.account.clock.advance(5)
    assert api.task(task_id)["results"][0].startswith(server.url + "/files/")


def test_public_url_is_what_result_links_begin_with() -> None:
    with serving(public_url="https://videos.example/mock") as api:
        api.account.clock.freeze()
        task_id = api.new_task()
        api.account.clock.advance(5)
        assert api.task(task_id)["results"][0].startswith("https://videos.example/mock/files/")


# --- money ---


def money(api: Api) -> tuple[Any, Any, Any]:
    account = api.account.call("GET", "/account")
    return account["remaining_credits"], account["reserved_credits"], account["used_credits"]


@pytest.mark.parametrize(("duration", "left", "price"), [(10, 994.24, 5.76), (15, 991.36, 8.64)])
def test_the_price_is_reserved_then_charged(api: Api, duration: int, left: float, price: float) -> None:
    api.new_task(duration=duration)
    assert money(api) == (left, price, 0)
    api.account.clock.advance(5)
    assert money(api) == (left, 0, price)


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_task_that_fails_costs_nothing(api: Api, outcome: Outcome) -> None:
    task_id = api.new_task()
    api.account.task(task_id).finish(outcome)
    assert money(api) == (1000, 0, 0)


def test_a_task_finished_by_hand_is_charged_once(api: Api) -> None:
    task_id = api.new_task()
    api.account.task(task_id).finish()
    assert money(api) == (994.24, 0, 5.76)
    api.account.clock.advance(60)
    assert money(api) == (994.24, 0, 5.76)


def test_credits_leave_out_what_is_reserved(api: Api) -> None:
    api.new_task()
    assert api.credits() == {"remaining_credits": 994.24, "unlimited_credits": False, "used_credits": 0}
    api.account.clock.advance(5)
    assert api.credits() == {"remaining_credits": 994.24, "unlimited_credits": False, "used_credits": 5.76}


def test_credits_have_the_documented_shape(api: Api) -> None:
    body = api.request("GET", CREDITS).json()
    assert body == {
        "data": {
            "token": {"remaining_credits": 1000, "unlimited_credits": False, "used_credits": 0},
            "user": {"remaining_credits": 1000, "used_credits": 0},
        },
        "message": "",
        "success": True,
    }


def test_credits_may_have_four_decimal_places(api: Api) -> None:
    api.account.credits = 99416.4429
    assert api.credits()["remaining_credits"] == 99416.4429


def test_an_unlimited_account_says_so_and_is_never_refused() -> None:
    with serving(credits="unlimited") as api:
        for _ in range(3):
            api.new_task()
        token = api.credits()
    assert token["unlimited_credits"] is True
    assert isinstance(token["remaining_credits"], int | float)


def test_the_last_credit_buys_and_then_402_creates_nothing(api: Api) -> None:
    api.account.credits = 11.52
    api.new_task()
    api.new_task()
    assert row(api.create()) == CREATE_402
    assert money(api) == (0, 11.52, 0)
    assert len(api.account.tasks) == 2


def test_returned_credits_buy_again(api: Api) -> None:
    api.account.credits = 5.76
    task_id = api.new_task()
    assert api.create().status_code == 402
    api.account.task(task_id).finish("failed")
    assert api.create().status_code == 200


def test_an_empty_account_can_still_poll(api: Api) -> None:
    api.account.credits = 5.76
    task_id = api.new_task()
    assert api.task(task_id)["status"] == "pending"


def test_a_hundred_tasks_leave_no_rounding_behind(api: Api) -> None:
    for number in range(100):
        api.new_task(duration=15 if number % 2 else 10)
    assert money(api) == (280, 720, 0)
    api.account.clock.advance(5)
    assert money(api) == (280, 0, 720)


def test_prices_come_from_the_configuration() -> None:
    with serving(prices={10: 1, 15: 2.5}) as api:
        assert api.create().json()["usage"]["credits_reserved"] == 1
        assert api.create(duration=15).json()["usage"]["credits_reserved"] == 2.5


# --- the rate limit ---


def test_beyond_the_rate_limit_each_operation_has_its_own_429(api: Api) -> None:
    task_id = api.new_task()
    api.account.rate_limit = "2/minute"
    assert api.task(task_id)
    assert api.credits()
    refused = [api.create(), api.request("GET", f"/v1/tasks/{task_id}"), api.request("GET", CREDITS)]
    assert [row(response) for response in refused] == [CREATE_429, QUERY_429, QUERY_429]
    assert [response.headers["retry-after"] for response in refused] == ["30"] * 3


def test_waiting_as_long_as_retry_after_says_is_enough(api: Api) -> None:
    api.account.rate_limit = "7/minute"
    for _ in range(7):
        assert api.request("GET", CREDITS).status_code == 200
    refused = api.request("GET", CREDITS)
    assert refused.status_code == 429
    api.account.clock.advance(int(refused.headers["retry-after"]))
    assert api.request("GET", CREDITS).status_code == 200


def test_tokens_come_back_on_the_accounts_clock(api: Api) -> None:
    api.account.rate_limit = "60/minute"
    for _ in range(60):
        assert api.request("GET", CREDITS).status_code == 200
    assert api.request("GET", CREDITS).status_code == 429
    api.account.clock.advance(0.5)
    assert api.request("GET", CREDITS).status_code == 429
    api.account.clock.advance(0.5)
    assert api.request("GET", CREDITS).status_code == 200
    assert api.request("GET", CREDITS).status_code == 429


def test_the_bucket_holds_no_more_than_its_capacity(api: Api) -> None:
    api.account.rate_limit = "3/minute"
    api.account.clock.advance(86_400)
    statuses = [api.request("GET", CREDITS).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_files_and_the_control_api_are_free(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    [url] = api.task(task_id)["results"]
    api.account.rate_limit = "1/hour"
    for _ in range(5):
        assert api.client.get(url).status_code == 200
        assert api.account.call("GET", "/account")
    assert api.request("GET", CREDITS).status_code == 200
    assert api.request("GET", CREDITS).status_code == 429
    assert api.client.get(url).status_code == 200


def test_a_rate_limited_create_request_takes_no_credit(api: Api) -> None:
    api.account.rate_limit = "1/hour"
    api.new_task()
    api.create()
    assert money(api) == (994.24, 5.76, 0)


def test_two_accounts_have_two_buckets(api: Api, other: Api) -> None:
    api.account.rate_limit = "1/hour"
    assert [api.create().status_code for _ in range(2)] == [200, 429]
    assert [other.create().status_code for _ in range(2)] == [200, 200]


def test_the_rate_limit_of_the_settings_holds_for_every_account() -> None:

    with serving(rate_limit="2/hour") as api:
        for each in (api, Api(api.client, "sk-second")):
            each.account.clock.freeze()
            assert [each.create().status_code for _ in range(3)] == [200, 200, 429]


# --- a browser page that may call ---


def test_a_foreign_pages_preflight_is_refused_in_the_envelope() -> None:
    with serving(cors="http://localhost:3000") as api:
        response = api.client.options(
            CREATE, headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        )
    assert response.status_code >= 400
    assert error(response)


def test_the_named_page_may_call() -> None:
    with serving(cors="http://localhost:3000") as api:
        preflight = api.client.options(
            CREATE,
            headers={
                "Origin": "http://localhost:3000",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        created = api.create(headers={"Origin": "http://localhost:3000"})
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert created.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_without_cors_no_page_is_let_in(api: Api) -> None:
    assert not any(name.startswith("access-control") for name in api.create(headers={"Origin": "null"}).headers)
