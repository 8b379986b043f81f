"""The command line: all commands, and `main`, which turns arguments into an exit code."""

import signal
import sys
from collections.abc import Sequence
from typing import Final

import click

from sora_mock.cli.parsing import (
    DEFAULT_COMMAND,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    PROGRAM,
    Commands,
    complain_of,
    with_command,
)
from sora_mock.cli.run_command import run_command
from sora_mock.cli.serve import serve
from sora_mock.cli.tools import contract, drift, guard, scenarios, verify, wait
from sora_mock.version import VERSION


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The commands that begin with what was typed so far, for completion by a shell."""
    return [name for name in COMMANDS.commands if name.startswith(incomplete)]


@click.command("help", help="Explain a command, or list all of them.")
@click.argument("command", required=False, shell_complete=_names)
def help_command(command: str | None) -> None:
    """Prints to standard output."""
    root = click.get_current_context().find_root()
    if command is None:
        click.echo(root.get_help())
        return
    name, found, _ = COMMANDS.resolve_command(root, [command])
    if found is not None:
        click.echo(click.Context(found, info_name=name, parent=root).get_help())


@click.command("version", help="Print the version.")
def version() -> None:
    """Prints to standard output."""
    click.echo(f"{PROGRAM} {VERSION}")


COMMANDS: Final = Commands(
    PROGRAM,
    {
        str(each.name): each
        for each in (serve, run_command, wait, verify, guard, drift, scenarios, contract, help_command, version)
    },
    help="A local server that behaves like an asynchronous video service.",
    epilog="sora-mock alone, or with flags alone, is sora-mock serve. --help (-h) and --version (-V) do the same as "
    "help and version.",
    add_help_option=False,
    options_metavar="",
    subcommand_metavar="[COMMAND] [FLAGS]",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None, *, is_child: bool = False) -> int:
    """Runs one command and returns its exit code.

    arguments: None for those of the process. `sora-mock` alone, or with flags alone, is `sora-mock serve`.
    is_child: whether another process of ours reads the output (`cli/child.py`).
    """
    given = with_command(sys.argv[1:] if arguments is None else arguments)
    if given[0] == DEFAULT_COMMAND:
        exit_on_signals()
    try:
        code = COMMANDS.main(given, prog_name=PROGRAM, standalone_mode=False, windows_expand_args=False, obj=is_child)
    except click.ClickException as problem:
        complain_of(problem)
        return EXIT_USAGE
    except click.Abort:
        return EXIT_INTERRUPTED
    return code or EXIT_OK


def parsed(arguments: Sequence[str]) -> click.Context:
    """The command that `arguments` name, with its parameters; the command does not run.

    Raises ClickException, and `click.exceptions.Exit` after printing the help that the arguments ask for.
    """
    root = click.Context(COMMANDS, info_name=PROGRAM, **COMMANDS.context_settings)
    name, command, rest = COMMANDS.resolve_command(root, with_command(arguments))
    assert command is not None
    return command.make_context(name, rest, parent=root)


def exit_on_signals() -> None:
    """Ends the process with exit code 0 on SIGINT and SIGTERM, until the server has handlers of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(EXIT_OK))
