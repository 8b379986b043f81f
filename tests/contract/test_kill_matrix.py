"""The kill matrix as a whole: each planted fault is caught by all its rules, and each rule catches one."""

from typing import Any

import pytest

from tests.contract import faults_matrix
from tests.contract.faults import FAULTS, access, planting
from tests.contract.faults_matrix import Kill


@pytest.fixture(scope="module")
def kills() -> list[Kill]:
    """The result of every fault."""
    return list(faults_matrix.hunt_all(range(len(FAULTS)), at_once=4))


def test_each_fault_is_killed_by_all_its_rules(kills: list[Kill]) -> None:
    assert [faults_matrix.fault_lines(kill, False) for kill in kills if not kill.killed] == []
    assert len(kills) == len(FAULTS) >= 80


def test_each_rule_catches_a_fault_by_its_claim(kills: list[Kill]) -> None:
    assert faults_matrix.uncovered(kills, list(faults_matrix.rules())) == []


SURVIVOR = Kill("some fault", {}, kept=("auth.query.none",))
WEAK = Kill("another", {"auth.query.none": "KeyError: 'x'"}, tripped=("auth.query.none",))
HALF = Kill("a third", {"auth.query.none": "status: got 200, expected 401"}, kept=("auth.query.wrong",))


@pytest.mark.parametrize("kill", [SURVIVOR, WEAK, HALF], ids=["kept by all", "weakly killed", "kept by one"])
def test_a_fault_that_was_not_caught_by_all_its_rules_is_shown_as_survived(kill: Kill) -> None:
    assert faults_matrix.fault_lines(kill, False).startswith("SURVIVED")
    assert "0 of 1 faults killed by all their rules (0.0 %)" in faults_matrix.summary([kill], ["auth.query.none"], 1.0)


def test_a_rule_that_only_tripped_is_not_covered() -> None:
    assert faults_matrix.uncovered([WEAK], ["auth.query.none"]) == ["auth.query.none"]
    assert faults_matrix.uncovered([WEAK, HALF], ["auth.query.none"]) == []


def test_other_rules_are_tried_where_none_of_its_own_catches_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    misnamed = planting.Fault("misnamed", ("auth.key.works",), access.FOREIGN["all accounts pay"][1])
    monkeypatch.setattr(faults_matrix, "FAULTS", (misnamed,))
    kill = faults_matrix.hunt(0)
    assert (dict(kill.red), kill.kept, kill.other) == ({}, ("auth.key.works",), "foreign.money")


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
        [fault.own(faults_matrix.rules()) for fault in planting.of(*tables)]
