"""Every scenario of the catalogue, through the public API with a real client: what is seen is what it says."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sora_mock.service.composition import built_in_scenarios
from tests.conftest import Api

CATALOGUE = built_in_scenarios()
CODES = [name.removeprefix("failed_") for name in CATALOGUE if name.startswith("failed_") and "without" not in name]
SUB_TYPES = {
    "real_person": "photorealistic people detected",
    "celebrity": "celebrity detected in image",
    "third_party": "third-party content violation",
    "nudity": "nudity detected",
    "violence": "violence content blocked",
    "minor": "minor content not allowed",
    "policy": "content policy violation",
}
Check = Callable[[Api, str], None]


def life(api: Api, name: str) -> list[dict[str, Any]]:
    """The first response and a poll at every tenth of the five seconds that a task takes."""
    seen = [api.create(headers={"X-Mock-Scenario": name}).json()]
    for _ in range(10):
        seen.append(api.task(seen[0]["id"]))
        api.account.clock.advance(0.5)
    return [*seen, api.task(seen[0]["id"])]


def completes(api: Api, name: str) -> None:
    seen = life(api, name)
    assert [view["status"] for view in seen[-2:]] == ["processing", "completed"]
    assert api.client.get(seen[-1]["results"][0]).status_code == 200
    assert api.credits()["used_credits"] == 5.76


def completes_late(api: Api, name: str) -> None:
    task_id = api.new_task(headers={"X-Mock-Scenario": name})
    api.account.clock.advance(599)
    assert api.task(task_id)["status"] == "processing"
    api.account.clock.advance(1)
    assert api.task(task_id)["status"] == "completed"
    assert "600 seconds" in CATALOGUE[name].description


def completes_at_once(api: Api, name: str) -> None:
    created = api.create(headers={"X-Mock-Scenario": name}).json()
    assert created["status"] == "pending"
    assert api.task(created["id"])["status"] == "completed"


def never_ends(api: Api, name: str) -> None:
    task_id = api.new_task(headers={"X-Mock-Scenario": name})
    api.account.clock.advance(10**8)
    assert (api.task(task_id)["status"], api.task(task_id)["progress"]) == ("processing", 99)
    assert api.account.reserved_credits == 5.76


def starts_processing(api: Api, name: str) -> None:
    seen = life(api, name)
    assert (seen[0]["status"], seen[0]["progress"]) == ("processing", 1)
    assert seen[-1]["status"] == "completed"


def fails(code: str, message: str | None = None, progress: tuple[float, float] = (0, 100)) -> Check:
    """Fails with that code, the last progress before the end within `progress`, and the credits come back."""

    def check(api: Api, name: str) -> None:
        created = api.create(headers={"X-Mock-Scenario": name}).json()
        plan = api.account.tasks[0]["mock"]
        before = plan["ended_at"] - plan["created_at"] - 0.001
        api.account.clock.advance(max(0, before))
        assert api.task(created["id"])["status"] in ("pending", "processing")
        assert progress[0] <= api.task(created["id"])["progress"] <= progress[1]
        api.account.clock.advance(0.002)
        failed = api.task(created["id"])
        assert (failed["status"], failed["progress"], failed["error"]["code"]) == ("failed", 0, code)
        assert failed["error"]["type"] == "task_error"
        assert message is None or failed["error"]["message"] == message
        assert code in CATALOGUE[name].description
        assert message is None or message in CATALOGUE[name].description
        assert api.account.credits == 1000

    return check


def fails_silently(api: Api, name: str) -> None:
    last = life(api, name)[-1]
    assert last["status"] == "failed"
    assert "error" not in last


def cancelled_as_status(api: Api, name: str) -> None:
    last = life(api, name)[-1]
    assert (last["status"], last["error"]["code"]) == ("cancelled", "request_cancelled")


def refuses(status: int, code: str | None, elsewhere: str | None = None, message: str | None = None) -> Check:
    """Rejects a create request with that status and code, a poll with the other code, and makes no task."""

    def check(api: Api, name: str) -> None:
        header = {"X-Mock-Scenario": name}
        refused = api.create(headers=header)
        assert (refused.status_code, refused.headers["X-Mock-Scenario"]) == (status, name)
        if code is None:
            assert refused.headers["content-type"].startswith("text/html")
            assert refused.text.startswith("<!DOCTYPE html>")
        else:
            assert refused.json()["error"]["code"] == code
            assert message is None or refused.json()["error"]["message"] == message
        assert ("Retry-After" in refused.headers) == (status == 429)
        assert api.account.tasks == []
        assert api.account.credits == 1000
        assert str(status) in CATALOGUE[name].description
        for path in ("/v1/tasks/" + api.new_task(), "/v1/credits", "/files/A/videos/2026/01/01/x.mp4"):
            response = api.request("GET", path, headers=header)
            assert response.status_code == status
            if elsewhere and path.startswith("/v1"):
                assert response.json()["error"]["code"] == elsewhere

    return check


def resets(tasks: int) -> Check:
    """The client sees a reset, and that many tasks exist and are charged."""

    def check(api: Api, name: str) -> None:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            api.create(headers={"X-Mock-Scenario": name})
        assert len(api.account.tasks) == tasks
        api.account.clock.advance(5)
        assert api.credits()["used_credits"] == 5.76 * tasks
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            api.request("GET", "/v1/credits", headers={"X-Mock-Scenario": name})

    return check


def is_late(api: Api, name: str) -> None:
    header = {"X-Mock-Scenario": f"{name} latency=0.3"}
    with api.client.stream("GET", "/v1/credits", headers={**api.headers, **header}) as response:
        body = response.read()
    assert json.loads(body)["success"] is True
    # httpx measures until the body is read
    assert 0.28 <= response.elapsed.total_seconds() < 3
    assert api.create(headers=header).status_code == 200
    assert CATALOGUE[name].latency == 5


def is_cut(api: Api, name: str) -> None:
    for method, path in (("POST", "/v1/videos/generations"), ("GET", "/v1/credits")):
        with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
            api.request(
                method,
                path,
                headers={"X-Mock-Scenario": name},
                json={"model": "sora-2-beta-max", "prompt": "x"} if method == "POST" else None,
            )
    assert len(api.account.tasks) == 1


def is_no_json(api: Api, name: str) -> None:
    response = api.create(headers={"X-Mock-Scenario": name})
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert (response.content == b"") == (name == "empty_body")
    assert len(api.account.tasks) == 1


def says_reviewing(api: Api, name: str) -> None:
    seen = [view["status"] for view in life(api, name)]
    assert list(dict.fromkeys(seen)) == ["pending", "reviewing", "completed"]
    assert "reviewing" in CATALOGUE[name].description


def has_more_fields(api: Api, name: str) -> None:
    for view in life(api, name):
        assert {"model_version", "queue"} <= set(view)
        assert "worker" in view["task_info"]


def has_older_errors(api: Api, name: str) -> None:
    error = life(api, name)[-1]["error"]
    assert isinstance(error["code"], int)
    assert {"param", "fallback_suggestion"} <= set(error)
    refused = api.create(headers={"X-Mock-Scenario": f"{name} status=429"})
    assert refused.json()["error"]["code"] == 429


def is_wrapped(api: Api, name: str) -> None:
    wrapped = api.create(headers={"X-Mock-Scenario": name}).json()
    assert set(wrapped) == {"code", "data"}
    api.account.clock.advance(5)
    assert api.task(wrapped["data"]["id"])["data"]["status"] == "completed"


EXPECTED: dict[str, Check] = {
    "completed": completes,
    "slow": completes_late,
    "instant": completes_at_once,
    "stuck": never_ends,
    "completed_first_reply_processing": starts_processing,
    "failed": fails("unknown_error", progress=(99, 99)),
    **{f"failed_{code}": fails(code) for code in CODES},
    "failed_without_error_object": fails_silently,
    "cancelled": fails("request_cancelled"),
    "cancelled_as_status": cancelled_as_status,
    **{
        f"moderation_{sub_type}": fails("content_policy_violation", message, (40, 60))
        for sub_type, message in SUB_TYPES.items()
    },
    **{
        f"moderation_{sub_type}_output": fails("content_policy_violation", message, (91, 99))
        for sub_type, message in SUB_TYPES.items()
    },
    **{
        f"moderation_{sub_type}_input": refuses(400, "content_policy_violation", message=message)
        for sub_type, message in SUB_TYPES.items()
    },
    "unauthorized": refuses(401, "unauthorized", "unauthorized"),
    "insufficient_quota": refuses(402, "insufficient_quota", "quota_exceeded"),
    "model_access_denied": refuses(403, "model_access_denied", "permission_denied"),
    "rate_limited": refuses(429, "rate_limit_exceeded", "rate_limit_exceeded"),
    "internal_error": refuses(500, "internal_error", "internal_error"),
    "bad_gateway": refuses(502, "upstream_error", "upstream_error"),
    "service_unavailable": refuses(503, "service_unavailable", "service_unavailable"),
    "edge_html_error": refuses(524, None),
    **{f"callback_{kind}": completes for kind in ("duplicate", "late", "out_of_order", "extra_field")},
    "callback_before_reply": completes_at_once,
    "connection_reset": resets(0),
    "response_lost": resets(1),
    "slow_headers": is_late,
    "slow_body": is_late,
    "truncated_body": is_cut,
    "malformed_json": is_no_json,
    "empty_body": is_no_json,
    "unknown_status": says_reviewing,
    "unknown_fields": has_more_fields,
    "numeric_error_code": has_older_errors,
    "wrapped_in_data": is_wrapped,
}


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() | EXPECTED.keys()))
def test_a_scenario_does_what_its_description_says(api: Api, name: str) -> None:
    EXPECTED[name](api, name)


def test_the_thirteen_documented_failure_codes_have_a_scenario_each() -> None:
    assert len(CODES) == 13


def paid_after_a_lost_reply(api: Api, **headers: str) -> Any:
    """A client loses the response to its create request and sends it again, as clients do."""
    api.account.scenario("response_lost")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.create(headers=headers)
    assert api.create(headers=headers).status_code == 200
    api.account.clock.advance(5)
    return api.credits()["used_credits"]


def test_a_lost_reply_and_a_retry_pay_twice(api: Api) -> None:
    assert paid_after_a_lost_reply(api) == 2 * 5.76


def test_a_lost_reply_and_a_retry_with_the_same_idempotency_key_pay_once(api: Api) -> None:
    assert paid_after_a_lost_reply(api, **{"Idempotency-Key": "order-0000000001"}) == 5.76
