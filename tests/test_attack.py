"""The short version of scripts/attack, and the page that it writes."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attack import command
from tests.attack.closure import OWN, WHY, normalized, packages, table
from tests.attack.registry import Attack

SHORT = [each for each in command.attacks() if each.short is not None]


@pytest.fixture(scope="module")
def results() -> dict[str, command.Result]:
    """What each attack found. Two run at once, because they often wait."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip((each.name for each in SHORT), pool.map(command.run_short, SHORT), strict=True))


@pytest.mark.parametrize("chosen", SHORT, ids=lambda each: each.name)
def test_the_promise_holds_under_attack(chosen: Attack, results: dict[str, command.Result]) -> None:
    result = results[chosen.name]
    assert (result["failed"], result["failures"]) == (0, [])
    assert result["tried"] > 0


def rows(name: str) -> list[str]:
    """The first cells of a table of the page, without its head."""
    page = command.PAGE.read_text(encoding="utf-8")
    part = page.partition(f"<!-- {name}:")[2].partition("<!-- end")[0]
    return re.findall(r"^\| `?([\w-]+)`? \|", part, re.MULTILINE)[1:]


def test_the_page_has_a_row_for_each_attack() -> None:
    assert rows("attacks") == [each.name for each in command.attacks()]


def test_the_page_names_each_package_of_the_runtime() -> None:
    # the rows were made on one version of Python; others need less or more of what WHY names
    direct = {normalized(package.name) for package in packages()}
    assert direct <= WHY.keys()
    assert direct - {"typing-extensions"} <= set(rows("packages")) <= WHY.keys()
    assert OWN in direct
    assert "pyyaml" not in direct


def test_the_table_of_packages_has_a_size_for_each() -> None:
    sizes = [int(line.split("|")[-2].replace(",", "")) for line in table()[2:]]
    assert min(sizes) > 1000
    assert sum(sizes[:-1]) == sizes[-1]


def test_an_attack_that_does_not_end_is_a_failure() -> None:
    result = command.run_attack(SHORT[0], 10**9, 1, 1.0)
    assert result["failures"] == ["the attack did not end within 1 s"]


def test_an_unknown_attack_is_an_error_with_a_remedy() -> None:
    done = subprocess.run([sys.executable, str(command.SCRIPT), "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown attack nothing; --list shows all" in done.stderr
