"""`verify` against a mock that poses as the live service, behind the guard that it starts itself."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sora_mock.domain.contract import Contract
from sora_mock.guard.command import TIMEOUT
from sora_mock.runtime.package_data import contract_document
from sora_mock.verify import runner
from sora_mock.verify.session import VerifySession
from sora_mock.verify.target import Target
from tests.guard.live import REAL, Posing, environment, posing_app

DEADLINE = 120.0


def guards(url: str) -> list[int]:
    done = subprocess.run(
        ["pgrep", "-f", f"sora_mock.cli.child guard --target {url}"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in done.stdout.split()]


@pytest.fixture
def service() -> Iterator[tuple[str, Posing]]:
    with posing_app() as made:
        yield made


def killing_guards(url: str) -> Callable[[Any], None]:
    """The guard ends after it has sent the first create request."""

    def kill(scope: Any) -> None:
        if scope["method"] == "POST" and scope["path"] == "/v1/videos/generations":
            for pid in guards(url):
                os.kill(pid, signal.SIGKILL)

    return kill


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
    service: tuple[str, Posing], budget: str, least: float, tmp_path: Path
) -> None:
    url, front = service
    code, out, err = ended(verify(url, "--max-credits", budget, "--json", str(tmp_path / "report.json")))
    assert code == 0, out + err
    assert least <= front.spent <= float(budget)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["unverified"] > 0
    assert all(rule["reason"] for rule in report["rules"] if rule["outcome"] == "unverified")
    assert REAL not in out + err + (tmp_path / "report.json").read_text()


def test_two_runs_at_once_have_one_cap_in_their_ledger(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    flags = ("--max-credits", "30", "--ledger", str(tmp_path / "spent.jsonl"))
    runs = [verify(url, *flags) for _ in range(2)]
    for run in runs:
        code, out, err = ended(run)
        assert code == 0, out + err
    assert 11.52 <= front.spent <= 30


def test_kill_9_of_the_guard_in_between_gives_no_money_back(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    flags = ("--max-credits", "12", "--ledger", str(tmp_path / "spent.jsonl"), "--only", "money.price.*")
    front.before = killing_guards(url)
    evidence = tmp_path / "evidence.json"
    code, out, err = ended(verify(url, *flags, "--evidence", str(evidence)))
    assert code == 5, out
    assert err.count("the guard ended during the run") == 1
    assert " 0 failed" in out
    assert json.loads(evidence.read_text()) == {}
    assert front.spent == 5.76
    front.before = lambda scope: None
    ended(verify(url, *flags))
    ended(verify(url, *flags))
    assert front.spent <= 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_it_found_and_leaves_no_guard(
    service: tuple[str, Posing], number: signal.Signals, tmp_path: Path
) -> None:
    url, front = service
    file = tmp_path / "evidence.json"
    created = threading.Event()
    front.before = lambda scope: created.set() if scope["path"] == "/v1/credits" else None
    run = verify(url, "--max-credits", "50", "--evidence", str(file))
    assert created.wait(DEADLINE)
    run.send_signal(number)
    # standard error ends only when the guard, which writes to it too, has ended
    code, _, err = ended(run)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        return
    assert code == 130
    assert "Traceback" not in err
    assert "interrupted" in err


def test_a_target_that_drops_connections_costs_no_more_than_the_budget() -> None:
    with posing_app(scenario="response_lost") as (url, front):
        code, out, _ = ended(verify(url, "--max-credits", "20", "--surprise-credits", "0"))
        assert code == 1
        assert "no usable reply" in out
        assert 5.76 <= front.spent <= 20


def test_the_common_create_request_is_paid_once_even_if_its_response_is_lost() -> None:
    with posing_app(scenario="response_lost") as (url, front):
        code, out, _ = ended(verify(url, "--max-credits", "50", "--surprise-credits", "0", "--only", "creation.*"))
        assert (code, out.count("FAILED")) == (1, 1)
        assert front.spent == 5.76


def test_the_suite_waits_for_the_guard_longer_than_the_guard_for_the_service() -> None:
    waited: list[float] = []

    def respond(request: httpx.Request) -> httpx.Response:
        waited.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    rule = runner.load_rules()[0]
    with httpx.Client(transport=httpx.MockTransport(respond)) as http:
        session = VerifySession("http://127.0.0.1:9", http, Contract(contract_document()), False, 0, 2400.0)
        Target(session, rule).get("/v1/credits")
    # the guard gives the service 60 s for each of two steps
    assert waited[0] > 2 * TIMEOUT == 120


def test_a_recording_of_the_run_replays_without_a_difference(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, _ = service
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


def test_a_ledger_that_is_none_is_one_line_and_nothing_is_sent(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    file = tmp_path / "notes.txt"
    file.write_text("my notes")
    code, _, err = ended(verify(url, "--max-credits", "6", "--ledger", str(file)))
    assert (code, file.read_text(), front.spent) == (2, "my notes", 0)
    assert len(err.splitlines()) <= 2
