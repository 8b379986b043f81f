"""How a mock is steered: mistakes in queue rules and parameters, and the parameter retry_after."""

from typing import Any

import pytest

from contract_tests.orders import CREDITS, DAY
from contract_tests.reading import error_of
from contract_tests.service import Service
from sora_mock.client import Account, Refused

SOURCE = "docs/scenarios.md"
NO_TASK = "/v1/tasks/task-unified-1000000000-00000000"
HEADER = "X-Mock-Scenario"

RULES: dict[str, tuple[dict[str, Any], str, str]] = {
    "prompt": ({"match": {"prompt": "a cat ("}}, "invalid_body", "regular expression"),
    "prompt.type": ({"match": {"prompt": 5}}, "invalid_body", "regular expression"),
    "duration": ({"match": {"duration": 11}}, "invalid_body", "duration"),
    "duration.type": ({"match": {"duration": "10"}}, "invalid_body", "duration"),
    "has_image": ({"match": {"has_image": "yes"}}, "invalid_body", "has_image"),
    "aspect_ratio": ({"match": {"aspect_ratio": "1:1"}}, "invalid_body", "aspect_ratio"),
    "field": ({"match": {"promt": "cat"}}, "invalid_body", "promt"),
    "operation": ({"scenario": "bad_gateway", "match": {"operation": "delete"}}, "invalid_body", "operation"),
    "operation.fields": (
        {"scenario": "bad_gateway", "match": {"operation": "query", "prompt": "cat"}},
        "invalid_body",
        "prompt",
    ),
    "operation.effect": ({"match": {"operation": "query"}}, "invalid_body", "query"),
    "match": ({"match": ["prompt"]}, "invalid_body", "object"),
    "times": ({"times": 0}, "invalid_body", "times"),
    "times.fraction": ({"times": 1.5}, "invalid_body", "times"),
    "scenario": ({"scenario": "no-such"}, "unknown_scenario", "no-such"),
    "override": ({"override": {"at": 1.5}}, "unknown_scenario", "at"),
    "override.name": ({"override": {"att": 0.5}}, "unknown_scenario", "att"),
    "override.retry_after": (
        {"scenario": "rate_limited", "override": {"retry_after": 1.5}},
        "unknown_scenario",
        "retry_after",
    ),
}
"""Queue rules that are wrong: what differs from a good rule, the code of the error, a word of its message."""


@pytest.mark.contract(
    id="creation.choice.rule.*",
    claim="a wrong queue rule gets 400 with a message that names the mistake, and stays out of the queue: *",
    source=f"{SOURCE}; docs/reference.md, control API, scenarios",
    needs={"mock"},
)
@pytest.mark.parametrize(("wrong", "code", "word"), [pytest.param(*each, id=name) for name, each in RULES.items()])
def test_a_wrong_queue_rule_is_rejected(mock: Account, wrong: dict[str, Any], code: str, word: str) -> None:
    before = mock.call("GET", "/scenarios")["queue"]
    with pytest.raises(Refused) as rejected:
        mock.call("POST", "/scenarios", {"scenario": "failed", **wrong})
    assert (rejected.value.status, rejected.value.code) == (400, code)
    assert word in str(rejected.value)
    assert mock.call("GET", "/scenarios")["queue"] == before


WRONG = {
    "empty": ("", "unknown scenario ''"),
    "near": ("moderation_celebrty", "did you mean moderation_celebrity"),
    "quote": ("failed message='cat", "cannot be read"),
    "quote.double": ('failed message="cat', "cannot be read"),
    "name": ("failed cod=service_error", "unknown parameter 'cod'; did you mean code"),
    "value": ("failed code", "expected key=value"),
    "number": ("failed at=half", "at: expected"),
    "range": ("failed at=1.5", "at: expected"),
    "code": ("failed code=nonsense", "code: 'nonsense'"),
    "message": ("failed message=", "message: expected"),
    "generation_time": ("completed generation_time=-1", "generation_time: expected"),
    "queue_time": ("completed generation_time=5 queue_time=6", "queue_time: "),
    "progress": ("completed progress=50,40", "progress: expected"),
    "generation_time.range": ("completed generation_time=315360001", "generation_time: expected"),
    "progress.range": ("completed progress=-1,40", "progress: expected"),
    "progress.points": ("completed progress=0:1,2:40", "progress: expected"),
    "latency": ("completed latency=61", "latency: expected"),
    "status": ("completed status=404.5", "status: expected"),
    "status.range": ("completed status=200", "status: expected"),
    "retry_after.fraction": ("rate_limited retry_after=1.5", "retry_after: expected"),
    "retry_after.negative": ("rate_limited retry_after=-1", "retry_after: expected"),
    "retry_after.range": ("rate_limited retry_after=86401", "retry_after: expected"),
    "effect.at": ("completed at=0.4", "at has no effect"),
    "effect.code": ("completed code=service_error", "code has no effect"),
    "effect.message": ("stuck message=x", "message has no effect"),
    "effect.status.at": ("bad_gateway at=0.4", "at has no effect"),
    "effect.status.generation_time": ("bad_gateway generation_time=5", "generation_time has no effect"),
    "effect.status.queue_time": ("bad_gateway queue_time=1", "queue_time has no effect"),
    "effect.status.progress": ("bad_gateway progress=1,99", "progress has no effect"),
    "effect.status.retry_after": ("bad_gateway retry_after=1", "retry_after has no effect"),
    "effect.reset.message": ("connection_reset message=x", "message has no effect"),
    "effect.reset.at": ("connection_reset at=0.4", "at has no effect"),
    "effect.page": ("edge_html_error message=x", "message has no effect"),
    "effect.silent": ("failed_without_error_object message=x", "message has no effect"),
}
"""Scenarios with a mistake in the parameters, as a header or token writes them, and a word of the error's message."""


@pytest.mark.contract(
    id="creation.choice.parameter.*",
    claim="a wrong parameter in header or token gets 400 unknown_scenario with a message that names it, and creates no "
    "task: *",
    source=SOURCE,
    needs={"mock"},
)
@pytest.mark.parametrize(("written", "word"), [pytest.param(*each, id=name) for name, each in WRONG.items()])
def test_a_wrong_parameter_is_rejected(service: Service, mock: Account, written: str, word: str) -> None:
    header = {HEADER: written}
    errors = [error_of(service.create(headers=header))]
    errors += [error_of(service.get(path, headers=header)) for path in (NO_TASK, CREDITS)]
    errors += [error_of(service.create(prompt=f"A cat [[mock:{written}]]"))]
    assert [error[:3] for error in errors] == [(400, "unknown_scenario", "invalid_request_error")] * 4
    assert [error.param for error in errors] == [HEADER, HEADER, HEADER, "prompt"]
    assert [error.message for error in errors if word not in error.message] == []
    assert mock.tasks == []


@pytest.mark.contract(id="creation.choice.written", source=f"{SOURCE}, parameters", needs={"mock"})
def test_parameters_mean_the_same_in_header_token_and_queue(service: Service, mock: Account) -> None:
    """Parameters mean the same in a header, a token and the queue; progress is points or values at equal distances."""
    text = "failed generation_time=18 queue_time=2 at=0.5 code=service_error message='a \"cat\"' progress="
    values: dict[str, Any] = {
        "generation_time": 18,
        "queue_time": 2,
        "at": 0.5,
        "code": "service_error",
        "message": 'a "cat"',
    }
    curves = {"0:20,0.5:40,1:90": [[0, 20], [0.5, 40], [1, 90]], "20,40,90": [20, 40, 90]}
    tasks = []
    mock.clear_scenarios()
    for written, points in curves.items():
        mock.scenario("failed", progress=points, **values)
        created = [
            service.created(headers={HEADER: text + written}),
            service.created(prompt=f"A cat [[mock:{text}{written}]]"),
            service.created(),
        ]
        tasks += [task["id"] for task in created]
    mock.clock.advance(6)
    seen = [service.task(task_id) for task_id in tasks]
    assert [(task["status"], task["progress"]) for task in seen] == [("processing", 30)] * 6
    mock.clock.advance(4)
    error = {"code": "service_error", "message": 'a "cat"', "type": "task_error"}
    assert [service.task(task_id).get("error") for task_id in tasks] == [error] * 6


@pytest.mark.contract(id="creation.choice.bounds", source=f"{SOURCE}, parameters", needs={"mock"})
def test_a_parameter_may_have_the_ends_of_its_range(service: Service, mock: Account) -> None:
    """A parameter may have both ends of its documented range."""
    ten_years = 10 * 365 * DAY
    estimated = {
        "completed generation_time=0": 0,
        f"completed generation_time={ten_years}": ten_years,
        f"completed generation_time={ten_years} queue_time={ten_years}": ten_years,
        "completed generation_time=9 queue_time=0 latency=0 progress=0,100": 9,
        "failed generation_time=9 at=0": 9,
        "failed generation_time=9 at=1": 9,
    }
    created = {written: service.created(headers={HEADER: written}) for written in estimated}
    assert {written: task["task_info"]["estimated_time"] for written, task in created.items()} == estimated
    statuses = [service.create(headers={HEADER: f"completed status={status}"}).status_code for status in (400, 599)]
    assert statuses == [400, 599]


@pytest.mark.contract(id="creation.choice.retry_after", source=f"{SOURCE}, parameters", needs={"mock"})
def test_retry_after_sets_the_header_of_a_429_or_503(service: Service, mock: Account) -> None:
    """retry_after sets the seconds in Retry-After of a 429 or 503; without it, a 429 has 60 and a 503 no header."""
    expected = {
        "rate_limited": "60",
        "rate_limited retry_after=0": "0",
        "rate_limited retry_after=2.0": "2",
        "rate_limited retry_after=86400": "86400",
        "failed status=429 retry_after=5": "5",
        "service_unavailable": None,
        "service_unavailable retry_after=3": "3",
    }
    sent: dict[str, dict[str, str | None]] = {"create": {}, "token": {}, "query": {}, "credits": {}}
    for written in expected:
        header = {HEADER: written}
        responses = {
            "create": service.create(headers=header),
            "token": service.create(prompt=f"A cat [[mock:{written}]]"),
            "query": service.get(NO_TASK, headers=header),
            "credits": service.get(CREDITS, headers=header),
        }
        for place, response in responses.items():
            assert response.status_code == (503 if written.startswith("service") else 429), (place, written)
            sent[place][written] = response.headers.get("retry-after")
    assert sent == dict.fromkeys(sent, expected)
    mock.clear_scenarios()
    mock.scenario("rate_limited", retry_after=7)
    queued = service.create()
    assert (queued.status_code, queued.headers.get("retry-after")) == (429, "7")
