"""The flags of `sora-mock verify`; apart from the rest, so that no other command loads the suite."""

import argparse
import re
from pathlib import Path
from typing import Final

MAX_EXAMPLES: Final = 25
API_KEY_ENV: Final = "EVOLINK_API_KEY"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What `verify` takes."""
    parser.add_argument("url", nargs="?", help="a mock, or the service (not for --list)")
    parser.add_argument("--max-credits", type=credits_, default=0.0, metavar="N", help="credits to spend live (0)")
    parser.add_argument(
        "--surprise-credits", type=credits_, metavar="N", help="part of them for what should be refused"
    )
    parser.add_argument("--api-key-env", default=API_KEY_ENV, metavar="NAME", help="variable of the live key")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="rules to run, as in auth.*")
    parser.add_argument("--skip", action="append", default=[], metavar="PATTERN", help="rules to leave out")
    parser.add_argument("--list", action="store_true", help="list the rules and run none")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other accounts (0)")
    parser.add_argument(
        "--max-examples",
        type=count,
        default=MAX_EXAMPLES,
        metavar="N",
        help=f"generated requests of a kind, beside the fixed ones ({MAX_EXAMPLES})",
    )
    for kind in ("junit", "json", "html"):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write a report as {kind}")
    parser.add_argument("--evidence", type=Path, metavar="FILE", help="keep what was proved when")
    parser.add_argument("--record", metavar="FILE", help="the guard's recording of a live run")
    parser.add_argument("--ledger", metavar="FILE", help="a ledger that several live runs share")


def count(text: str) -> int:
    """A number of requests. Raises ArgumentTypeError."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 10000, got {text[:40]!r}")
    return int(text)


def credits_(text: str) -> float:
    """An amount of credits. Raises ArgumentTypeError."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    # written so that NaN is refused too
    if not 0 <= amount <= 10**6:
        raise argparse.ArgumentTypeError(f"expected credits from 0 to 1000000, got {text[:40]!r}")
    return amount
