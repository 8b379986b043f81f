"""scripts/count-lines: which lines are code, and the difference to a revision."""

from pathlib import Path

import pytest

from tests.scripts.repository import commit, run, write

FILE = "mock_server/sora_mock/a.py"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("", 0),
        ("# a comment\n\n", 0),
        ('"""A module.\n\nOf three lines.\n"""\n', 0),
        ("x = 1  # a comment\n", 1),
        ("x = (\n    1,\n\n    # a comment\n    2,\n)\n", 4),
        ('x = """text\n\nof three lines"""\n', 3),
        ('x = 1\n"""What x is."""\n', 1),
        ('def f():\n    """Does it."""\n    return f"{1}\n"\n'.replace('f"{1}\n"', 'f"""{1}\n"""'), 3),
        ('class A:\n    """A class."""\n\n    b: int = 1\n    """Described."""\n', 2),
    ],
)
def test_code_has_no_blanks_comments_and_docstrings(tmp_path: Path, source: str, lines: int) -> None:
    commit(tmp_path, {FILE: source})
    assert run(tmp_path, "count-lines").stdout == f"work tree: {lines} code lines in 1 files\n"


def test_only_the_package_counts(tmp_path: Path) -> None:
    commit(tmp_path, {FILE: "x = 1\n", "tests/a.py": "x = 1\n", "mock_server/sora_mock/a.txt": "x = 1\n"})
    assert run(tmp_path, "count-lines", "--files").stdout.splitlines() == [
        f"      1  {FILE}",
        "work tree: 1 code lines in 1 files",
    ]


def test_the_difference_to_a_revision_is_a_percentage(tmp_path: Path) -> None:
    commit(tmp_path, {FILE: "x = 1\n" * 8})
    write(tmp_path, {FILE: "x = 1\n" * 6, "mock_server/sora_mock/new.py": "y = 2\n"})
    assert run(tmp_path, "count-lines", "--base", "base").stdout.splitlines()[1:] == [
        "base: 8 code lines in 1 files",
        "difference: -1 (-12.5 %)",
    ]
    assert run(tmp_path, "count-lines", "base").stdout == "base: 8 code lines in 1 files\n"
