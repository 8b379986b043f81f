"""The generated pages are current, and the pages for contributors name what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sora_mock.config.settings import Settings
from sora_mock.verify import evidence
from sora_mock.verify.results import PASSED
from tests.verify.running import all_rules

ROOT = Path(__file__).resolve().parents[1]


def test_the_generated_pages_are_current() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make-docs"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_rule_was_proved_on_the_mock() -> None:
    known = evidence.read(ROOT / "docs" / "evidence.json")
    rules = {rule.id for rule in all_rules()}
    assert rules - {name for name, entry in known.items() if "mock" in entry} == set(), "run make evidence"
    assert known.keys() - rules == set(), "docs/evidence.json contains rules that no longer exist"
    assert all(entry["mock"]["outcome"] == PASSED for entry in known.values())


def test_the_page_of_evidence_lists_each_rule_once() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == sorted(r.id for r in all_rules())


def test_each_service_setting_is_among_the_choices() -> None:
    page = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    choices = page.partition("## Choices")[2].partition("\n## ")[0]
    assert [name for name in Settings().behaviour.__struct_fields__ if f"`[service] {name}" not in choices] == []


def test_the_choices_are_the_first_table_of_their_page() -> None:
    page = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE)[0] == "Choices"
    assert "|" not in page.partition("## Choices")[0]


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md"])
def test_links_of_the_pages_for_contributors_lead_somewhere(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [each for each in targets if "://" not in each and not (page.parent / each).exists()] == []


def test_contributing_names_files_and_targets_that_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make (\w+)|`make (\w+)`", page, re.MULTILINE))
    assert targets
    assert [a or b for a, b in targets if not re.search(rf"^{a or b}:", makefile, re.MULTILINE)] == []
    files = re.findall(r"`?((?:scripts|mock_server|\.github|openapi|fixtures|contract_tests|docs)/[\w./-]*)`?", page)
    assert [each for each in files if not (ROOT / each).exists()] == []
