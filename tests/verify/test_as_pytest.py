"""`pytest contract_tests --base-url URL`: the same ids, options and exit codes as `verify`."""

import json
from pathlib import Path

from sora_mock.server import MockServer
from tests.guard.live import REAL, posing_app
from tests.verify.running import killing_guards, suite


def test_rules_are_tests_and_evidence_is_kept_by_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with MockServer(port=0, seed=1) as server:
        done = suite("--base-url", server.url, "--only", "auth.create.*", "--evidence", str(path), "-vv")
    assert done.returncode == 0, done.stdout
    kept = json.loads(path.read_text())
    assert kept.keys() == {
        f"auth.create.{case}" for case in ("none", "wrong", "empty", "basic", "bare", "good_basic", "good_bare")
    }
    assert all(f"test_a_wrong_key_gets_401[{id.removeprefix('auth.')}]" in done.stdout for id in kept)


def test_without_a_url_the_suite_starts_a_mock() -> None:
    done = suite("--only", "auth.key.works")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_on_a_live_target_what_cannot_be_checked_is_skipped_and_the_budget_holds(tmp_path: Path) -> None:
    with posing_app() as (url, front):
        flags = ("--live", "--only", "money.*", "--max-credits", "6", "--ledger", str(tmp_path / "ledger.jsonl"))
        done = suite("--base-url", url, *flags, "--record", str(tmp_path / "recording.jsonl"), key=REAL)
        assert done.returncode == 0, done.stdout
        assert front.spent == 5.76
    assert "1 passed" in done.stdout
    assert "costs 8.64 credits" in done.stdout
    assert (tmp_path / "ledger.jsonl").exists()
    assert REAL not in (tmp_path / "recording.jsonl").read_text() + done.stdout


def test_no_key_and_no_target_end_with_verifys_codes() -> None:
    with posing_app() as (url, _):
        without_key = suite("--base-url", url, "--live")
    down = suite("--base-url", "http://127.0.0.1:1")
    assert (without_key.returncode, down.returncode) == (2, 5)
    assert "EVOLINK_API_KEY is not set" in without_key.stdout + without_key.stderr
    assert "does not respond" in down.stdout + down.stderr


def test_rules_that_are_not_there_or_cannot_be_bought_end_with_verifys_codes() -> None:
    assert suite("--only", "zzz").returncode == 2
    with posing_app() as (url, front):
        flags = ("--live", "--only", "create.duration.15", "--max-credits", "1")
        assert suite("--base-url", url, *flags, key=REAL).returncode == 4
        assert front.spent == 0


def test_a_guard_that_ends_during_the_run_ends_it_too_and_is_no_evidence(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with posing_app() as (url, front):
        front.before = killing_guards(url)
        flags = ("--live", "--only", "creation.*", "--max-credits", "6", "--evidence", str(path))
        done = suite("--base-url", url, *flags, key=REAL)
    assert done.returncode == 5, done.stdout
    assert "the guard ended during the run" in done.stdout + done.stderr
    assert path.read_text().strip() == "{}"
