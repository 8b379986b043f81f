"""`verify` against a mock that poses as the live service, behind the guard that it starts itself."""

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract_tests.service import MAX_WAIT
from sora_mock.guard.command import TIMEOUT
from tests.guard.live import REAL, Posing, environment, posing_app
from tests.verify.running import DEADLINE, ended, killing_guards, start, verify

LIVE = ("--live", "--skip", "generated.*")
"""Without the tests of schemathesis, which take seconds to collect."""


@pytest.fixture
def service() -> Iterator[tuple[str, Posing]]:
    with posing_app() as made:
        yield made


@pytest.mark.parametrize(
    ("budget", "spent", "proved", "least"), [("0", 0.0, 0, 30), ("6", 5.76, 27, 55), ("30", 20.16, 39, 165)]
)
def test_what_a_budget_buys(
    service: tuple[str, Posing], budget: str, spent: float, proved: int, least: int, tmp_path: Path
) -> None:
    url, front = service
    file = tmp_path / "report.json"
    code, out, err = verify(url, *LIVE, "--sole-user", "--max-credits", budget, "--json", str(file))
    assert code == 0, out + err
    assert front.spent == spent
    report = json.loads(file.read_text())
    assert report["target"] == "live"
    assert report["spent"] >= spent
    assert report["counts"]["passed"] >= least
    paid = [rule for rule in report["rules"] if rule["price"] and not {"mock", "clock"} & set(rule["needs"])]
    assert sum(rule["outcome"] == "passed" for rule in paid) == proved
    if budget == "30":
        assert [rule["id"] for rule in paid if rule["outcome"] != "passed"] == ["idempotency.replay"]
        lax = {rule["id"]: rule["outcome"] for rule in report["rules"] if "surprise" in rule["needs"]}
        assert lax["create.model.unknown"] == "passed"
        addresses = [outcome for id, outcome in lax.items() if id.startswith("callback.url.refuses.")]
        assert (len(addresses), set(addresses)) == (24, {"passed"})
    assert all(rule["reason"] for rule in report["rules"] if rule["outcome"] == "unverified")
    assert REAL not in out + err + file.read_text()


def test_50_credits_prove_every_rule_with_a_price(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    file = tmp_path / "report.json"
    code, out, err = verify(url, "--live", "--sole-user", "--max-credits", "50", "--json", str(file))
    assert code == 0, out + err
    # the guard books 5.76 for the repeated create request, which the service does not charge
    assert 31.68 <= front.spent <= 50 - 5.76
    rules = json.loads(file.read_text())["rules"]
    paid = [rule for rule in rules if rule["price"] and not {"mock", "clock"} & set(rule["needs"])]
    assert len(paid) == 42
    assert [rule["id"] for rule in paid if rule["outcome"] != "passed"] == []


def test_two_runs_at_once_have_one_cap_in_their_ledger(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    flags = (*LIVE, "--max-credits", "30", "--ledger", str(tmp_path / "spent.jsonl"))
    runs = [start(url, *flags) for _ in range(2)]
    for run in runs:
        code, out, err = ended(run)
        assert code == 0, out + err
    assert 11.52 <= front.spent <= 30


def test_kill_9_of_the_guard_in_between_gives_no_money_back(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, front = service
    flags = (*LIVE, "--max-credits", "12", "--ledger", str(tmp_path / "spent.jsonl"), "--only", "money.price.*")
    front.before = killing_guards(url)
    evidence = tmp_path / "evidence.json"
    code, out, err = verify(url, *flags, "--evidence", str(evidence))
    assert code == 5, out
    assert err.count("the guard ended during the run") == 1
    assert "failed" not in out
    assert json.loads(evidence.read_text()) == {}
    assert front.spent == 5.76
    front.before = lambda scope: None
    verify(url, *flags)
    verify(url, *flags)
    assert front.spent <= 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_it_found_and_leaves_no_guard(
    service: tuple[str, Posing], number: signal.Signals, tmp_path: Path
) -> None:
    url, front = service
    file = tmp_path / "report.json"
    polled = threading.Event()
    front.before = lambda scope: polled.set() if scope["path"].startswith("/v1/tasks/task-unified-1") else None
    run = start(url, *LIVE, "--max-credits", "50", "--json", str(file))
    assert polled.wait(DEADLINE)
    run.send_signal(number)
    # standard error ends only when the guard, which writes to it too, has ended
    code, _, err = ended(run)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        return
    assert code == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert json.loads(file.read_text())["counts"]["failed"] == 0


def test_a_target_that_drops_connections_costs_no_more_than_the_budget() -> None:
    with posing_app(scenario="response_lost") as (url, front):
        code, out, _ = verify(url, *LIVE, "--max-credits", "20", "--surprise-credits", "0")
        assert code == 1
        assert "no usable reply" in out
        assert 5.76 <= front.spent <= 20


def test_the_shared_create_request_is_paid_once_even_if_its_response_is_lost() -> None:
    with posing_app(scenario="response_lost") as (url, front):
        flags = (*LIVE, "--max-credits", "50", "--surprise-credits", "0", "--only", "creation.*")
        code, out, _ = verify(url, *flags)
        assert code == 1
        assert re.search("^creation +0 passed, 1 failed,", out, re.MULTILINE)
        assert front.spent == 5.76


def test_the_suite_waits_for_the_guard_longer_than_the_guard_for_the_service() -> None:
    # the guard gives the service 60 s for each of two steps
    assert MAX_WAIT[False] > 2 * TIMEOUT == 120


def test_a_recording_of_the_run_replays_without_a_difference(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, _ = service
    file = tmp_path / "exchanges.jsonl"
    flags = ("--max-credits", "12", "--surprise-credits", "0", "--record", str(file))
    code, out, err = verify(url, *LIVE, *flags)
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
    code, _, err = verify(url, *LIVE, "--max-credits", "6", "--ledger", str(file))
    assert (code, file.read_text(), front.spent) == (2, "my notes", 0)
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize("flags", [("-n", "2"), ("-d", "--tx", "2*popen"), ("--dist", "load", "--tx", "popen")])
def test_several_processes_on_a_live_target_are_2(service: tuple[str, Posing], flags: tuple[str, ...]) -> None:
    url, front = service
    code, _, err = verify(url, *LIVE, "--max-credits", "6", "--", *flags)
    assert (code, front.spent) == (2, 0)
    assert "one process" in err


@pytest.mark.parametrize(("budget", "only"), [("5", ()), ("0", ("--only", "creation.id"))])
def test_a_budget_that_buys_no_rule_is_4_and_nothing_is_sent(
    service: tuple[str, Posing], budget: str, only: tuple[str, ...]
) -> None:
    url, front = service
    code, _, err = verify(url, *LIVE, "--max-credits", budget, *only)
    assert (code, front.spent) == (4, 0)
    assert len(err.splitlines()) == 1


def test_the_command_that_repeats_a_rule_runs_it(service: tuple[str, Posing], tmp_path: Path) -> None:
    url, _ = service
    file = tmp_path / "report.json"
    only = ["create.duration.15", "create.duration.11", "auth.query.none"]
    flags = [part for each in only for part in ("--only", each)]
    code, out, err = verify(url, *LIVE, *flags, "--max-credits", "50", "--json", str(file))
    assert code == 0, out + err
    commands = [rule["repeat"] for rule in json.loads(file.read_text())["rules"]]
    assert len(commands) == 3
    for command in commands:
        code, out, err = verify(*shlex.split(command)[2:], "--json", str(file))
        assert code == 0, out + err
        assert json.loads(file.read_text())["counts"]["passed"] == 1, command
