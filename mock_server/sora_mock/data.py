"""The files that ride along with the package: the contract, the videos, the scenarios."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


def data_folder(name: str) -> Path:
    """The folder `openapi` or `fixtures`, in a wheel and in a checkout. Raises FileNotFoundError."""
    for folder in (HERE / "_data" / name, HERE.parents[1] / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the package's folder {name} is missing; install sora-mock again")


def contract_text() -> str:
    """The OpenAPI file as it was written."""
    return (data_folder("openapi") / "openapi.yaml").read_text(encoding="utf-8")


@cache
def contract_document() -> dict[str, Any]:
    """The OpenAPI file, parsed. Not to be changed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 8 times as fast
    document: dict[str, Any] = yaml.load(contract_text(), loader)  # noqa: S506  # both are safe loaders
    return document


@cache
def video_bytes(file_name: str) -> bytes:
    """One of the eight result files, read once."""
    return (data_folder("fixtures") / "videos" / file_name).read_bytes()


@cache
def scenario_tables() -> dict[str, dict[str, Any]]:
    """The tables of every file of `fixtures/scenarios/`, by scenario name, in the order of the files."""
    tables: dict[str, dict[str, Any]] = {}
    for path in sorted((data_folder("fixtures") / "scenarios").glob("*.toml")):
        tables.update(tomllib.loads(path.read_text(encoding="utf-8")))
    return tables


@cache
def moderation_tables() -> list[dict[str, Any]]:
    """The rules of `fixtures/moderation/strict.toml`, in their order."""
    path = data_folder("fixtures") / "moderation" / "strict.toml"
    rules: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["rules"]
    return rules
