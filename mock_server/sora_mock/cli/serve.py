"""`sora-mock serve`: the server until SIGINT or SIGTERM; and the flags of the settings, which `run` takes too."""

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sora_mock.cli.parsing import EXIT_OK, EXIT_USAGE, Command, mute
from sora_mock.config.loading import load
from sora_mock.config.setting import Setting
from sora_mock.config.settings import FLAGS, SettingError, Settings
from sora_mock.runtime.collector import collector_paused
from sora_mock.runtime.console import complain
from sora_mock.runtime.last_resort import LastResort

if TYPE_CHECKING:
    from sora_mock.runtime.log import Log

STOP_SECONDS: Final = 1.7
"""Real seconds from a signal in which the server has to end by itself. It needs 1.3, and a slow reader of its log
0.5 more, which are cut short."""

LAST_CLOSE_SECONDS: Final = 0.2
"""Real seconds that a slow reader of the log gets after that."""


def settings_flags() -> list[click.Parameter]:
    """A flag for each setting that can be one, and `--config`.

    Their values stay texts: `config` reads flags as it reads variables and the file.
    """
    help = "settings file: a sora-mock.toml or a pyproject.toml"
    return [click.Option(["--config"], metavar="FILE", type=click.Path(), help=help), *map(_flag, FLAGS)]


def _flag(setting: Setting) -> click.Option:
    value = setting.value
    if value is None:
        return click.Option([setting.flag], is_flag=True, help=setting.description)
    return click.Option(
        [setting.flag],
        metavar=value,
        type=click.Path() if value == "FILE" else click.UNPROCESSED,
        multiple=setting.repeats,
        help=f"{setting.description} [default: {setting.default}]",
    )


def given_flags(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, by name without dashes in front."""
    names = {"config", *(each.key for each in FLAGS)}
    given = {name.replace("_", "-"): value for name, value in parameters.items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if name in names and value not in (None, False, ())
    }


def load_settings(flags: Mapping[str, Any], *, warn: bool = True) -> Settings:
    """The settings in force, from flags, the process's environment and the working folder. Raises SettingError.

    warn: whether unknown variables are lines on standard error.
    """
    try:
        folder = Path.cwd()
    except OSError as problem:
        raise SettingError(f"the current folder cannot be used: {problem.strerror}") from None
    return load(flags, os.environ, folder, warn=complain if warn else lambda _: None)


@click.command(
    "serve",
    cls=Command,
    params=settings_flags(),
    help="Run the server until SIGINT or SIGTERM. This is the default command.",
)
@click.pass_obj
def serve(is_child: bool, /, **parameters: Any) -> int:
    """The exit code, once the server has ended."""
    try:
        # the parent of a child process has warned already
        settings = load_settings(given_flags(parameters), warn=not is_child)
        if is_child:
            print(json.dumps(settings.control_token), flush=True)
        with collector_paused():
            # the heaviest import comes after everything that can be wrong with the settings
            from sora_mock import server

        log = open_log(settings)
        last_resort = LastResort(STOP_SECONDS, partial(log.close, LAST_CLOSE_SECONDS), EXIT_OK)
        watch = partial(log.watch, requests=not settings.quiet)
        server.serve(settings, _announcer(settings, log), watch, last_resort.begin)
    except SettingError as problem:
        complain(str(problem))
        return EXIT_USAGE
    log.close()
    return EXIT_OK


def open_log(settings: Settings) -> "Log":
    """The log on standard error."""
    # the other commands have no log
    from sora_mock.runtime.log import standard_error_log

    return standard_error_log(os.environ, as_json=settings.log_format == "json")


def _announcer(settings: Settings, log: "Log") -> Callable[[str, int], None]:
    """Prints the ready line, the only one on standard output, and before it hints on standard error."""

    def announce(url: str, seed: int) -> None:
        # the server has imported it by now; the other commands do not need it
        from sora_mock.control.access import is_loopback

        if settings.control_token is None and not is_loopback(settings.host):
            log.message("the control API is closed: beyond loopback it needs --control-token")
        if settings.seed is None and not settings.quiet:
            log.message(f"seed {seed} (repeat this run with --seed {seed})", seed=seed)
        as_json = settings.log_format == "json"
        try:
            print(f'{{"event":"ready","url":"{url}"}}' if as_json else f"sora-mock ready on {url}", flush=True)
        except OSError:
            # a server whose ready line has no reader serves all the same
            mute()

    return announce
