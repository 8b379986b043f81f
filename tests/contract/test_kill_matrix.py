"""The kill matrix as a whole: each planted fault is caught by all its rules, and each rule catches one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract import faults_matrix
from tests.contract.faults import FAULTS, access, planting
from tests.contract.faults_matrix import Kill

ROOT = Path(__file__).resolve().parents[2]
KNOWN = ("auth.query.none", "auth.key.works")


def matrix(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs the matrix as a process: it forks, so it needs a process without threads."""
    command = [sys.executable, "-m", "tests.contract.faults_matrix", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_each_fault_is_killed_by_all_its_rules_and_each_rule_catches_a_fault_by_its_claim() -> None:
    done = matrix("--jobs", "2")
    assert "SURVIVED" not in done.stdout, done.stdout[-3000:]
    assert "NOT COVERED" not in done.stdout, done.stdout[-3000:]
    assert f"{len(FAULTS)} of {len(FAULTS)} faults killed by all their rules (100.0 %)" in done.stdout
    assert "of them 0 weak" in done.stdout
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert len(FAULTS) >= 381


SURVIVOR = Kill("some fault", {}, kept=("auth.query.none",))
WEAK = Kill("another", {"auth.query.none": "KeyError: 'x'"}, tripped=("auth.query.none",))
HALF = Kill("a third", {"auth.query.none": "assert 200 == 401"}, kept=("auth.query.wrong",))


@pytest.mark.parametrize("kill", [SURVIVOR, WEAK, HALF], ids=["kept by all", "weakly killed", "kept by one"])
def test_a_fault_that_was_not_caught_by_all_its_rules_is_shown_as_survived(kill: Kill) -> None:
    assert faults_matrix.fault_lines(kill, False).startswith("SURVIVED")
    assert "0 of 1 faults killed by all their rules (0.0 %)" in faults_matrix.summary([kill], ["auth.query.none"], 1.0)


def test_a_rule_that_only_tripped_is_not_covered() -> None:
    assert faults_matrix.uncovered([WEAK], ["auth.query.none"]) == ["auth.query.none"]
    assert faults_matrix.uncovered([WEAK, HALF], ["auth.query.none"]) == []


MISNAMED = """
from tests.contract import faults_matrix
from tests.contract.faults import access, planting

fault = planting.Fault("misnamed", ("auth.key.works",), access.FOREIGN["all accounts pay"][1])
[kill], _ = faults_matrix.run_all(lambda known: [fault], lambda kill: None, 1)
print(dict(kill.red), kill.kept, bool(kill.other))
"""


def test_other_rules_are_tried_where_none_of_its_own_catches_a_fault() -> None:
    command = [sys.executable, "-c", MISNAMED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "{} ('auth.key.works',) True"


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ([access.KEYS, access.KEYS], "two faults are called"),
        ([{"misspelt": ("auth.qeury.*", access.KEYS["no key is good"][1])}], "no rule is called auth.qeury"),
    ],
    ids=["name that is taken", "rule that is not there"],
)
def test_a_mistake_in_the_tables_raises(tables: Any, problem: str) -> None:
    with pytest.raises((ValueError, LookupError), match=problem):
        [fault.own(KNOWN) for fault in list(planting.of(*tables))]


def test_a_pattern_that_fits_no_fault_is_wrong_usage() -> None:
    done = matrix("--only", "no such fault")
    assert done.returncode == 2
    assert "no fault has such a name" in done.stderr
