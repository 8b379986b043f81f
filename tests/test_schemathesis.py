"""Schemathesis' own command line finds nothing on the mock, and the contract suite uses only its documented names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from sora_mock.client import AllAccounts
from sora_mock.domain.callback_url import rejection
from sora_mock.runtime.package_data import contract_document, data_folder
from sora_mock.server import MockServer


def run(folder: Path, url: str, *flags: str, examples: int) -> subprocess.CompletedProcess[str]:
    """`schemathesis run` with our contract. flags: those before `run`."""
    command = [sys.executable, "-m", "schemathesis.cli", *flags, "run", str(data_folder("openapi") / "openapi.json")]
    command += ["--url", url, "--header", "Authorization: Bearer sk-schemathesis"]
    command += ["--max-examples", str(examples), "--seed", "1", "--generation-database", "none"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_schemathesis_finds_nothing_in_200_examples_with_the_stateful_phase(tmp_path: Path) -> None:
    with MockServer(port=0, credits="unlimited", seed=1) as server:
        done = run(tmp_path, server.url, examples=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Stateful" in done.stdout


# 500 credits last for 86 tasks, fewer than the examples make
@pytest.mark.parametrize(("credits", "examples"), [(500, 100), (1, 20)], ids=["used up", "too few"])
def test_with_the_settings_file_schemathesis_finds_nothing_once_the_balance_is_used_up(
    credits: int, examples: int, tmp_path: Path
) -> None:
    settings = str(data_folder("openapi") / "schemathesis.toml")
    with MockServer(port=0, credits=credits, seed=1) as server:
        done = run(tmp_path, server.url, "--config-file", settings, examples=examples)
        rejected = [each for each in AllAccounts(server.url).requests if each["status"] == 402]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert settings in "".join(done.stdout.split())
    assert rejected


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "http", "ftp", "httpsx", "xhttps"])
def test_the_pattern_of_a_callback_says_which_schemes_are_rejected(scheme: str) -> None:
    """So schemathesis generates no callback whose scheme only prose forbids."""
    properties = contract_document()["components"]["schemas"]["VideoGenerationRequest"]["properties"]
    url = f"{scheme}://hooks.example.com/"
    assert (re.search(properties["callback_url"]["pattern"], url) is None) == (rejection(url) is not None)


SUITE = data_folder("contract_tests") / "test_openapi.py"

DOCUMENTED = {
    # docs/reference/python.md of schemathesis: Open API
    "openapi.from_dict",
    "openapi.format",
    # the same page, Core Data Structures
    "Case.body",
    "Case.call",
    "Case.headers",
    "Case.meta",
    "Case.method",
    "Case.operation",
    "Case.path_parameters",
    "Case.query",
    "Case.validate_response",
    "BaseSchema.as_state_machine",
    "BaseSchema.exclude",
    "BaseSchema.parametrize",
    "Case",
    "Response",
    "Response.headers",
    "Response.json",
    "Response.status_code",
    "Response.text",
    # the same page, Stateful Testing
    "APIStateMachine.get_call_kwargs",
    "APIStateMachine.run",
    "APIStateMachine.validate_response",
    # docs/tutorials/pytest.md, Configuration File
    "Config",
}
"""The names that pages of its documentation have."""

BESIDE = {"Config.from_dict", "APIStateMachine.call"}
"""Public members of documented classes that the pages leave out: they name `Config.from_path`, and `Case.call`."""

OBJECTS = {
    "case": "Case",
    "response": "Response",
    "positive": "BaseSchema",
    "negative": "BaseSchema",
    "both": "BaseSchema",
    "schema": "BaseSchema",
    "Walk": "APIStateMachine",
}
"""The class of each name in the file that holds an object of schemathesis."""


def used_names(source: str) -> Iterator[str]:
    """Each name of schemathesis in a module: imports, `schemathesis.NAME`, and members of its objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("schemathesis."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "schemathesis":
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            first, _, rest = path.partition(".")
            if first == "schemathesis" and rest:
                yield rest
            elif first in OBJECTS and "." not in rest:
                yield f"{OBJECTS[first]}.{rest}"
            elif path.startswith("super()."):
                yield f"APIStateMachine.{rest.partition('.')[0]}"
            elif path.startswith("only("):
                yield f"BaseSchema.{node.attr}"
        elif isinstance(node, ast.ClassDef) and any("as_state_machine" in ast.unparse(base) for base in node.bases):
            yield from (f"APIStateMachine.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


def test_the_suite_uses_only_names_of_schemathesis_that_its_documentation_has() -> None:
    used = set(used_names(SUITE.read_text(encoding="utf-8")))
    # `schemathesis.openapi` alone is a part of the longer names
    assert used - DOCUMENTED - BESIDE - {"openapi"} == set()
    assert {"openapi.from_dict", "Case.call", "BaseSchema.parametrize", "APIStateMachine.run"} <= used


def test_no_other_module_of_the_suite_imports_schemathesis() -> None:
    imports = re.compile(r"^\s*(import|from) schemathesis", re.MULTILINE)
    found = {path.name for path in SUITE.parent.glob("*.py") if imports.search(path.read_text(encoding="utf-8"))}
    assert found == {SUITE.name}


@pytest.mark.parametrize(
    "line",
    [
        "import schemathesis.specs",
        "from schemathesis.core import x",
        "schemathesis.hooks.unknown",
        "case.secret()",
        "positive.filter_set",
        "only(positive, CREATE).filter_set",
    ],
)
def test_a_private_name_is_found(line: str) -> None:
    assert set(used_names(line)) - DOCUMENTED - BESIDE


def test_every_documented_name_is_public_in_the_installed_version() -> None:
    classes: dict[str, Any] = {
        "Case": schemathesis.Case,
        "Response": schemathesis.Response,
        "BaseSchema": schemathesis.BaseSchema,
        "Config": schemathesis.Config,
        "APIStateMachine": schemathesis.stateful.APIStateMachine,
        "openapi": schemathesis.openapi,
    }
    for name in DOCUMENTED | BESIDE:
        owner, _, member = name.partition(".")
        assert owner in {*schemathesis.__all__, "APIStateMachine"}, name
        members = {*dir(classes[owner]), *getattr(classes[owner], "__annotations__", ())}
        assert not member or member in members, name
