"""The marker `contract` and the hooks of the plugin, on small suites of their own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.live import environment

GOOD = """
import pytest

@pytest.mark.contract(id="small.one", source="here")
def test_it_is_right():
    assert 1 + 1 == 2

@pytest.mark.contract(id="small.rows.*", claim="row * is right", source="here", price=8.64)
@pytest.mark.parametrize(
    "value", [pytest.param(1, id="a"), pytest.param(2, id="b", marks=pytest.mark.contract(price=5.76, needs={"mock"}))]
)
def test_rows(value):
    "Not the claim."
    assert value < 3
"""


def run(folder: Path, text: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs a suite of one file with the plugin."""
    (folder / "test_small.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "sora_mock.verify.plugin", "-p", "no:schemathesis", *arguments]
    command += ["-p", "no:cacheprovider", "test_small.py"]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_the_list_has_a_line_for_each_row_and_the_marker_of_a_row_wins(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, "--contract-list", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines() if line.startswith("small.")]
    assert rows == [
        ["small.one", "-", "it is right"],
        ["small.rows.a", "8.64", "row a is right"],
        ["small.rows.b", "5.76", "row b is right"],
    ]


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        ("", "has no marker contract"),
        ("@pytest.mark.contract('x')", "takes keywords, such as id="),
        ("@pytest.mark.contract(id='x')", "missing 1 required positional argument: 'source'"),
        ("@pytest.mark.contract(id='x', source='s', cost=1)", "unexpected keyword argument 'cost'"),
        ("@pytest.mark.contract(id='x', source='s', needs={'luck'})", "unknown needs ['luck']"),
        (
            "@pytest.mark.parametrize('v', [1])\n@pytest.mark.contract(id='x', source='s')",
            "each row is a rule of its own: the id needs a *, as in x.*",
        ),
        ("@pytest.mark.contract(id='x', source='s', price=5.76, shared='odd')", "shared is one of usual, explicit"),
        ("@pytest.mark.contract(id='x', source='s', price=5.76, shared='combined')", "and the price includes it"),
    ],
)
def test_a_mistake_in_a_marker_is_one_line_that_names_the_test(tmp_path: Path, marker: str, problem: str) -> None:
    value = "v" if "parametrize" in marker else ""
    done = run(tmp_path, f"import pytest\n\n{marker}\ndef test_it({value}):\n    pass\n")
    assert done.returncode == 4
    assert problem in done.stdout + done.stderr
    assert "test_small.py::test_it" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_id_that_two_tests_have_is_a_mistake(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD.replace("small.rows.*", "small.*").replace('id="a"', 'id="one"'))
    assert done.returncode == 4
    assert "two tests have the id small.one" in done.stdout + done.stderr


def test_a_failure_shows_the_assert_the_source_and_the_command(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD.replace("1 + 1 == 2", "1 + 1 == 3"), "--contract-json", "report.json")
    assert done.returncode == 1
    for part in ("assert (1 + 1) == 3", "FAILED small.one: it is right", "source: here", "--only 'small.one'"):
        assert part in done.stdout
    rules = {rule["id"]: rule for rule in json.loads((tmp_path / "report.json").read_text())["rules"]}
    assert [rules[id]["outcome"] for id in ("small.one", "small.rows.a")] == ["failed", "passed"]
    assert re.search("^small +2 passed, 1 failed +[0-9.]+ s$", done.stdout, re.MULTILINE)


def test_a_failure_without_a_failed_assertion_is_marked(tmp_path: Path) -> None:
    text = GOOD.replace("assert 1 + 1 == 2", "{}['missing']")
    done = run(tmp_path, text, "--contract-reports-to", "reports")
    assert done.returncode == 1
    reports = [json.loads(line) for line in (tmp_path / "reports").read_text().splitlines()]
    failed = [each["contract"] for each in reports if each["outcome"] == "failed"]
    assert [(each["rule"]["id"], each["is_claim"]) for each in failed] == [("small.one", False)]
