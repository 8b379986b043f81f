"""`sora-mock guard`, `verify` and `drift`: tools that speak HTTP to a mock or to the live service."""

import os
from typing import Any

import click

from sora_mock.cli.parsing import EXIT_OK, EXIT_USAGE, Command
from sora_mock.runtime.console import complain
from sora_mock.verify.flags import verify_flags


@click.command("guard", cls=Command, help="Run a spending guard in front of the live service.")
@click.option("--target", required=True, metavar="URL", help="the service, such as https://api.evolink.ai")
@click.option("--max-credits", required=True, metavar="N", help="the most that may ever be spent")
@click.option("--port", default="4011", metavar="PORT", help="port on 127.0.0.1, 0 for a free one [default: 4011]")
@click.option(
    "--api-key-env",
    default="EVOLINK_API_KEY",
    metavar="NAME",
    help="variable that holds the key [default: EVOLINK_API_KEY]",
)
@click.option(
    "--surprise-credits", metavar="N", help="part of the cap for requests that the service should reject but accepts"
)
@click.option("--ledger", metavar="FILE", type=click.Path(), help="what was spent, for all runs with this file")
@click.option("--record", metavar="FILE", type=click.Path(), help="record the exchanges, without keys")
def guard(**parameters: Any) -> int:
    """Runs until SIGINT or SIGTERM."""
    # no other command needs it
    from sora_mock.guard import command

    def announce(url: str) -> None:
        print(f"sora-mock guard ready on {url}", flush=True)

    try:
        command.serve(parameters, os.environ, announce)
    except command.GuardError as problem:
        complain(str(problem))
        return EXIT_USAGE
    return EXIT_OK


@click.command(
    "verify",
    cls=Command,
    params=verify_flags(),
    help="Check a mock, or the live service, against the contract.",
)
def verify(**parameters: Any) -> int:
    """The exit code of the suite."""
    if not _has_extra("verify"):
        return EXIT_USAGE
    # the suite imports schemathesis; argparse holds its options as a value with attributes
    from argparse import Namespace

    # see above
    from sora_mock.verify.command import run

    return run(Namespace(**parameters))


@click.command("drift", cls=Command, help="Compare a mock with a recording of the live service.")
@click.argument("recording", type=click.Path())
@click.option("--target", metavar="URL", help="a running mock [default: one of its own]")
def drift(**parameters: Any) -> int:
    """The exit code of the comparison."""
    if not _has_extra("drift"):
        return EXIT_USAGE
    # the comparison imports httpx; argparse holds its options as a value with attributes
    from argparse import Namespace

    # see above
    from sora_mock.drift.command import run

    return run(Namespace(**parameters))


def _has_extra(command: str) -> bool:
    """Whether httpx is installed; else a line says how to install it."""
    # a plain install is without it
    try:
        import httpx  # noqa: F401  # only whether it is there
    except ImportError:
        complain(f"{command} needs the extra: pip install 'sora-mock[verify]'")
        return False
    return True
