"""The flags of `sora-mock run`; `cli/run.py` does the work."""

import os
from collections.abc import Sequence
from typing import Any

import click

from sora_mock.cli.parsing import EXIT_USAGE, HELP_FLAGS, Command
from sora_mock.cli.serve import given_flags, load_settings, open_log, settings_flags
from sora_mock.config.settings import SettingError
from sora_mock.runtime.console import complain


class _Run(Command):
    """Takes what is behind `--` as the command to run, as it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError where there is no command."""
        end = args.index("--") if "--" in args else len(args)
        own, command = args[:end], args[end + 1 :]
        if not command and not ctx.resilient_parsing and not set(HELP_FLAGS) & set(own):
            raise click.UsageError("expected -- and a command, as in: sora-mock run -- pytest", ctx)
        rest = super().parse_args(ctx, own)
        ctx.params["command"] = command
        return rest


ENV = click.Option(
    ["--env"],
    metavar="NAME=TEMPLATE",
    multiple=True,
    help="one more variable for the command; {url} and {api_key} are filled in; may be repeated",
)


@click.command(
    "run",
    cls=_Run,
    params=[*settings_flags(), ENV],
    options_metavar="[FLAGS] -- COMMAND ...",
    help="Run a command with a server of its own; exit with its code.",
)
def run_command(command: Sequence[str], env: Sequence[str], **parameters: Any) -> int:
    """The exit code of the command."""
    if not hasattr(os, "fork"):
        complain("run: this system has no fork; start sora-mock serve and the command beside each other")
        return EXIT_USAGE
    flags = given_flags(parameters)
    try:
        # a port that a file or a variable names is for `serve`, which may run at the same time
        settings = load_settings({"port": "0", **flags})
        # it is not needed by the other commands
        from sora_mock.cli import run

        variables = dict(map(run.variable, env))
        log = "log-format" in flags and not settings.quiet
        return run.run(settings, flags, command, variables, lambda: open_log(settings), log=log)
    except SettingError as problem:
        complain(str(problem))
    except OSError as problem:
        complain(f"run: {problem.strerror or problem}")
    return EXIT_USAGE
