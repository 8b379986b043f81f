"""Imports point down: the table of packages in ARCHITECTURE.md, checked against every file of the package."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import sora_mock

SOURCES = Path(sora_mock.__file__).parent
FILES = sorted(SOURCES.rglob("*.py"))
PACKAGES = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
ROOT = {path.stem for path in SOURCES.glob("*.py")}

BELOW_APP = {"api", "control", "callbacks", "service", "storage", "config", "runtime", "domain", "version"}
EVERYTHING = {*PACKAGES, *ROOT}
MAY_IMPORT: Mapping[str, set[str]] = {
    "domain": set(),
    "version": set(),
    "client": {"domain.text"},
    "runtime": {"domain", "version"},
    "config": {"domain", "runtime"},
    "storage": {"domain", "runtime"},
    "service": {"storage", "domain", "config", "runtime"},
    "callbacks": {"service", "storage", "domain", "runtime", "version"},
    "api": {"service", "storage", "domain", "runtime"},
    "control": {"service", "callbacks", "storage", "domain", "config", "runtime", "version"},
    "app": BELOW_APP,
    "guard": {"client", "config", "domain", "runtime", "server"},
    "drift": {"client", "config", "domain", "runtime", "server", "guard"},
    "verify": EVERYTHING,
    "server": {"app", "client", "config", "domain", "runtime"},
    "process": EVERYTHING,
    "session": EVERYTHING,
    "pytest_plugin": EVERYTHING,
    "cli": EVERYTHING,
    "__main__": {"cli"},
    "__init__": EVERYTHING,
}
"""What each package, or module at the root, may import besides itself; a dotted name allows that module alone."""

MAX_ROOT_FILES = 12
MAX_LINES = 300
MAX_METHODS = 25


def module_of(path: Path) -> str:
    """The dotted name below the package: `api.videos`; `api` for its `__init__`."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Each import of a module of this package, wherever it is: at the top, in a function, under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            module = node.module or ""
            if module.split(".")[0] != "sora_mock":
                continue
            below = module.removeprefix("sora_mock").lstrip(".")
            for each in node.names:
                name = f"{below}.{each.name}".lstrip(".")
                yield node, name if name in MODULES else below
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.name.startswith("sora_mock."):
                    yield node, each.name.removeprefix("sora_mock.")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    own = module_of(path).split(".")[0]
    allowed = MAY_IMPORT[own]
    found = {name for _, name in imports(path) if name.split(".")[0] != own}
    assert {name for name in found if name.split(".")[0] not in allowed and name not in allowed} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {found for _, found in imports(path)} - {name} for name, path in MODULES.items()}
    while leaves := {name for name, below in graph.items() if not below & graph.keys()}:
        for name in leaves:
            del graph[name]
    # what only imports a circle is no part of one
    while unused := {name for name in graph if not any(name in below for below in graph.values())}:
        for name in unused:
            del graph[name]
    assert sorted(graph) == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        own = name.split(".")[0]
        graph.setdefault(own, set()).update(found.split(".")[0] for _, found in imports(path))
    graph = {name: below - {name} for name, below in graph.items()}
    while leaves := {name for name, below in graph.items() if not below & graph.keys()}:
        for name in leaves:
            del graph[name]
    assert sorted(graph) == []


def test_the_table_names_each_package_and_module() -> None:
    assert MAY_IMPORT.keys() == EVERYTHING


def test_the_root_holds_few_files_and_no_file_is_long() -> None:
    assert len(list(SOURCES.glob("*.py"))) <= MAX_ROOT_FILES
    lines = {module_of(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield name, node


def test_no_class_has_many_methods() -> None:
    def methods(node: ast.ClassDef) -> int:
        return sum(isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) for each in node.body)

    assert {f"{name}.{node.name}" for name, node in classes() if methods(node) > MAX_METHODS} == set()


def test_no_public_class_name_is_used_twice_outside_the_client() -> None:
    names = Counter(
        node.name for name, node in classes() if not node.name.startswith("_") and name.split(".")[0] != "client"
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_an_import_inside_a_function_has_its_reason_beside_it() -> None:
    missing = []
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for function in ast.walk(ast.parse(source)):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            block_end = 0
            for node in sorted(
                (each for each in ast.walk(function) if isinstance(each, (ast.Import, ast.ImportFrom))),
                key=lambda each: each.lineno,
            ):
                line = node.lineno - 1
                said = "#" in lines[line] or lines[line - 1].lstrip().startswith("#")
                if not said and node.lineno != block_end + 1:
                    missing.append(f"{module_of(path)}:{node.lineno}")
                block_end = node.end_lineno or node.lineno
    assert sorted(set(missing)) == []


WORLD = {"time", "random", "secrets", "uuid", "os", "io", "pathlib", "socket", "asyncio", "sys", "threading"}


def test_the_domain_imports_nothing_of_the_world() -> None:
    for path in (SOURCES / "domain").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert not WORLD & {each.name.split(".")[0] for each in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in WORLD, path
        assert not re.search(r"\bdatetime\.(now|today|utcnow)\b", source), path


STATE = {"facts", "defaults", "held"}
"""Attributes of the storage that are replaced as a whole: facts of an account, defaults, deliveries that wait."""


def written_state(source: str) -> list[int]:
    """Each line that assigns or deletes an attribute of `STATE` of another object, also by `setattr`."""
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            owner, name = node.value, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            owner, name = node.args[0], getattr(node.args[1], "value", "")
        else:
            continue
        if name in STATE and not (isinstance(owner, ast.Name) and owner.id == "self"):
            lines.add(node.lineno)
    return sorted(lines)


def test_only_the_service_writes_the_state_of_the_storage() -> None:
    writers = {module_of(path) for path in FILES if written_state(path.read_text(encoding="utf-8"))}
    assert {name.split(".")[0] for name in writers} == {"service"}


def test_every_form_of_writing_is_found() -> None:
    writes = [
        "account.facts = 1",
        "account.facts, other = 1, 2",
        "account.facts += 1",
        "service.storage.defaults: int = 1",
        "del account.facts",
        "for account.facts in (): pass",
        "setattr(account, 'facts', 1)",
        "self.account.deliveries.held = ()",
        "find('sk-a').facts = 1",
    ]
    reads = ["print(account.facts)", "facts = account.facts", "account.facts.queue", "f(facts=1)", "self.facts = 1"]
    assert written_state("\n".join([*writes, *reads])) == list(range(1, len(writes) + 1))
