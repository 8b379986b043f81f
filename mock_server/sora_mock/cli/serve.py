"""`sora-mock serve`: the server until SIGINT or SIGTERM."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sora_mock.cli.exit_codes import EXIT_OK, EXIT_USAGE
from sora_mock.cli.parsing import Command, mute
from sora_mock.cli.settings_flags import load_settings, settings_flags, typed
from sora_mock.config.settings import SettingError, Settings
from sora_mock.runtime.console import complain

if TYPE_CHECKING:
    from sora_mock.runtime.log import Terminal


@click.command(
    "serve",
    cls=Command,
    params=settings_flags(),
    help="Run the server until SIGINT or SIGTERM. This is the default command.",
)
def serve(**parameters: Any) -> int:
    """The exit code, once the server has ended."""
    try:
        settings = load_settings(typed(parameters))
        # the heaviest import comes after everything that can be wrong with the settings
        from sora_mock import server

        terminal = log_of(settings)
        watch = partial(terminal.watch, requests=not settings.quiet)
        server.serve(settings, _announcer(settings, terminal), watch)
        terminal.close()
    except SettingError as problem:
        complain(str(problem))
        return EXIT_USAGE
    return EXIT_OK


def log_of(settings: Settings) -> "Terminal":
    """The log on standard error."""
    # the other commands have no log
    from sora_mock.runtime.log import Terminal, wants_colour

    as_json = settings.log_format == "json"
    if sys.stderr is None:
        return Terminal(None, as_json=as_json)
    colour = wants_colour(os.environ, sys.stderr.isatty())
    return Terminal(sys.stderr.fileno(), as_json=as_json, colour=colour)


def _announcer(settings: Settings, terminal: "Terminal") -> Callable[[str, int], None]:
    """Prints the ready line, the only one on standard output, and before it hints on standard error."""

    def announce(url: str, seed: int) -> None:
        # the server has imported it by now; the other commands do not need it
        from sora_mock.control.access import is_loopback

        if settings.control_token is None and not is_loopback(settings.host):
            terminal.tell("the control API is closed: beyond loopback it needs --control-token")
        if settings.seed is None and not settings.quiet:
            terminal.tell(f"seed {seed} (repeat this run with --seed {seed})", seed=seed)
        as_json = settings.log_format == "json"
        try:
            print(f'{{"event":"ready","url":"{url}"}}' if as_json else f"sora-mock ready on {url}", flush=True)
        except OSError:
            # a server whose ready line has no reader serves all the same
            mute()

    return announce
