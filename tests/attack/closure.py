"""What a plain installation of sora-mock brings: each package, why, and how many bytes it takes."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

OWN = "sora-mock"
WHY = {
    "anyio": "Starlette runs on it",
    "click": "the command line",
    "h11": "sends callbacks; uvicorn brings it too",
    "httptools": "reads HTTP for uvicorn, in C",
    "idna": "anyio reads host names with it",
    "jsonschema-rs": "checks requests against the contract, in Rust",
    "msgspec": "JSON and the values of the server, in C",
    "regex": "patterns of users, with a time limit",
    "sora-mock": "contract, scenarios, video clips and contract suite included",
    "starlette": "routes and middleware",
    "typing-extensions": "anyio and Starlette, below Python 3.13",
    "uvicorn": "the HTTP server",
    "uvloop": "the event loop, in C; not on Windows",
}
"""Why a package is there. A new dependency needs a line here."""


def normalized(name: str) -> str:
    """The name of a package as an index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(name: str = OWN, known: set[str] | None = None) -> Iterator[Distribution]:
    """The package and all that it needs at run time, without extras, on this machine."""
    known = set() if known is None else known
    if normalized(name) in known:
        return
    known.add(normalized(name))
    yield distribution(name)
    for text in requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from packages(requirement.name, known)


def installed_bytes(package: Distribution) -> int:
    """Bytes of its files, without byte code."""
    if normalized(package.name) == OWN:
        # an editable installation has no files of its own; the wheel has these folders
        root = Path(__file__).resolve().parents[2]
        folders = ("mock_server/sora_mock", "openapi", "fixtures", "contract_tests")
        paths = [path for folder in folders for path in (root / folder).rglob("*")]
    else:
        paths = [Path(str(package.locate_file(file))) for file in package.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


def table() -> list[str]:
    """The lines of the table of packages."""
    found = sorted(packages(), key=lambda package: normalized(package.name))
    sizes = {normalized(package.name): installed_bytes(package) for package in found}
    lines = ["| package | version | why | bytes installed |", "|---|---|---|---|"]
    for package in found:
        name = normalized(package.name)
        lines.append(f"| {name} | {package.version} | {WHY[name]} | {sizes[name]:,} |")
    return [*lines, f"| *{len(found)} packages* | | | {sum(sizes.values()):,} |"]
