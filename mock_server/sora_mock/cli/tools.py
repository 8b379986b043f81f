"""The commands beside `serve` and `run`: short ones that print or wait, and tools that speak HTTP to a mock or live."""

import os
from pathlib import Path
from typing import Any

import click

from sora_mock.cli.parsing import EXIT_NOT_REACHABLE, EXIT_OK, EXIT_USAGE, Command
from sora_mock.cli.yaml_text import yaml_lines
from sora_mock.runtime.console import complain
from sora_mock.verify.flags import verify_flags


def seconds(text: str) -> float:
    """Seconds to wait. Raises BadParameter."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    # written so that NaN is rejected too
    if not 0 < found <= 86400:
        raise click.BadParameter(f"expected seconds above 0 and up to 86400, got {text[:40]!r}")
    return found


@click.command("wait", cls=Command, help="Wait until a server is ready.")
@click.argument("url", required=False)
@click.option("--timeout", type=seconds, default="10", metavar="SECONDS", help="longest time to wait [default: 10]")
def wait(url: str | None, timeout: float) -> int:
    """EXIT_OK once the server is ready, EXIT_NOT_REACHABLE if it is not in time."""
    # the other commands do not need the client
    from sora_mock.client.http import wait as wait_for

    if url is None:
        url = os.environ.get("SORA_MOCK_URL") or "http://127.0.0.1:4010"
    try:
        ready = wait_for(url, timeout)
    except ValueError as problem:
        complain(str(problem))
        return EXIT_USAGE
    if not ready:
        complain(f"{url} was not ready within {timeout:g} s")
        return EXIT_NOT_REACHABLE
    return EXIT_OK


@click.command("contract", cls=Command, help="Print the OpenAPI contract that the server enforces.")
@click.option("--json", "as_json", is_flag=True, help="as JSON instead of YAML")
def contract(as_json: bool) -> int:
    """Prints the file."""
    # the other commands do not need package data
    from sora_mock.runtime import package_data as data

    if as_json:
        print(data.contract_text(), end="")
    else:
        print("\n".join(yaml_lines(data.contract_document())))
    return EXIT_OK


@click.command("scenarios", cls=Command, help="List the built-in scenarios.")
def scenarios() -> int:
    """Prints a line for each."""
    # it imports the whole application
    from sora_mock.service.composition import built_in_scenarios

    catalogue = built_in_scenarios()
    width = max(map(len, catalogue))
    for name, scenario in catalogue.items():
        print(f"{name:{width}}  {scenario.description}")
    return EXIT_OK


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
    # argparse holds the options of the suite as a value with attributes
    from argparse import Namespace

    # the suite imports schemathesis
    from sora_mock.verify.command import run

    return run(Namespace(**parameters))


@click.command("drift", cls=Command, help="Compare a mock with a recording of the live service.")
@click.argument("recording", type=click.Path())
@click.option("--target", metavar="URL", help="a running mock [default: one of its own]")
@click.option("--suggest", is_flag=True, help="print the settings that make a mock like the recorded service")
def drift(recording: str, target: str | None, suggest: bool) -> int:
    """The exit code of the comparison."""
    if suggest and target is not None:
        raise click.UsageError("--suggest reads the recording alone; leave out --target")
    if not _has_extra("drift"):
        return EXIT_USAGE
    # the comparison imports httpx
    from sora_mock.drift import command

    return command.suggest(Path(recording)) if suggest else command.run(Path(recording), target)


def _has_extra(command: str) -> bool:
    """Whether httpx is installed; else a line says how to install it."""
    # a plain install is without it
    try:
        import httpx  # noqa: F401  # only whether it is there
    except ImportError:
        complain(f"{command} needs the extra: pip install 'sora-mock[verify]'")
        return False
    return True
