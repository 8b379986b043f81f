"""scripts/count-words: which text counts, how words are found, and the figures of a revision."""

from pathlib import Path

import pytest

from tests.scripts.repository import commit, run, write


def figures(output: str, label: str) -> list[list[str]]:
    """The numbers of each line that begins with the label: words, hits, per 10,000, in one sense."""
    lines = [line.strip() for line in output.splitlines()]
    return [line.removeprefix(label).split() for line in lines if line.startswith(f"{label} ")]


def counted(folder: Path, name: str, text: str) -> list[str]:
    commit(folder, {name: text})
    (line,) = figures(run(folder, "count-words").stdout, "everything")
    return line


@pytest.mark.parametrize(
    ("text", "words", "hits", "doubtful"),
    [
        ("a room and rooms", 4, 2, 0),
        ("Nobody's harmless shares", 4, 2, 0),
        ("queue_share = drawn_at", 4, 2, 0),
        ("class PurseKeeper: HTTPManner", 5, 3, 0),
        ("understands, retold, headroom", 3, 0, 0),
        ("answers at this moment", 4, 0, 2),
    ],
)
def test_words_are_whole_and_identifiers_are_split(
    tmp_path: Path, text: str, words: int, hits: int, doubtful: int
) -> None:
    per = f"{hits / words * 10_000:.1f}"
    assert counted(tmp_path, "page.md", text) == [str(words), str(hits), per, str(doubtful)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", "x = 'told'  # a room\n", "4"),
        ("scripts/make", "#!/usr/bin/env python3\n", "4"),
        ("Makefile", "told:\n", "0"),
        ("docs/evidence.md", "told", "0"),
        ("fixtures/a.md", "told", "0"),
        ("scripts/count-words", "#!/usr/bin/env python3\n", "0"),
    ],
)
def test_the_text_is_that_of_python_and_markdown_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    assert counted(tmp_path, name, text)[0] == words


def test_the_suite_is_counted_apart(tmp_path: Path) -> None:
    commit(
        tmp_path, {"contract_tests/a.py": "told = 1", "mock_server/sora_mock/guard/a.py": "told = 1", "b.py": "purse"}
    )
    output = run(tmp_path, "count-words").stdout
    assert [line[:2] for line in figures(output, "everything")] == [["3", "3"]]
    assert [line[:2] for line in figures(output, "without the suite")] == [["1", "1"]]


def test_a_revision_is_counted_beside_the_work_tree_with_its_new_files(tmp_path: Path) -> None:
    commit(tmp_path, {"a.md": "a room", ".gitignore": "ignored.md"})
    write(tmp_path, {"a.md": "a folder", "new.md": "told told", "ignored.md": "told"})
    output = run(tmp_path, "count-words", "--base", "base").stdout
    assert [line[:2] for line in figures(output, "everything")] == [["2", "1"], ["4", "2"]]


def test_words_and_files_are_listed_on_demand(tmp_path: Path) -> None:
    commit(tmp_path, {"a.md": "a room, rooms", "b.md": "told", "c.md": "moment"})
    output = run(tmp_path, "count-words", "--words", "--top", "1").stdout
    assert figures(output, "room") == [["2", "2"]]
    assert figures(output, "moment") == [["1", "1"]]
    assert "2  a.md: room 2" in output
    assert "b.md" not in output


def test_an_unknown_revision_ends_it_with_the_message_of_git(tmp_path: Path) -> None:
    commit(tmp_path, {"a.md": "a"})
    done = run(tmp_path, "count-words", "--base", "nothing")
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
