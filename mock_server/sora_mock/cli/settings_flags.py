"""The flags of `serve` and `run`, made of the declaration of the settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sora_mock.config.loading import load
from sora_mock.config.setting import Setting
from sora_mock.config.settings import FLAGS, SettingError, Settings
from sora_mock.runtime.console import complain


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


def typed(parameters: Mapping[str, Any]) -> dict[str, Any]:
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
