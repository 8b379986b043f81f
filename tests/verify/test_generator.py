"""The generated rules: no false alarms, planted faults found, no request sent twice, no third party on live."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sora_mock.app import create_app
from sora_mock.domain.contract import Contract
from sora_mock.guard import probe
from sora_mock.runtime.package_data import contract_document
from sora_mock.server import MockServer
from sora_mock.verify import runner
from sora_mock.verify.generator import described
from sora_mock.verify.rule import Rule
from sora_mock.verify.session import VerifySession
from sora_mock.verify.target import PLACEHOLDER
from tests.contract.faults.responses import Change, Faulty, Response, created, status, task

RULES = {rule.id: rule for rule in runner.load_rules() if rule.area == runner.GENERATED}


@contextmanager
def session(url: str, **more: Any) -> Iterator[VerifySession]:
    settings: dict[str, Any] = {"control": True, "seed": 0, "patience": 60.0, "max_examples": 5, **more}
    with probe.connect() as http:
        yield VerifySession(url, http, Contract(contract_document()), **settings)


def check(url: str, rule: str, **more: Any) -> runner.CheckResult:
    with session(url, **more) as opened:
        return runner.check(opened, RULES[rule])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with MockServer(port=0, seed=1) as server:
        yield server.url


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rule", RULES)
def test_a_correct_service_is_never_accused(url: str, rule: str, seed: int) -> None:
    result = check(url, rule, seed=seed)
    assert (result.outcome, result.reason) == (runner.PASSED, "")


def without_a_field(name: str) -> Callable[[Any], None]:
    return lambda body: body.pop(name)


def lax(response: Response) -> None:
    if response.status == 400 and response.path == "/v1/videos/generations":
        response.status, response.json = 200, {}


def text_balance(response: Response) -> None:
    if response.path == "/v1/credits" and response.status == 200:
        body = response.json
        body["data"]["token"]["used_credits"] = "0"
        response.json = body


def unknown_status(response: Response) -> None:
    if response.path.startswith("/v1/tasks/") and response.status in (400, 404):
        response.status = 410


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("generated.create.accepted", created(without_a_field("task_info"))),
        ("generated.create.accepted", status(200, 202)),
        ("generated.create.refused", lax),
        ("generated.create.refused", status(400, 422)),
        ("generated.query", unknown_status),
        ("generated.credits", text_balance),
        ("generated.link", task(without_a_field("progress"))),
        ("generated.link", task(lambda body: body.update(id="task-unified-1700000000-abcdefgh"))),
    ],
)
def test_a_planted_fault_is_found(rule: str, fault: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), fault))
    with MockServer(port=0, seed=1) as server:
        assert check(server.url, rule).outcome == runner.FAILED


class Seen:
    """A service that keeps every request; the placeholder key is an account's."""

    def __init__(self, app: Any) -> None:
        self.app, self.state = app, app.state
        self.requests: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if not scope["path"].startswith("/__mock"):
            headers = str(sorted((n, v) for n, v in scope["headers"] if n not in (b"host", b"connection")))
            self.requests.append((f"{scope['method']} {scope['path']} {headers}", scope["path"], body))
        changed = {b"authorization": b"Bearer sk-live-account"}
        lines = [(n, changed.get(n, v) if PLACEHOLDER.encode() in v else v) for n, v in scope["headers"]]

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app({**scope, "headers": lines}, again, send)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Seen]]:
    made: list[Seen] = []

    def make(settings: Any) -> Seen:
        made.append(Seen(create_app(settings)))
        return made[0]

    monkeypatch.setattr("sora_mock.server.create_app", make)
    with MockServer(port=0, seed=1, credits="unlimited") as server:
        yield server.url, made[0]


@pytest.mark.parametrize("rule", ["generated.create.accepted", "generated.create.refused", "generated.query"])
def test_no_request_is_sent_twice(seen: tuple[str, Seen], rule: str) -> None:
    url, front = seen
    assert check(url, rule, max_examples=30).outcome == runner.PASSED
    assert Counter(front.requests).most_common(1)[0][1] == 1


@pytest.mark.parametrize(("spare", "most"), [(0.0, 1), (20.0, 4)])
def test_on_a_live_target_the_budget_ends_the_create_requests(seen: tuple[str, Seen], spare: float, most: int) -> None:
    url, front = seen
    result = check(url, "generated.create.accepted", control=False, spare=spare)
    assert result.outcome == runner.PASSED
    prices = [8.64 if json.loads(body).get("duration") == 15 else 5.76 for _, _, body in front.requests]
    assert 1 <= len(prices) <= most
    assert sum(prices) <= 5.76 + spare + 1e-9


def test_on_a_live_target_no_third_party_is_named_and_the_prompt_is_innocent(seen: tuple[str, Seen]) -> None:
    url, front = seen
    assert check(url, "generated.create.accepted", control=False, spare=2000.0).outcome == runner.PASSED
    bodies = [json.loads(body) for _, _, body in front.requests]
    assert len(bodies) > 5
    assert not any({"callback_url", "image_urls"} & body.keys() for body in bodies)
    assert all(set(body["prompt"]) <= set("a cat plays the piano in a quiet house by the sea ") for body in bodies)


def test_on_a_live_target_without_a_rejection_budget_no_bad_create_request_is_sent(seen: tuple[str, Seen]) -> None:
    url, front = seen
    chosen, others, _ = runner.affordable([RULES["generated.create.refused"]], 50.0, rejection_budget=False)
    assert (chosen, others[0].outcome) == ([], runner.UNVERIFIED)
    # also if the rule is run in spite of that
    assert check(url, "generated.create.refused", control=False).outcome in (runner.UNVERIFIED, runner.PASSED)
    assert front.state.service.storage.tasks == {}


def test_generated_create_requests_come_last_and_get_the_rest_of_the_budget() -> None:
    rules: list[Rule] = runner.load_rules()
    chosen, _, left = runner.affordable(rules, 200.0, rejection_budget=False)
    assert chosen[-1].id == "generated.create.accepted"
    paid = sum(rule.price for rule in chosen if not rule.shared)
    assert left == pytest.approx(200.0 - 5.76 - paid)


def test_the_generator_reads_no_example_and_knows_no_key() -> None:
    text = json.dumps(described())
    assert "your-domain" not in text
    assert "securitySchemes" not in text
    assert '"examples"' not in text


def test_no_folder_is_left_where_the_suite_runs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(url, "generated.query").outcome == runner.PASSED
    assert list(tmp_path.iterdir()) == []
