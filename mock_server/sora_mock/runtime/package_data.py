"""The files that ride along with the package: the contract, the videos, the scenarios."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parents[1]


def data_folder(name: str) -> Path:
    """The folder `openapi` or `fixtures`, in a wheel and in a checkout. Raises FileNotFoundError."""
    for folder in (HERE / "_data" / name, HERE.parents[1] / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the package's folder {name} is missing; install sora-mock again")


def contract_text() -> str:
    """The OpenAPI file as it was written: JSON, because a parser of YAML would cost every start 25 ms."""
    return (data_folder("openapi") / "openapi.json").read_text(encoding="utf-8")


@cache
def contract_document() -> dict[str, Any]:
    """The OpenAPI file, parsed. Not to be changed."""
    document: dict[str, Any] = msgspec.json.decode(contract_text())
    return document


@cache
def video_bytes(file_name: str) -> bytes:
    """One of the eight result files, read once."""
    return (data_folder("fixtures") / "videos" / file_name).read_bytes()


@cache
def scenario_tables() -> dict[str, dict[str, Any]]:
    """The tables of every file of `fixtures/scenarios/`, by scenario name, in the order of the files."""
    tables: dict[str, dict[str, Any]] = {}
    for path in _scenario_files():
        tables.update(tomllib.loads(path.read_text(encoding="utf-8")))
    return tables


def scenario_families() -> dict[str, tuple[str, list[str]]]:
    """The opening comment and the names of each file of `fixtures/scenarios/`, by family."""
    families = {}
    for path in _scenario_files():
        text = path.read_text(encoding="utf-8")
        comment = " ".join(line.removeprefix("#").strip() for line in text.partition("\n\n")[0].splitlines())
        families[path.stem] = (comment, list(tomllib.loads(text)))
    return families


@cache
def model_tables() -> dict[str, dict[str, Any]]:
    """The tables of every file of `fixtures/models/`, by model name."""
    tables: dict[str, dict[str, Any]] = {}
    for path in sorted((data_folder("fixtures") / "models").glob("*.toml")):
        tables.update(tomllib.loads(path.read_text(encoding="utf-8")))
    return tables


def _scenario_files() -> list[Path]:
    """Lifecycle first, as the one that everybody needs."""
    files = (data_folder("fixtures") / "scenarios").glob("*.toml")
    return sorted(files, key=lambda path: (path.stem != "lifecycle", path.stem))


@cache
def moderation_tables() -> list[dict[str, Any]]:
    """The rules of `fixtures/moderation/strict.toml`, in their order."""
    path = data_folder("fixtures") / "moderation" / "strict.toml"
    rules: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["rules"]
    return rules
