"""The settings in force: flags, variables of the environment, the file and defaults, in that order of strength."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sora_mock.config.setting import BadPart, Setting
from sora_mock.config.settings import FLAGS, SETTINGS, SettingError, Settings
from sora_mock.domain.errors import near_names

OTHER_VARIABLES: Final = {"SORA_MOCK_URL", "SORA_MOCK_CONFIG", "SORA_MOCK_CONTROL_TOKEN"}
"""Variables of ours that are no settings of a server, or not only."""

_BY_KEY: Final = {each.key: each for each in SETTINGS}
_TABLES: Final = {each.key.partition(".")[0] for each in SETTINGS if "." in each.key}
"""Tables of the file each of whose keys is a setting of its own."""


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path, warn: Callable[[str], None]
) -> Settings:
    """The settings in force.

    flags: by name without dashes in front, as typed; `config` may name the file.
    folder: where the file is looked for, if none is named.
    warn: receives a line for each variable that is not known.
    Raises SettingError.
    """
    variables = {each.variable: each for each in FLAGS}
    for name in sorted(environment):
        if name.startswith("SORA_MOCK_") and name not in variables and name not in OTHER_VARIABLES:
            warn(f"unknown environment variable {name}{near_names(name, variables)}")
    named = flags.get("config") or environment.get("SORA_MOCK_CONFIG")
    path, table = _file(Path(named) if named else None, folder)
    found = read_table(table, f" in {path}")
    for name, setting in variables.items():
        # compose and GitLab pass on a variable that is not set as an empty one
        if environment.get(name):
            found[setting.field] = _converted(setting, environment[name], name)
    for name, value in flags.items():
        if name != "config":
            found[_BY_KEY[name].field] = _converted(_BY_KEY[name], value, f"--{name}")
    return Settings(**found)


def read_table(table: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The fields of Settings that a table of the settings file holds.

    where: what messages add to a key's name, such as ` in sora-mock.toml`.
    Raises SettingError.
    """
    return {
        setting.field: _converted(setting, value, f"{key}{where}") for key, setting, value in _entries(table, where)
    }


def _entries(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, Setting, Any]]:
    """Each key as it is written, its setting and its value."""
    for key, value in table.items():
        if key in _TABLES:
            yield from _inner(key, value, where)
        elif (setting := _BY_KEY.get(str(key).replace("_", "-"))) is not None:
            yield key, setting, value
        else:
            near = near_names(str(key).replace("_", "-"), {each.partition(".")[0] for each in _BY_KEY})
            raise SettingError(f"unknown setting {key}{where}{near}")


def _inner(table: str, value: Any, where: str) -> Iterator[tuple[str, Setting, Any]]:
    if not isinstance(value, dict):
        raise SettingError(f"bad value for {table}{where}: expected a table")
    for key, each in value.items():
        setting = _BY_KEY.get(f"{table}.{key}")
        if setting is None:
            known = " and ".join(name.partition(".")[2] for name in _BY_KEY if name.startswith(f"{table}."))
            raise SettingError(f"bad value for {table}{where}: unknown setting {key}; known are {known}")
        yield setting.key, setting, each


def _converted(setting: Setting, value: Any, where: str) -> Any:
    try:
        return setting.convert(value)
    except BadPart as problem:
        key, colon, file = where.partition(" ")
        raise SettingError(
            f"bad value {_shown(problem.value)} for {key}.{problem.key}{colon}{file}: {problem}"
        ) from None
    except ValueError as problem:
        # a whole table of the file would be a long line, and the problem names the part of it
        shown = "" if setting.file_only else f"{_shown(value)} "
        raise SettingError(f"bad value {shown}for {where}: {problem}") from None


def _shown(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 80 else written[:80] + "..."


def _file(named: Path | None, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that is in force and its table; an empty table where there is no file."""
    if named is not None:
        return named, _section(named, _parsed(named))
    own = folder / "sora-mock.toml"
    if own.is_file():
        return own, _parsed(own)
    project = folder / "pyproject.toml"
    if project.is_file():
        return project, _section(project, _parsed(project))
    return own, {}


def _section(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    if path.name != "pyproject.toml":
        return table
    tool = table.get("tool", {})
    section = tool.get("sora-mock", {}) if isinstance(tool, dict) else tool
    if not isinstance(section, dict):
        raise SettingError(f"tool.sora-mock in {path} must be a table, [tool.sora-mock]")
    return section


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise SettingError(f"cannot read {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingError(f"{path} is not valid TOML: {problem}") from None
