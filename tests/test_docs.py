"""The documents that are made from something are current, and their code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_scenarios_is_made_from_the_catalogue_as_it_is() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "make-docs", "--check"], check=False)
    assert done.returncode == 0, "run scripts/make-docs"


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
