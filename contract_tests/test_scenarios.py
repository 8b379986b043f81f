"""The choice of a scenario on a mock: the header comes first, then token, key and queue."""

from typing import Any

import httpx
import pytest

from contract_tests.orders import CREDITS, GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import TEN_SECONDS

SOURCE = "docs/scenarios.md"
CHECKS = "docs/reference.md, order of checks"
NO_TASK = "/v1/tasks/task-unified-1000000000-00000000"
HEADER = "X-Mock-Scenario"


def used(service: Service, headers: dict[str, str] | None = None, **fields: Any) -> str | None:
    """The scenario that the response to a new create request names."""
    response = service.create(headers=headers, **fields)
    accepted(response)
    name: str | None = response.headers.get(HEADER)
    return name


@pytest.mark.contract(id="creation.choice.strength", source=SOURCE, needs={"mock"})
def test_the_header_overrides_the_token_and_the_token_overrides_the_queue(service: Service, mock: Account) -> None:
    """The header of a request overrides the token of its prompt, and the token overrides the queue.

    Unused rules stay in the queue. Without any choice, the scenario is `completed`. The journal says which one it was.
    """
    mock.clear_scenarios()
    mock.scenario("slow", times=2)
    assert used(service, {HEADER: "instant"}, prompt="A cat [[mock:stuck]]") == "instant"
    assert used(service, prompt="A cat [[mock:stuck]]") == "stuck"
    assert used(service, prompt="[[mock:failed code=service_error at=0.4]] x ]]") == "failed"
    assert [used(service) for _ in range(3)] == ["slow", "slow", "completed"]
    # the newest request and the newest task come first
    rules = [str(record["rule"]).partition(" (")[0].rstrip("0123456789 ") for record in mock.requests]
    assert rules == [
        "default scenario",
        "queue rule",
        "queue rule",
        "token in the prompt",
        "token in the prompt",
        "header",
    ]
    assert [task["status"] for task in mock.tasks] == ["pending"] * 5 + ["completed"]


@pytest.mark.contract(id="creation.choice.unknown", source=SOURCE, needs={"mock"})
def test_an_unknown_scenario_gets_400(service: Service, mock: Account) -> None:
    """An unknown scenario gets 400 unknown_scenario with the place that names it, and creates no task."""
    header = {HEADER: "no-such"}
    responses = [service.create(content=b"{", headers=header)]
    responses += [service.get(path, headers=header) for path in (CREDITS, NO_TASK)]
    for error in map(error_of, responses):
        assert error[:3] == (400, "unknown_scenario", "invalid_request_error")
        assert error.param == HEADER
    for prompt in ("x [[mock:no-such]]", "x [[mock:failed"):
        error = error_of(service.create(prompt=prompt))
        assert (error.status, error.code, error.param) == (400, "unknown_scenario", "prompt"), prompt
    assert error_of(service.with_key("wrong").get(CREDITS, headers=header))[:2] == (401, "unauthorized")
    assert mock.tasks == []


@pytest.mark.contract(id="creation.choice.keys", source=CHECKS, needs={"mock", "keys"})
def test_header_and_token_override_the_meaning_of_a_key(service: Service) -> None:
    """Header and token override a key that means 403, 429 or 500, never 401 and never the balance.

    They do so on create requests. A lifecycle scenario in the header of a poll overrides nothing.
    """
    header, token = {HEADER: "completed"}, "A cat [[mock:completed]]"
    polls = {"no-access": [200, 404], "rate-limited": [429, 429], "broken": [500, 500]}
    rejections = {"no-access": 403, "rate-limited": 429, "broken": 500}
    for meaning, status in rejections.items():
        special = service.with_key(f"sk-mock-{meaning}-choice")
        rejected = special.create()
        assert (rejected.status_code, rejected.headers.get(HEADER)) == (status, None), meaning
        assert special.create(headers=header).status_code == 200, meaning
        assert special.create(prompt=token).status_code == 200, meaning
        for headers in (None, header):
            polled = [special.get(path, headers=headers).status_code for path in (CREDITS, NO_TASK)]
            assert polled == polls[meaning], meaning
        assert special.get(CREDITS, headers={HEADER: "bad_gateway"}).status_code == 502, meaning
        wrong = error_of(special.create(duration=11))
        assert wrong.status == (400 if meaning == "no-access" else status), meaning
    for choice in ({"headers": header}, {"prompt": token}):
        expired, poor = service.with_key("sk-mock-expired-choice"), service.with_key("sk-mock-no-credit-choice")
        assert error_of(expired.create(**choice))[:2] == (401, "unauthorized"), choice
        assert error_of(poor.create(**choice))[:2] == (402, "insufficient_quota"), choice


REJECTIONS = {
    "unauthorized": (401, "unauthorized", "unauthorized"),
    "insufficient_quota": (402, "insufficient_quota", "quota_exceeded"),
    "model_access_denied": (403, "model_access_denied", "permission_denied"),
    "rate_limited": (429, "rate_limit_exceeded", "rate_limit_exceeded"),
    "internal_error": (500, "internal_error", "internal_error"),
    "bad_gateway": (502, "upstream_error", "upstream_error"),
    "service_unavailable": (503, "service_unavailable", "service_unavailable"),
}
"""The status that each scenario injects, its code on a create request, and its code on the other operations."""


@pytest.mark.contract(
    id="creation.choice.refusals",
    source=f"{SOURCE}; published contract, responses; service documentation, errors of the task query (D)",
    needs={"mock", "ledger"},
)
def test_a_scenario_can_inject_every_error_into_every_operation(service: Service, mock: Account) -> None:
    """A scenario can inject every error into every operation; it has that operation's code and costs nothing."""
    task_id = service.created()["id"]
    for name, (status, code, polled_code) in REJECTIONS.items():
        created = service.create(headers={HEADER: name})
        polled = [service.get(path, headers={HEADER: name}) for path in (f"/v1/tasks/{task_id}", CREDITS)]
        assert created.headers.get(HEADER) == name
        errors = [error_of(response) for response in (created, *polled)]
        assert [error[:2] for error in errors] == [(status, code), *[(status, polled_code)] * 2], name
        # statuses that the contract does not document are errors of the service itself
        assert status < 500 or {error.type for error in errors} == {"api_error"}, name
        after = [response.headers.get("retry-after") for response in (created, *polled)]
        assert after == ["60" if status == 429 else None] * 3, name
    error = error_of(service.create(headers={HEADER: "bad_gateway message='not today' status=504 code=odd"}))
    assert error[:4] == (504, "odd", "api_error", "not today")
    assert len(mock.tasks) == 1
    assert service.balance() == (1000 - TEN_SECONDS, 0)


@pytest.mark.contract(id="creation.choice.polls", source=CHECKS, needs={"mock"})
def test_a_lifecycle_scenario_in_the_header_of_a_poll_is_ignored(service: Service, mock: Account) -> None:
    """A lifecycle scenario in the header of a poll is ignored; a queued one for polls is used once.

    That is so for a task, the balance and a file. The journal says what it ignores.
    """
    task_id = service.created()["id"]
    for name in ("failed", "stuck", "completed", "callback_late", "callback_before_reply"):
        assert service.task(task_id, headers={HEADER: name})["status"] == "pending", name
        assert str(mock.requests[0]["rule"]).startswith(f"ignored: {name} "), "the journal says so"
        assert service.get(CREDITS, headers={HEADER: name}).status_code == 200, name
    task, statuses = f"/v1/tasks/{task_id}", {}
    for operation, path, other in (("query", task, CREDITS), ("credits", CREDITS, task)):
        mock.scenario("service_unavailable", match={"operation": operation})
        statuses[operation] = [service.get(each).status_code for each in (other, path, path)]
    assert statuses == {"query": [200, 503, 200], "credits": [200, 503, 200]}
    path = httpx.URL(mock.tasks[0]["mock"]["result_url"]).path
    mock.clock.advance(GENERATION)
    mock.scenario("bad_gateway", match={"operation": "file"})
    without_key = service.with_key(None)
    assert [without_key.get(path).status_code for _ in range(2)] == [502, 200]
    assert without_key.get(path, headers={HEADER: "internal_error"}).status_code == 500


@pytest.mark.contract(
    id="creation.choice.clock",
    source="docs/reference.md, control API, clock",
    needs={"clock", "receiver"},
)
def test_with_per_request_each_request_advances_the_clock(service: Service, mock: Account) -> None:
    """With per_request, each request advances the clock by that time, and nothing else advances it."""
    mock.clock.per_request(5)
    began = mock.clock.now
    task_id = service.created(callback_url=mock.inbox("hook").url)["id"]
    # the fourth poll sees the end, and its callback is there
    states = [service.task(task_id)["status"] for _ in range(4)]
    assert states == ["processing", "processing", "processing", "completed"]
    assert round(mock.clock.now - began, 3) == 25
    assert len(mock.call("GET", "/inbox/hook?wait=5&count=1")["messages"]) == 1
    mock.clock.per_request(0)
    service.task(task_id)
    assert round(mock.clock.now - began, 3) == 25


# --- queue rules with `match` ---
IMAGE = {"image_urls": ["http://example.com/image1.jpg"]}

MATCHES: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = {
    "prompt": ({"prompt": "(?i)d[ou]g$"}, {"prompt": "A Dog"}, [{}, {"prompt": "A dog barks"}, {"prompt": "d[ou]g$"}]),
    "duration": ({"duration": 15}, {"duration": 15}, [{}, {"duration": 10}]),
    "duration.default": ({"duration": 10}, {}, [{"duration": 15}]),
    "has_image": ({"has_image": True}, IMAGE, [{}]),
    "has_image.false": ({"has_image": False}, {}, [IMAGE]),
    "aspect_ratio": ({"aspect_ratio": "9:16"}, {"aspect_ratio": "9:16"}, [{}, {"aspect_ratio": "16:9"}]),
    "aspect_ratio.default": ({"aspect_ratio": "16:9"}, {}, [{"aspect_ratio": "9:16"}]),
    "all": (
        {"prompt": "cat", "duration": 15, "has_image": True, "aspect_ratio": "9:16", "operation": "create"},
        {"duration": 15, "aspect_ratio": "9:16", **IMAGE},
        [
            {"duration": 15, "aspect_ratio": "9:16", **IMAGE, "prompt": "A dog"},
            {"aspect_ratio": "9:16", **IMAGE},
            {"duration": 15, "aspect_ratio": "9:16"},
            {"duration": 15, **IMAGE},
        ],
    ),
}
"""`match` of a queue rule, the fields of a create request that it matches, and fields that it does not match."""


@pytest.mark.contract(
    id="creation.choice.match.*",
    claim="a queue rule is used for a create request that its `match` describes, and for no other: *",
    source=SOURCE,
    needs={"mock"},
)
@pytest.mark.parametrize(
    ("match", "fields", "others"), [pytest.param(*each, id=name) for name, each in MATCHES.items()]
)
def test_a_queue_rule_is_used_for_the_requests_that_match(
    service: Service, mock: Account, match: dict[str, Any], fields: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    mock.clear_scenarios()
    mock.scenario("failed", match=match)
    assert [used(service, **other) for other in others] == ["completed"] * len(others)
    assert [used(service, **fields) for _ in range(2)] == ["failed", "completed"]


@pytest.mark.contract(id="creation.choice.match.first", source=SOURCE, needs={"mock"})
def test_the_first_rule_of_the_queue_that_matches_is_used(service: Service, mock: Account) -> None:
    """The first rule of the queue that matches is used; rules before it stay, and the journal says why."""
    mock.clear_scenarios()
    mock.scenario("slow", match={"prompt": "dog"})
    mock.scenario("stuck", match={"prompt": "A"}, times=2)
    mock.scenario("failed", times=None)
    assert used(service) == "stuck"
    assert [reason.partition(": ")[2] for reason in mock.requests[0]["unmatched"]] == [
        "prompt 'A cat playing piano' does not match 'dog'"
    ]
    assert [rule["scenario"] for rule in mock.call("GET", "/scenarios")["queue"]] == ["slow", "stuck", "failed"]
    assert used(service, prompt="A dog") == "slow"
    assert mock.requests[0]["unmatched"] == []
    assert [used(service) for _ in range(3)] == ["stuck", "failed", "failed"]
