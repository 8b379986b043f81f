"""Every planted fault is caught by the rule that it names."""

from tests.contract import faults_matrix
from tests.contract.faults_more import FAULTS


def test_each_fault_is_killed_by_its_own_rule() -> None:
    kills = list(faults_matrix.hunt_all(range(len(FAULTS)), own_alone=True, at_once=4))
    assert [f"{kill.name} (of {kill.own})" for kill in kills if kill.by is None] == []
    assert len(kills) == len(FAULTS)


def test_there_are_at_least_eighty_faults_with_names_of_their_own_in_every_area() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 80
    assert {fault.area for fault in FAULTS} == {rule.area for rule in faults_matrix.rules().values()}


def test_every_fault_names_a_rule_that_exists() -> None:
    assert [fault.name for fault in FAULTS if fault.rule not in faults_matrix.rules()] == []


def test_a_fault_that_nobody_caught_is_shown_as_survived() -> None:
    kill = faults_matrix.Kill("some fault", "auth.query.none", None, "", 0.1, 1)
    assert faults_matrix.row(kill).startswith("SURVIVED")
    assert "0 of 1 faults killed (0.0 %)" in faults_matrix.summary([kill], 1.0)
