"""`sora-mock wait`, `contract` and `scenarios`: short commands that print or wait."""

import os

import click

from sora_mock.cli.parsing import EXIT_NOT_REACHABLE, EXIT_OK, EXIT_USAGE, Command
from sora_mock.runtime.console import complain


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

    url = url or os.environ.get("SORA_MOCK_URL") or "http://127.0.0.1:4010"
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
        # its import takes 25 ms
        import yaml

        print(yaml.safe_dump(data.contract_document(), sort_keys=False, allow_unicode=True, width=110), end="")
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
