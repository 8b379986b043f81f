"""The documents that are made from something are current."""

import subprocess
import sys
from pathlib import Path

from sora_mock.verify import evidence, runner

ROOT = Path(__file__).resolve().parents[1]


def test_the_pages_that_are_made_from_something_are_current() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make-docs"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_rule_was_proved_on_the_mock() -> None:
    known = evidence.read(ROOT / "docs" / "evidence.json")
    rules = {rule.id for rule in runner.load_rules()}
    assert rules - {name for name, entry in known.items() if "mock" in entry} == set(), "run make evidence"
    assert known.keys() - rules == set(), "docs/evidence.json speaks of rules that are no more"
    assert all(entry["mock"]["outcome"] == runner.PASSED for entry in known.values())
