"""The suite itself: green on the mock, within its time, and complete."""

import resource
import subprocess
import sys
from collections import Counter

import pytest
from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.session import VerifySession

from sora_mock.domain.contract import Contract
from sora_mock.guard import probe
from sora_mock.runtime import package_data as data
from sora_mock.server import MockServer
from sora_mock.verify import runner
from sora_mock.verify.rule import Broken, Check, Rule
from sora_mock.verify.target import Target
from tests.contract.faults.planting import responses

RULES = {rule.id: rule for rule in runner.load_rules()}


def broken(url: str, rules: list[Rule]) -> list[str]:
    """What the rules say of the server that do not pass."""
    session = VerifySession(url, probe.connect(), Contract(data.contract_document()), True, 0, 60.0)
    with session.http:
        results = runner.run(session, rules, lambda result: None, 300)
    return [f"{each.rule.id}: {each.reason}" for each in results if each.outcome != runner.PASSED]


def test_the_whole_suite_is_green_on_the_mock_in_less_than_a_minute_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    with MockServer(port=0, seed=1) as server:
        assert broken(server.url, list(RULES.values())) == []
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60


def test_there_are_rules_of_every_area_each_with_a_claim_and_a_source() -> None:
    areas = Counter(rule.area for rule in RULES.values())
    assert len(RULES) >= 100
    assert min(areas.values()) >= 1
    assert all(rule.claim and rule.source for rule in RULES.values())


def test_an_empty_change_changes_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    responses(lambda response: None)(monkeypatch)
    with MockServer(port=0, seed=1) as server:
        # a response that may be changed is sent as a whole, so it cannot be truncated
        others = ("callback.timeout", "hostile.harm.lost")
        assert broken(server.url, [rule for rule in RULES.values() if rule.id not in others]) == []


def test_a_field_that_is_missing_breaks_the_rule_that_reads_it() -> None:
    with pytest.raises(Broken, match=r"field progress: got an object without it: \{'status': 'pending'\}"):
        TargetResponse(200, {}, b'{"task": {"status": "pending"}}').json()["task"]["progress"]


def _reads_a_list(target: Target) -> None:
    TargetResponse(200, {}, b"[]").json()["status"]


def _reads_another_status(target: Target) -> None:
    TargetResponse(500, {}, b"{}").must_be(200)


@pytest.mark.parametrize(("check", "tripped"), [(_reads_a_list, True), (_reads_another_status, False)])
def test_a_rule_that_cannot_read_a_response_differs_from_one_that_is_broken(check: Check, tripped: bool) -> None:
    rule = Rule("some.rule", "claim", "source", 0, frozenset(), False, check)
    session = VerifySession("http://127.0.0.1:1", probe.connect(), Contract(data.contract_document()), False, 0, 60.0)
    with session.http:
        result = runner.check(session, rule)
    assert (result.outcome, result.tripped) == (runner.FAILED, tripped)


def test_the_server_imports_nothing_of_the_suite() -> None:
    code = (
        "import sys, sora_mock.server; print([m for m in sys.modules if m.startswith(('sora_mock.verify', 'httpx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
