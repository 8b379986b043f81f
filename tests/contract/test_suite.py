"""The suite itself: green on the mock, within its time, complete, and written with pytest alone."""

import ast
import json
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sora_mock.server import MockServer
from tests.contract.faults.planting import responses
from tests.verify.running import ROOT, all_rules, verify

SUITE = sorted((ROOT / "contract_tests").glob("*.py"))
MAX_CPU = 35.0
"""Processor seconds of a whole run, the mock apart."""


def outcomes(url: str, folder: Path, *flags: str) -> dict[str, str]:
    """The reason for each rule that does not pass."""
    file = folder / "report.json"
    _, out, err = verify(url, "--json", str(file), *flags)
    assert file.exists(), out + err
    rules = json.loads(file.read_text())["rules"]
    assert len(rules) > 400
    return {rule["id"]: rule["reason"] for rule in rules if rule["outcome"] != "passed"}


def test_the_whole_suite_is_green_on_the_mock_within_its_time(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with MockServer(port=0, seed=1) as server:
        assert outcomes(server.url, tmp_path) == {}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MAX_CPU


def test_an_empty_change_changes_no_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    responses(lambda response: None)(monkeypatch)
    # a response that may be changed is sent as a whole, so it cannot be truncated
    others = ("--skip", "callback.timeout", "--skip", "hostile.harm.lost", "--skip", "generated.*")
    with MockServer(port=0, seed=1) as server:
        assert outcomes(server.url, tmp_path, *others) == {}


def test_there_are_rules_of_every_area_each_with_a_claim_and_a_source() -> None:
    areas = Counter(rule.area for rule in all_rules())
    assert sum(areas.values()) >= 485
    assert len(areas) >= 16
    assert all(rule.claim and rule.source for rule in all_rules())


def test_the_suite_has_a_docstring_for_each_file_and_each_file_is_short() -> None:
    for path in SUITE:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), path.name
        assert text.count("\n") <= 360, path.name


def test_every_test_asserts_or_sends_through_a_function_that_does() -> None:
    for path in SUITE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                has_assert = any(isinstance(each, ast.Assert) for each in ast.walk(node))
                assert has_assert or path.name == "test_openapi.py", f"{path.name}: {node.name}"


def test_the_server_imports_nothing_of_the_suite() -> None:
    code = (
        "import sys, sora_mock.server; "
        "print([m for m in sys.modules if m.startswith(('sora_mock.verify', 'httpx', 'pytest'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
