"""Imports point down only: ARCHITECTURE.md's table of layers, checked against every file."""

import ast
from pathlib import Path

import pytest

import sora_mock

SOURCES = Path(sora_mock.__file__).parent
LAYERS = {
    "domain": 0,
    "version": 0,
    "clock": 1,
    "console": 1,
    "ids": 1,
    "readers": 1,
    "settings": 1,
    "options": 1,
    "data": 1,
    "store": 2,
    "journal": 2,
    "calls": 2,
    "inbox": 2,
    "callbacks": 3,
    "delivery": 4,
    "selection": 3,
    "emulator": 3,
    "controls": 4,
    "web": 5,
    "app": 6,
    "protocol": 6,
    "account": 7,
    "client": 7,
    "transcript": 7,
    "views": 7,
    "server": 7,
    "verify": 7,
    "terminal": 7,
    "keeper": 7,
    "run": 8,
    "cli": 8,
    "process": 8,
    "pytest_plugin": 8,
    "session": 8,
    "__main__": 9,
    "__init__": 9,
}
ALONE: dict[str, set[str]] = {
    "console": set(),
    "client": set(),
    "transcript": {"console"},
    "views": set(),
    "account": {"client", "transcript", "views"},
}
"""Rooms for those who only call a mock, and all that each of them may import."""

FILES = sorted(SOURCES.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that the file imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sora_mock":
            names = [node.module] if node.module != "sora_mock" else [f"sora_mock.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names if each.name.startswith("sora_mock.")]
        else:
            continue
        found |= {name.split(".")[1] for name in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_a_file_imports_no_room_above_its_own(path: Path) -> None:
    own = room(path)
    above = {name for name in imported_rooms(path) if LAYERS[name] > LAYERS[own]}
    assert not above
    assert own not in ALONE or imported_rooms(path) <= ALONE[own]


def test_the_domain_touches_nothing_of_the_world() -> None:
    banned = {"time", "datetime.now", "random", "secrets", "uuid", "os", "io", "pathlib", "socket", "asyncio", "sys"}
    for path in (SOURCES / "domain").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not banned & {each.name.split(".")[0] for each in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, path
