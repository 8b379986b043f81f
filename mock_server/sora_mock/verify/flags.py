"""The flags of `sora-mock verify`, in a module of their own, so that the other commands do not load the suite."""

import re
from pathlib import Path
from typing import Any, Final

import click

MAX_EXAMPLES: Final = 25
API_KEY_ENV: Final = "EVOLINK_API_KEY"


def verify_flags() -> list[click.Parameter]:
    """The argument and the options of `verify`."""
    return [
        click.Argument(["url"], required=False),
        _flag("--max-credits", "N", "credits to spend on a live target [default: 0]", type=credits_, default="0"),
        _flag("--surprise-credits", "N", "part of them for requests that the service should reject", type=credits_),
        _flag("--api-key-env", "NAME", f"variable of the live key [default: {API_KEY_ENV}]", default=API_KEY_ENV),
        _flag("--only", "PATTERN", "rules to run, as in auth.*; may be repeated", multiple=True),
        _flag("--skip", "PATTERN", "rules to leave out; may be repeated", multiple=True),
        click.Option(["--list"], is_flag=True, help="list the rules and run none"),
        _flag("--seed", "N", "another seed, other accounts [default: 0]", type=int, default=0),
        _flag(
            "--max-examples",
            "N",
            f"generated requests of a kind, beside the fixed ones [default: {MAX_EXAMPLES}]",
            type=count,
            default=str(MAX_EXAMPLES),
        ),
        *(_flag(f"--{kind}", "FILE", f"write a report as {kind}", type=_FILE) for kind in ("junit", "json", "html")),
        _flag("--evidence", "FILE", "file that keeps outcome and date of each check", type=_FILE),
        _flag("--record", "FILE", "the guard's recording of a live run", type=click.Path()),
        _flag("--ledger", "FILE", "a ledger for several live runs", type=click.Path()),
    ]


_FILE: Final = click.Path(path_type=Path)


def _flag(name: str, value: str, help: str, **more: Any) -> click.Option:
    return click.Option([name], metavar=value, help=help, **more)


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
