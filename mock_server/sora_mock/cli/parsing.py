"""What our command line adds to click: suggestions for misspelt names, one-line errors, the default command, codes."""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from sora_mock.domain.errors import near_names
from sora_mock.runtime.console import complain

EXIT_OK: Final = 0
EXIT_USAGE: Final = 2
"""A wrong flag, a bad setting, a port in use, an output that cannot be written (docs/reference.md, Commands)."""
EXIT_NOT_REACHABLE: Final = 5
EXIT_INTERRUPTED: Final = 130

PROGRAM: Final = "sora-mock"
DEFAULT_COMMAND: Final = "serve"
HELP_FLAGS: Final = ("-h", "--help")
VERSION_FLAGS: Final = ("-V", "--version")


def with_command(arguments: Sequence[str]) -> list[str]:
    """The arguments with a command in front: `serve` for none, and for flags alone."""
    given = list(arguments)
    if given and given[0] in HELP_FLAGS:
        return ["help", *given[1:]]
    if given and given[0] in VERSION_FLAGS:
        return ["version"]
    if not given or given[0].startswith("-"):
        return [DEFAULT_COMMAND, *given]
    return given


class Command(click.Command):
    """A command that does not take a flag for the value of the flag before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError."""
        options = [each for each in self.params if isinstance(each, click.Option) and not each.is_flag]
        flags = {flag for each in options for flag in each.opts}
        for flag, following in pairwise(args):
            if flag in flags and following.startswith("--") and not ctx.resilient_parsing:
                hint = f"if {following} is the value, write {flag}={following}"
                raise click.BadOptionUsage(flag, f"{flag} needs a value; {hint}", ctx)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as problem:
            # click's parser does not always say which command it was
            problem.ctx = problem.ctx or ctx
            raise


class Commands(click.Group):
    """All commands, in the order of their declaration."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, not sorted."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with. Raises UsageError with near names."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise click.UsageError(f"unknown command {args[0]!r}{near_names(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, and the flags of the default command."""
        return super().shell_complete(ctx, incomplete) + self.commands[DEFAULT_COMMAND].shell_complete(ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an exit code, or None for 0."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # click would print an empty line
            return EXIT_INTERRUPTED
        except BrokenPipeError:
            mute()
            return EXIT_OK
        except OSError as problem:
            complain(f"cannot write: {problem.strerror or problem}")
            mute()
            return EXIT_USAGE


def complain_of(problem: click.ClickException) -> None:
    """Prints what was wrong with the arguments, in one line on standard error."""
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    complain(wording(problem), PROGRAM if context is None else context.command_path)


def wording(problem: click.ClickException) -> str:
    """What was wrong with the arguments, with near names for an unknown flag."""
    if isinstance(problem, click.NoSuchOption) and problem.ctx is not None:
        known = [flag for each in problem.ctx.command.get_params(problem.ctx) for flag in each.opts]
        return f"unknown flag {problem.option_name}{near_names(problem.option_name, known)}"
    message = problem.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def mute() -> None:
    """Lets later output to standard output vanish: its reader has left, or it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
