"""Recordings made by the real guard, replayed: alike where nothing changed, and every planted difference found."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sora_mock.app import create_app
from sora_mock.cli.commands import main
from sora_mock.client import Account
from sora_mock.domain.fault import TRANSPORT
from sora_mock.server import MockServer
from tests.guard.live import CREATE, ORDER, REAL, created, guarding

Lines = list[dict[str, Any]]
Plant = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every kind of exchange, recorded by the guard in front of a mock."""
    path = tmp_path_factory.mktemp("drift") / "recording.jsonl"
    with MockServer(port=0, seed=1, generation_time=(1000.0, 1000.0)) as mock:
        with guarding(mock.url, "--max-credits", "100", "--record", str(path)) as guard, guard.client() as client:
            exchanges(client, Account(mock.url, REAL))
            guard.stop()
    return path.read_text()


def exchanges(client: httpx.Client, account: Account) -> None:
    """Four tasks: finished, failed, running, and one with a callback; and what is refused."""
    done, failed, running = (client.post(CREATE, json=ORDER).json()["id"] for _ in range(3))
    client.post(CREATE, json={**ORDER, "callback_url": "https://inbox.sora-mock.test/drift"})
    for name in (done, failed, running):
        client.get(f"/v1/tasks/{name}")
    account.clock.advance(200)
    client.get(f"/v1/tasks/{running}")
    account.task(done).finish()
    account.task(failed).finish("failed", code="content_policy_violation")
    link = client.get(f"/v1/tasks/{done}").json()["results"][0]
    client.get(httpx.URL(link).path, headers={"Range": "bytes=0-9"})
    client.get(f"/v1/tasks/{failed}")
    client.get("/v1/credits")
    client.get("/v1/tasks/task-unified-1757169143-abcdefgh")
    client.get("/v1/nothing")
    client.post(CREATE, content=b"{")
    client.post(CREATE, json={**ORDER, "duration": 11})
    # a good key under another scheme is refused before the body is looked at
    client.post(CREATE, content=b"{", headers={"Authorization": "Basic contract-live"})
    for headers in ({"Authorization": "Bearer nonsense"}, {"Authorization": ""}):
        client.get("/v1/credits", headers=headers)
    for scenario in ("rate_limited", "service_unavailable", "insufficient_quota"):
        client.get("/v1/credits", headers={"X-Mock-Scenario": "rate_limited"})
        client.post(CREATE, json=ORDER, headers={"X-Mock-Scenario": scenario})


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer(port=0, seed=2) as server:
        yield server


def drift(path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    code = main(["drift", str(path), *flags])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_recording_of_the_mock_itself_shows_no_difference(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_text(recorded)
    code, out, err = drift(path, capsys)
    assert (code, err) == (0, ""), out
    assert out.endswith(" exchanges replayed: 0 failures, 0 for information\n")
    assert int(out.split()[0]) == len(recorded.splitlines()) - 1 > 20


def is_create_request(line: dict[str, Any]) -> bool:
    return line.get("target") == CREATE and line["reply"]["status"] == 200


def is_poll(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: f'"status":"{status}"' in text(line) and line["target"].startswith("/v1/tasks/")


def is_refusal(status: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: bool(line.get("reply")) and line["reply"]["status"] == status


def text(line: dict[str, Any]) -> str:
    return str((line.get("reply") or {"body": {}})["body"].get("text", ""))


def body(change: Plant) -> Plant:
    """A change of the reply's JSON."""

    def plant(line: dict[str, Any]) -> None:
        value = json.loads(text(line))
        change(value)
        line["reply"]["body"] = {"text": json.dumps(value)}

    return plant


def without_header(line: dict[str, Any], name: str) -> None:
    line["reply"]["headers"] = [each for each in line["reply"]["headers"] if each[0] != name]


def with_header(line: dict[str, Any], name: str) -> None:
    line["reply"]["headers"].append([name, "GET"])


PLANTED: dict[str, tuple[Callable[[dict[str, Any]], bool], Plant, str, str]] = {
    "status": (is_create_request, lambda line: line["reply"].update(status=201), "failure", "status"),
    "refused": (is_refusal(404), lambda line: line["reply"].update(status=400), "failure", "status"),
    "missing": (is_poll("completed"), body(lambda v: v.pop("progress")), "failure", "progress: missing"),
    "inner": (is_create_request, body(lambda v: v["usage"].pop("user_group")), "failure", "usage.user_group: missing"),
    "added": (is_poll("completed"), body(lambda v: v.update(seed=7)), "info", "seed: added"),
    "type": (is_poll("failed"), body(lambda v: v.update(created="1")), "failure", "created: type"),
    "null": (is_poll("completed"), body(lambda v: v.update(results=None)), "failure", "results: type"),
    "element": (is_poll("completed"), body(lambda v: v.update(results=[{}])), "failure", "results[]: type"),
    "fraction": (is_poll("completed"), body(lambda v: v.update(progress=99.5)), "failure", "progress: type"),
    "enum": (is_create_request, body(lambda v: v.update(object="task")), "failure", "object: value"),
    "rule": (
        is_create_request,
        body(lambda v: v["usage"].update(billing_rule="x")),
        "failure",
        "usage.billing_rule: value",
    ),
    "unknown status": (is_poll("processing"), body(lambda v: v.update(status="queued")), "failure", "status: value"),
    "code": (is_refusal(400), body(lambda v: v["error"].update(code="bad")), "failure", "error.code: value"),
    "error type": (is_refusal(401), body(lambda v: v["error"].update(type="t")), "failure", "error.type: value"),
    "failure code": (is_poll("failed"), body(lambda v: v["error"].update(code="new")), "failure", "error.code: value"),
    "cancelled": (is_poll("failed"), body(lambda v: v.update(status="cancelled")), "failure", "status: value"),
    "retry": (
        is_refusal(429),
        lambda line: without_header(line, "retry-after"),
        "failure",
        "header retry-after: missing",
    ),
    "allowed": (is_refusal(404), lambda line: with_header(line, "allow"), "info", "header allow: added"),
    "media type": (
        is_refusal(404),
        lambda line: line["reply"].update(headers=[["content-type", "text/html"]]),
        "failure",
        "content-type",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found(
    name: str, recorded: str, mock: MockServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where, plant, severity, what = PLANTED[name]
    lines: Lines = [json.loads(line) for line in recorded.splitlines()]
    number, line = next((n, each) for n, each in enumerate(lines, 1) if where(each))
    plant(line)
    path = tmp_path / "recording"
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines))
    code, out, _ = drift(path, capsys, "--target", mock.url)
    rows = [row for row in out.splitlines()[1:-1] if row.split()[-1] == str(number)]
    assert rows, out
    assert all(row.startswith(severity) for row in rows)
    assert any(f"  {what}  " in row for row in rows), out
    others = [row for row in out.splitlines()[1:-1] if row not in rows]
    # without the recorded link, the replay cannot find the file of the mock
    assert all("GET /files/" in row and name in ("null", "element") for row in others), out
    assert code == (1 if severity == "failure" else 0)


def test_a_mock_that_dies_during_the_replay_is_5(
    recorded: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Dying:
        """A mock whose connections break from the fifth request on."""

        def __init__(self, app: Any) -> None:
            self.app, self.left = app, 5

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            self.left -= not scope["path"].startswith("/__mock")
            if self.left <= 0:
                scope["extensions"][TRANSPORT].abort()
                return
            await self.app(scope, receive, send)

    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Dying(create_app(settings)))
    path = tmp_path / "recording"
    path.write_text(recorded)
    with MockServer(port=0) as server:
        code, _, err = drift(path, capsys, "--target", server.url)
    assert (code, len(err.splitlines())) == (5, 1), err
    assert server.url in err


def test_the_replay_leaves_nothing_behind(
    recorded: str, mock: MockServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_text(recorded)
    assert drift(path, capsys, "--target", mock.url)[0] == 0
    assert created(mock.url) == []


def test_a_task_that_is_older_than_the_recording_gets_a_stand_in(
    recorded: str, mock: MockServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    kept = [line for line in recorded.splitlines(keepends=True) if f'"target":"{CREATE}"' not in line]
    path.write_text("".join(kept))
    code, out, _ = drift(path, capsys, "--target", mock.url)
    assert code == 0, out


@pytest.mark.parametrize("bad", ["{", "[]", '{"number":1}', "", '{"at":-1}'])
def test_a_broken_line_is_named(bad: str, recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recording"
    lines = recorded.splitlines()
    path.write_text("\n".join([*lines[:3], bad, *lines[3:]]) + "\n")
    code, out, err = drift(path, capsys)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "line 4:" in err


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\xff", b'{"sora-mock-recording":2}\n'])
def test_what_is_no_recording_is_refused(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recording"
    path.write_bytes(content)
    code, out, err = drift(path, capsys)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "line 1:" in err


def test_a_missing_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = drift(tmp_path / "none", capsys)
    assert (code, len(err.splitlines())) == (2, 1)


def test_a_target_that_is_down_is_5(recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recording"
    path.write_text(recorded)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        code, _, err = drift(path, capsys, "--target", f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert (code, len(err.splitlines())) == (5, 1)


@pytest.mark.parametrize("url", ["nonsense", "https://api.evolink.ai", "http://", "http://a@b", "http://h:99999"])
def test_a_target_that_cannot_be_a_mock_is_2(
    url: str, recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_text(recorded)
    code, _, err = drift(path, capsys, "--target", url)
    assert (code, len(err.splitlines())) == (2, 1)
