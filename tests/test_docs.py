"""The documents that are made from something are current, and their code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of that language on a page of docs/."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", blocks("library.md", "python"))
def test_every_python_block_about_the_library_runs(code: str) -> None:
    exec(compile(code, "library.md", "exec"), {})


def test_the_python_blocks_about_pytest_are_a_suite_that_passes(tmp_path: Path) -> None:
    suite, (settings,) = blocks("pytest.md", "python"), blocks("pytest.md", "ini")
    (tmp_path / "test_page.py").write_text("\n".join(suite))
    (tmp_path / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-p", "no:schemathesis", "-p", "no:cacheprovider", "-W", "error"]
    for ini, flags in (("[pytest]\n", []), (settings, ["-k", "callback or empty"])):
        (tmp_path / "pytest.ini").write_text(ini)
        done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
