"""The suite itself: green on the mock within its time, red on every planted fault."""

import resource
import subprocess
import sys
from collections import Counter

import pytest

from sora_mock import data
from sora_mock.app import create_app
from sora_mock.domain.contract import Contract
from sora_mock.server import MockServer
from sora_mock.verify import live, runner
from sora_mock.verify.rule import Rule
from sora_mock.verify.target import Session
from tests.contract.faults import ANSWERS, PARTS, Faulty

RULES = {rule.id: rule for rule in runner.load_rules()}


def session_of(url: str) -> Session:
    return Session(url, live.connect(), Contract(data.contract_document()), True, 0, 60.0)


def failed(url: str, rule: Rule) -> str:
    """What the rule says of the server; empty where it is kept."""
    session = session_of(url)
    with session.http:
        result = runner.check(session, rule)
    assert result.outcome in (runner.PASSED, runner.FAILED), result.reason
    return result.reason


def test_the_whole_suite_is_green_on_the_mock_in_less_than_a_minute_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    with MockServer(port=0, seed=1) as server:
        session = session_of(server.url)
        with session.http:
            results = runner.run(session, list(RULES.values()), lambda result: None, 300)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert [f"{each.rule.id}: {each.reason}" for each in results if each.outcome != runner.PASSED] == []
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60


def test_there_are_rules_of_every_area_each_with_a_claim_and_a_source() -> None:
    areas = Counter(rule.area for rule in RULES.values())
    assert len(RULES) >= 100
    assert min(areas.values()) >= 1
    assert all(rule.claim and rule.source for rule in RULES.values())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_wrong_answer_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, change = ANSWERS[name]
    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), change))
    with MockServer(port=0, seed=1) as server:
        assert failed(server.url, RULES[rule])


@pytest.mark.parametrize("name", PARTS)
def test_a_wrong_part_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, owner, attribute, value = PARTS[name]
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{attribute}", value)
    else:
        monkeypatch.setattr(owner, attribute, value)
    with MockServer(port=0, seed=1) as server:
        assert failed(server.url, RULES[rule])


def test_the_rules_that_catch_faults_are_kept_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), lambda answer: None)
    )
    with MockServer(port=0, seed=1) as server:
        rules = {entry[0] for entry in ANSWERS.values()} | {entry[0] for entry in PARTS.values()}
        assert {rule: failed(server.url, RULES[rule]) for rule in rules} == dict.fromkeys(rules, "")


def test_the_server_imports_nothing_of_the_suite() -> None:
    code = (
        "import sys, sora_mock.server; print([m for m in sys.modules if m.startswith(('sora_mock.verify', 'httpx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
