"""Bodies in the shape of another version of the API, which a scenario makes of a correct body."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest

from contract_tests.orders import CREDITS, GENERATION
from contract_tests.reading import error_of, json_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account

CHECKS = "docs/reference.md, order of checks"
SHAPES = "fixtures/scenarios/tomorrow.toml, failures.toml"
HEADER = "X-Mock-Scenario"

SetScenario = Callable[..., None]


@pytest.mark.contract(
    id="creation.choice.shapes",
    source=f"{CHECKS}; clients of the service (C) for the shapes",
    needs={"mock", "receiver"},
)
def test_a_task_keeps_the_shape_of_its_create_request(service: Service, mock: Account, every_task: SetScenario) -> None:
    """A task with the shape of another version has it in the first response, in polls and in the callback.

    Other tasks keep their shape. A header on a poll changes only that response.
    """
    every_task("wrapped_in_data", generation_time=GENERATION)
    inbox = mock.inbox("hook")
    created = service.created(callback_url=inbox.url)
    assert (list(created), created["code"]) == (["code", "data"], 200)
    path = f"/v1/tasks/{created['data']['id']}"
    mock.clock.advance(GENERATION)
    response = service.get(path)
    assert accepted(response)["data"]["status"] == "completed"
    assert [message["body"].encode() for message in inbox.messages][-1:] == [response.content]
    # a header with the same shape does not wrap the response twice
    assert service.get(path, headers={HEADER: "wrapped_in_data"}).content == response.content
    every_task("completed", generation_time=GENERATION)
    task_id = service.created()["id"]
    plain = service.get(f"/v1/tasks/{task_id}").content
    assert service.task(task_id, headers={HEADER: "wrapped_in_data"})["data"]["id"] == task_id
    more = service.task(task_id, headers={HEADER: "unknown_fields"})
    assert "queue" in more
    assert "worker" in more["task_info"]
    assert service.get(f"/v1/tasks/{task_id}").content == plain
    assert list(accepted(service.get(CREDITS, headers={HEADER: "wrapped_in_data"}))) == ["code", "data"]
    mock.clock.advance(GENERATION / 2)
    assert service.task(task_id, headers={HEADER: "unknown_status"})["status"] == "reviewing"
    older = service.get("/v1/tasks/nonsense", headers={HEADER: "numeric_error_code"})
    assert (older.status_code, json_of(older)["error"]["code"]) == (400, 400)
    error = error_of(service.get("/v1/tasks/nonsense", headers={HEADER: "wrapped_in_data"}))
    assert error.code == "invalid_task_id"


@pytest.fixture
def paths(service: Service, mock: Account, every_task: SetScenario) -> dict[str, str]:
    """A path for each kind of body: tasks in each status, the balance, an error."""
    every_task("failed", generation_time=GENERATION, code="service_error")
    tasks = {"failed": service.created()["id"]}
    every_task("completed", generation_time=GENERATION)
    for kind, seconds in (("completed", GENERATION), ("processing", GENERATION / 2), ("pending", 0)):
        tasks[kind] = service.created()["id"]
        mock.clock.advance(seconds)
    found = {kind: f"/v1/tasks/{task_id}" for kind, task_id in tasks.items()}
    return {**found, "credits": CREDITS, "error": "/v1/tasks/nonsense"}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The values in JSON objects by their path, as in `task_info.worker`."""
    if not isinstance(value, dict):
        return {name: value}
    return {path: found for key, each in value.items() for path, found in flat(each, f"{name}.{key}").items()}


def changes(service: Service, paths: dict[str, str], scenario: str) -> dict[str, dict[str, Any]]:
    """What a scenario in the header changes in each kind of body: new values by path, `...` for one that is missing."""
    found = {}
    for kind, path in paths.items():
        plain = flat(json_of(service.get(path)))
        shaped = flat(json_of(service.get(path, headers={HEADER: scenario})))
        names = [name for name in {**plain, **shaped} if plain.get(name, ...) != shaped.get(name, ...)]
        found[kind] = {name.removeprefix("."): shaped.get(name, ...) for name in names}
    return {kind: each for kind, each in found.items() if each}


UNDOCUMENTED = {"model_version": ANY, "queue.position": ANY, "queue.region": ANY}
OLDER = {"error.code": 500, "error.param": None, "error.fallback_suggestion": ANY}
CHANGES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "unknown_status": ("only a task in processing is reviewing", {"processing": {"status": "reviewing"}}),
    "cancelled_as_status": ("only a failed task is cancelled", {"failed": {"status": "cancelled"}}),
    "unknown_fields": (
        "a task in each status, failed too, and the balance have undocumented fields, errors have none",
        {
            "pending": {**UNDOCUMENTED, "task_info.worker": ANY},
            "processing": {**UNDOCUMENTED, "task_info.worker": ANY},
            "completed": {**UNDOCUMENTED, "task_info.worker": ANY},
            "failed": {**UNDOCUMENTED, "task_info.worker": ANY},
            "credits": UNDOCUMENTED,
        },
    ),
    "numeric_error_code": (
        "the code of a failed task and of an error is a number, with param and fallback_suggestion beside it",
        {"failed": OLDER, "error": {"error.code": 400, "error.fallback_suggestion": ANY}},
    ),
}
"""A scenario with the shape of another version: what it does, and which fields it changes in each kind of body."""


@pytest.mark.contract(id="creation.choice.shape.*", source=SHAPES, needs={"mock"})
@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        pytest.param(name, expected, id=name, marks=pytest.mark.contract(claim=f"with {name}, {claim}"))
        for name, (claim, expected) in CHANGES.items()
    ],
)
def test_a_shape_changes_only_its_own_fields(
    service: Service, paths: dict[str, str], scenario: str, expected: dict[str, dict[str, Any]]
) -> None:
    assert changes(service, paths, scenario) == expected


@pytest.mark.contract(id="creation.choice.shape.wrapped_in_data", source=SHAPES, needs={"mock"})
def test_wrapped_in_data_wraps_each_body_except_errors(service: Service, paths: dict[str, str]) -> None:
    """With wrapped_in_data, a task in each status and the balance are wrapped; errors are not."""
    plain = {kind: json_of(service.get(path)) for kind, path in paths.items()}
    header = {HEADER: "wrapped_in_data"}
    wrapped = {kind: json_of(service.get(path, headers=header)) for kind, path in paths.items()}
    assert wrapped.pop("error") == plain.pop("error")
    assert wrapped == {kind: {"code": 200, "data": body} for kind, body in plain.items()}


@pytest.mark.contract(id="creation.choice.shapes.failed", source=SHAPES, needs={"mock", "receiver"})
def test_a_task_with_unknown_fields_has_them_when_it_fails_too(service: Service, mock: Account) -> None:
    """A task with unknown_fields has them in the first response, in polls and in the callback when it fails too."""
    inbox = mock.inbox("hook")
    created = accepted(service.create(headers={HEADER: "unknown_fields"}, callback_url=inbox.url))
    mock.task(created["id"]).finish("failed", code="service_error")
    response = service.get(f"/v1/tasks/{created['id']}")
    task = accepted(response)
    assert (task["status"], task["error"]["code"]) == ("failed", "service_error")
    extra = {"model_version", "queue.position", "queue.region", "task_info.worker"}
    assert {name.removeprefix(".") for name in flat(created)} >= extra
    assert {name.removeprefix(".") for name in flat(task)} >= extra
    assert [message["body"].encode() for message in inbox.messages] == [response.content]
