"""The flags of `sora-mock verify`; apart from the rest, so that no other command loads the suite."""

import argparse
from pathlib import Path
from typing import Final

MAX_EXAMPLES: Final = 25


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What `verify` takes."""
    parser.add_argument("url", nargs="?", help="a mock, or the service (not for --list)")
    parser.add_argument("--max-credits", type=credits_, default=0.0, metavar="N", help="credits to spend live (0)")
    parser.add_argument(
        "--surprise-credits", type=credits_, metavar="N", help="part of them for what should be refused"
    )
    parser.add_argument("--api-key-env", default="EVOLINK_API_KEY", metavar="NAME", help="variable of the live key")
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
    """A number of requests. Raises ValueError."""
    number = int(text)
    if not 1 <= number <= 10_000:
        raise ValueError
    return number


def credits_(text: str) -> float:
    """An amount of credits. Raises ValueError."""
    amount = float(text)
    if not 0 <= amount <= 10**6:
        raise ValueError
    return amount
