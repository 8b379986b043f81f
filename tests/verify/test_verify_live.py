"""`verify` against a mock that poses as the live service, behind the guard that it starts itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sora_mock.app import create_app
from sora_mock.server import MockServer
from tests.verify.live import REAL, environment

DEADLINE = 120.0
UNITS = 10_000


class Posing:
    """A mock whose control API is hidden. kill_guards: of this process, when the first creation arrives."""

    direct = None

    def __init__(self, app: Any) -> None:
        self.app = app
        self.kill_guards = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/__mock"):
            scope = {**scope, "path": "/hidden"}
        if self.kill_guards and scope["method"] == "POST" and scope["path"] == "/v1/videos/generations":
            # only a body that may cost something is worth the crash
            for pid in guards():
                os.kill(pid, signal.SIGKILL)
        await self.app(scope, receive, send)

    @property
    def spent(self) -> float:
        """Credits of all tasks that were ever made."""
        return float(sum(task.price for task in self.app.emulator.store.tasks.values())) / UNITS


def guards() -> list[int]:
    done = subprocess.run(["pgrep", "-f", "sora_mock guard --target"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


@pytest.fixture
def posing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Posing]]:
    made: list[Posing] = []

    def make(settings: Any) -> Posing:
        made.append(Posing(create_app(settings)))
        return made[0]

    monkeypatch.setattr("sora_mock.server.create_app", make)
    with MockServer(port=0, seed=1, generation_time=(0.0, 0.0)) as server:
        yield server.url, made[0]


def verify(url: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sora_mock", "verify", url, "--max-examples", "3", *arguments]
    return subprocess.Popen(
        command, env=environment(EVOLINK_API_KEY=REAL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(("budget", "least"), [("0", 0.0), ("6", 5.76), ("50", 40.0)])
def test_what_the_tasks_cost_never_exceeds_the_budget(
    posing: tuple[str, Posing], budget: str, least: float, tmp_path: Path
) -> None:
    url, front = posing
    code, out, err = ended(verify(url, "--max-credits", budget, "--json", str(tmp_path / "report.json")))
    assert code == 0, out + err
    assert least <= front.spent <= float(budget)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["unverified"] > 0
    assert all(rule["reason"] for rule in report["rules"] if rule["outcome"] == "unverified")
    assert REAL not in out + err + (tmp_path / "report.json").read_text()


def test_two_runs_at_once_share_the_cap_of_their_ledger(posing: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = posing
    flags = ("--max-credits", "30", "--ledger", str(tmp_path / "spent.jsonl"))
    runs = [verify(url, *flags) for _ in range(2)]
    for run in runs:
        code, out, err = ended(run)
        assert code == 0, out + err
    assert 11.52 <= front.spent <= 30


def test_kill_9_of_the_guard_in_between_gives_no_money_back(posing: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = posing
    flags = ("--max-credits", "12", "--ledger", str(tmp_path / "spent.jsonl"), "--only", "money.price.*")
    front.kill_guards = True
    code, out, _ = ended(verify(url, *flags))
    assert code == 1, out
    assert front.spent == 5.76
    front.kill_guards = False
    ended(verify(url, *flags))
    ended(verify(url, *flags))
    assert front.spent <= 12


def test_a_target_that_drops_connections_costs_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Posing] = []

    def make(settings: Any) -> Posing:
        made.append(Posing(create_app(settings)))
        return made[0]

    monkeypatch.setattr("sora_mock.server.create_app", make)
    with MockServer(port=0, seed=1, scenario="response_lost") as server:
        code, out, _ = ended(verify(server.url, "--max-credits", "20", "--surprise-credits", "0"))
    assert code == 1
    assert "no usable reply" in out
    assert 5.76 <= made[0].spent <= 20


def test_a_recording_of_the_run_replays_without_a_difference(posing: tuple[str, Posing], tmp_path: Path) -> None:
    url, _ = posing
    file = tmp_path / "exchanges.jsonl"
    flags = ("--max-credits", "12", "--surprise-credits", "0", "--record", str(file), "--skip", "generated.*")
    code, out, err = ended(verify(url, *flags))
    assert code == 0, out + err
    assert REAL not in file.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "sora_mock", "drift", str(file)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_ledger_that_is_none_is_one_line_and_nothing_is_sent(posing: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = posing
    file = tmp_path / "notes.txt"
    file.write_text("my notes")
    code, _, err = ended(verify(url, "--max-credits", "6", "--ledger", str(file)))
    assert (code, file.read_text(), front.spent) == (2, "my notes", 0)
    assert len(err.splitlines()) <= 2
