"""`pytest contract_tests --base-url URL`: the same ids, options and exit codes as `verify`."""

import json
import subprocess
import sys
from pathlib import Path

from sora_mock.server import MockServer
from sora_mock.verify import runner
from tests.guard.live import REAL, environment, posing_app
from tests.verify.test_verify_live import killing_guards

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, key: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "contract_tests", "-rs", *arguments]
    variables = environment(EVOLINK_API_KEY=key)
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_rules_are_tests_with_their_ids_and_evidence_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with MockServer(port=0, seed=1) as server:
        done = run("--base-url", server.url, "--only", "auth.create.*", "--evidence", str(path), "-vv")
    assert done.returncode == 0, done.stdout
    ids = {rule.id for rule in runner.load_rules() if rule.id.startswith("auth.create.")}
    assert all(f"test_rule[{each}]" in done.stdout for each in ids)
    assert json.loads(path.read_text()).keys() == ids


def test_on_a_live_target_what_cannot_be_checked_is_skipped_and_the_budget_holds(tmp_path: Path) -> None:
    with posing_app() as (url, front):
        flags = ("--only", "money.*", "--max-credits", "6", "--ledger", str(tmp_path / "ledger.jsonl"))
        done = run("--base-url", url, *flags, "--record", str(tmp_path / "recording.jsonl"), key=REAL)
        assert done.returncode == 0, done.stdout
        assert front.spent == 5.76
    assert "1 passed" in done.stdout
    assert "costs 8.64 credits" in done.stdout
    assert (tmp_path / "ledger.jsonl").exists()
    assert REAL not in (tmp_path / "recording.jsonl").read_text() + done.stdout


def test_no_key_and_no_target_end_with_verifys_codes() -> None:
    with posing_app() as (url, _):
        without_key = run("--base-url", url)
    down = run("--base-url", "http://127.0.0.1:1")
    assert (without_key.returncode, down.returncode) == (2, 5)
    assert "EVOLINK_API_KEY is not set" in without_key.stdout + without_key.stderr
    assert "does not respond" in down.stdout + down.stderr


def test_rules_that_are_not_there_or_cannot_be_bought_end_with_verifys_codes() -> None:
    assert run("--only", "zzz").returncode == 2
    with posing_app() as (url, front):
        assert run("--base-url", url, "--only", "create.duration.15", "--max-credits", "1", key=REAL).returncode == 4
        assert front.spent == 0


def test_a_guard_that_ends_during_the_run_ends_it_too_and_is_no_evidence(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with posing_app() as (url, front):
        front.before = killing_guards(url)
        done = run("--base-url", url, "--only", "creation.*", "--max-credits", "6", "--evidence", str(path), key=REAL)
    assert done.returncode == 5, done.stdout
    assert "the guard ended during the run" in done.stdout + done.stderr
    assert path.read_text().strip() == "{}"
