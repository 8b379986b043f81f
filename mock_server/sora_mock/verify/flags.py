"""The flags of the contract suite, declared once: `sora-mock verify` and pytest have the same ones.

A module of its own, so that the other commands do not load the suite.
"""

import argparse
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

if TYPE_CHECKING:
    import pytest

MAX_EXAMPLES: Final = 25
API_KEY_ENV: Final = "EVOLINK_API_KEY"


def count(text: str) -> int:
    """A number of requests. Raises BadParameter."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 10_000:
        raise click.BadParameter(f"expected a whole number from 1 to 10000, got {text[:40]!r}")
    return int(text)


def credits_(text: str) -> float:
    """An amount of credits. Raises BadParameter."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    # written so that NaN is rejected too
    if not 0 <= amount <= 10**6:
        raise click.BadParameter(f"expected credits from 0 to 1000000, got {text[:40]!r}")
    return amount


class Flag(NamedTuple):
    """One flag. pytest_name: its name under pytest, where pytest or a plugin has another flag of this name.

    metavar: None for a flag without a value. many: whether it may be repeated.
    """

    name: str
    metavar: str | None
    help: str
    type: Callable[[str], Any] = str
    default: Any = None
    many: bool = False
    pytest_name: str | None = None

    @property
    def attribute(self) -> str:
        """Its name among the parsed values, the same for both commands."""
        return self.name.removeprefix("--").replace("-", "_")

    @property
    def for_pytest(self) -> str:
        """The flag as pytest takes it."""
        return self.pytest_name or self.name


FLAGS: Final = (
    Flag("--live", None, "the service at an address that is not the documented one: send it the real key"),
    Flag("--sole-user", None, "no other program uses the key meanwhile: check what is charged"),
    Flag("--max-credits", "N", "credits to spend on a live target [default: 0]", credits_, 0.0),
    Flag("--surprise-credits", "N", "part of them for requests that the service should reject", credits_),
    Flag("--api-key-env", "NAME", f"variable of the live key [default: {API_KEY_ENV}]", str, API_KEY_ENV),
    Flag("--only", "PATTERN", "ids of rules to run, as in auth.*; may be repeated", str, (), many=True),
    Flag("--skip", "PATTERN", "ids of rules to leave out; may be repeated", str, (), many=True),
    Flag("--list", None, "list the rules and run none", pytest_name="--contract-list"),
    Flag("--seed", "N", "another seed, other accounts [default: 0]", int, 0, pytest_name="--contract-seed"),
    Flag("--max-examples", "N", f"generated requests [default: {MAX_EXAMPLES}]", count, MAX_EXAMPLES),
    Flag("--junit", "FILE", "write a report as JUnit", Path, pytest_name="--junit-xml"),
    Flag("--json", "FILE", "write a report as JSON", Path, pytest_name="--contract-json"),
    Flag("--html", "FILE", "write a report as HTML", Path, pytest_name="--contract-html"),
    Flag("--evidence", "FILE", "file that keeps outcome and date of each check", Path),
    Flag("--record", "FILE", "the guard's recording of a live run", Path),
    Flag("--ledger", "FILE", "a ledger for several live runs", Path),
)


def verify_flags() -> list[click.Parameter]:
    """The arguments and the options of `verify`."""
    parameters: list[click.Parameter] = [click.Argument(["url"], required=False)]
    for flag in FLAGS:
        given: dict[str, Any] = {"is_flag": True}
        if flag.metavar is not None:
            # click reads a default as it reads what a user gives
            default = None if flag.default in (None, ()) else str(flag.default)
            given = {"metavar": flag.metavar, "type": flag.type, "default": default, "multiple": flag.many}
        parameters.append(click.Option([flag.name], help=flag.help, **given))
    parameters.append(click.Argument(["pytest_arguments"], nargs=-1, metavar="[-- PYTEST ARGS]"))
    return parameters


def add_pytest_flags(parser: "pytest.Parser") -> None:
    """Declares the flags for pytest."""
    group = parser.getgroup("contract", "contract suite")
    _add_base_url(group)
    # `sora-mock verify` sets these
    for name in ("--contract-verify", "--contract-no-openapi"):
        group.addoption(name, action="store_true", help=argparse.SUPPRESS)
    group.addoption("--contract-reports-to", type=Path, help=argparse.SUPPRESS)
    for flag in FLAGS:
        if flag.for_pytest == "--junit-xml":
            continue
        more: dict[str, Any] = {"dest": f"contract_{flag.attribute}", "help": flag.help.replace("%", "%%")}
        if flag.metavar is None:
            group.addoption(flag.for_pytest, action="store_true", **more)
        elif flag.many:
            group.addoption(flag.for_pytest, action="append", metavar=flag.metavar, default=[], **more)
        else:
            more |= {"metavar": flag.metavar, "type": _converted(flag.type), "default": flag.default}
            group.addoption(flag.for_pytest, **more)


def _add_base_url(group: "pytest.OptionGroup") -> None:
    # where the plugin pytest-base-url is installed, it declares the same flag with the same meaning
    with suppress(ValueError):
        group.addoption("--base-url", metavar="URL", help="a mock, or the live service; without it a mock is started")


def _converted(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader of click as a type for argparse, which reads pytest's flags."""

    def converted(text: str) -> Any:
        try:
            return read(text)
        except click.BadParameter as problem:
            raise argparse.ArgumentTypeError(problem.message) from None

    converted.__name__ = read.__name__
    return converted


def options_of(config: "pytest.Config") -> argparse.Namespace:
    """The values of the flags in a pytest run; `url` is None without --base-url."""
    found = {flag.attribute: config.getoption(f"contract_{flag.attribute}", flag.default) for flag in FLAGS}
    return argparse.Namespace(url=config.getoption("--base-url"), **found)


def pytest_arguments(options: argparse.Namespace) -> list[str]:
    """The flags of a `verify` command as pytest takes them."""
    arguments: list[str] = []
    for flag in FLAGS:
        value = getattr(options, flag.attribute)
        if flag.metavar is None:
            arguments += [flag.for_pytest] if value else []
        elif flag.many:
            arguments += [f"{flag.for_pytest}={each}" for each in value]
        elif value is not None:
            arguments.append(f"{flag.for_pytest}={value}")
    return arguments
