"""Settings of a server: one table of names, read from flags, the environment and a file in that order of strength."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from sora_mock.config.readers import (
    balance,
    callback_routes,
    certificates,
    flag,
    one_of,
    origin,
    origins,
    public_url,
    rate,
    switch_or_date,
    text,
    time_range,
    whole,
)
from sora_mock.domain.clock import MAX_SPEED
from sora_mock.domain.errors import near_names
from sora_mock.domain.ledger import to_units
from sora_mock.domain.moderation import ModerationRule, read_moderation_rule
from sora_mock.domain.task import Behaviour
from sora_mock.domain.token_bucket import RateLimit
from sora_mock.domain.values import number


class SettingError(Exception):
    """A setting that cannot be used; the text is one line that names it and says what would be right."""


@dataclass(frozen=True)
class Settings:
    """Everything that a server is told. Amounts are units of 1/10,000 credit, times seconds.

    generation_time: lowest and highest; each task draws one in between.
    credits: balance of each new account; None is unlimited.
    keys: the only keys that are accepted; None accepts every one that begins with `sk-`.
    prices: by duration of the video. behaviour: what the sources leave open.
    scenarios: the user's own, as they were written. strict_moderation: whether the shipped rules follow the own ones.
    """

    host: str = "127.0.0.1"
    port: int = 4010
    generation_time: tuple[float, float] = (5.0, 5.0)
    frozen_clock: bool = False
    speed: float = 1.0
    seed: int | None = None
    credits: int | None = 1000 * 10_000
    rate_limit: RateLimit | None = None
    scenario: str = "completed"
    control_token: str | None = None
    public_url: str | None = None
    cors: str | None = None
    mock_headers: bool = True
    log_format: str = "text"
    quiet: bool = False
    failure_rate: float = 0.0
    callback_route: Mapping[str, str] = field(default_factory=dict)
    allow_callback: tuple[str, ...] = ()
    callback_ca: str | None = None
    moderation_rate: float = 0.0
    keys: tuple[str, ...] | None = None
    prices: Mapping[int, int] = field(default_factory=lambda: {10: 57_600, 15: 86_400})
    behaviour: Behaviour = field(default_factory=Behaviour)
    scenarios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    moderation_rules: tuple[ModerationRule, ...] = ()
    strict_moderation: bool = False


@dataclass(frozen=True)
class Flag:
    """One setting that can be a flag, a variable and a key of the file. `value` None is a switch."""

    name: str
    read: Callable[[Any], Any]
    value: str | None
    help: str
    field: str


def _flag(name: str, read: Callable[[Any], Any], value: str | None, help: str, field: str | None = None) -> Flag:
    return Flag(name, read, value, help, field or name.replace("-", "_"))


FLAGS: Final = (
    _flag("host", text, "ADDRESS", "address to listen on (127.0.0.1)"),
    _flag("port", whole(0, 65535), "PORT", "port to listen on, 0 for a free one (4010; under run a free one)"),
    _flag("generation-time", time_range, "SECONDS", "seconds a task takes, or a range such as 60..180 (5)"),
    _flag("frozen-clock", flag, None, "start with the clock standing still"),
    _flag("speed", number(0.001, MAX_SPEED), "FACTOR", "how fast the clock runs (1)"),
    _flag("seed", whole(0, 10**18 - 1), "N", "repeats the draws of an earlier run"),
    _flag("credits", balance, "N", "each new account's balance, or unlimited (1000)"),
    _flag("rate-limit", rate, "N/PERIOD", "requests an account may send, such as 60/minute (none)"),
    _flag("scenario", text, "NAME", "what happens to tasks that nothing else chose for (completed)"),
    _flag("failure-rate", number(0, 1), "SHARE", "share of tasks that fail, 0 to 1 (0)"),
    _flag("moderation-rate", number(0, 1), "SHARE", "share of tasks that moderation fails, 0 to 1 (0)"),
    _flag("callback-route", callback_routes, "ORIGIN=URL", "send callbacks to this origin there instead"),
    _flag("allow-callback", origins, "ORIGIN", "accept callbacks to this origin, whatever its address"),
    _flag("callback-ca", certificates, "FILE", "certificates that callback receivers are trusted by, PEM"),
    _flag("control-token", text, "TOKEN", "what control calls must send as X-Mock-Token"),
    _flag("public-url", public_url, "URL", "what result links begin with (the request's own Host)"),
    _flag("cors", origin, "ORIGIN", "web page that may call the server from a browser"),
    _flag("no-mock-headers", flag, None, "leave X-Mock-Scenario out of the answers"),
    _flag("log-format", one_of("text", "json"), "FORMAT", "text or json (text)"),
    _flag("quiet", flag, None, "print nothing but the ready line and errors"),
)
"""What `serve` takes, in the order of its help."""

_BY_NAME = {each.name: each for each in FLAGS}
TABLES: Final = ("keys", "prices", "service", "scenarios", "moderation")
"""What the settings file holds beside them."""

KNOWN_VARIABLES = {"SORA_MOCK_URL", "SORA_MOCK_CONFIG", "SORA_MOCK_CONTROL_TOKEN"}


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path, warn: Callable[[str], None]
) -> Settings:
    """The settings in force.

    flags: by flag name, as typed; `config` may name the file. folder: where a file is looked for otherwise.
    warn: is told of variables that nobody reads. Raises SettingError.
    """
    variables = {f"SORA_MOCK_{each.name.upper().replace('-', '_')}": each for each in FLAGS}
    for name in sorted(environment):
        if name.startswith("SORA_MOCK_") and name not in variables and name not in KNOWN_VARIABLES:
            warn(f"unknown environment variable {name}{near_names(name, variables)}")
    named = flags.get("config") or environment.get("SORA_MOCK_CONFIG")
    path, table = _file(Path(named) if named else None, folder)
    found = read_table(table, f" in {path}")
    for name, each in variables.items():
        # compose and GitLab hand on a variable that nobody has set as an empty one
        if environment.get(name):
            _put(found, each, environment[name], name)
    for name, value in flags.items():
        if name != "config":
            _put(found, _BY_NAME[name], value, f"--{name}")
    return Settings(**found)


def read_table(table: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The fields of Settings that a table of the settings file means. `where`: what messages add to a key's name.

    Raises SettingError.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name in _BY_NAME:
            _put(found, _BY_NAME[name], value, f"{key}{where}")
        elif key in TABLES:
            found.update(_table(key, value, where))
        else:
            raise SettingError(f"unknown setting {key}{where}{near_names(name, [*_BY_NAME, *TABLES])}")
    return found


def _put(found: dict[str, Any], setting: Flag, value: Any, where: str) -> None:
    try:
        read = setting.read(value)
    except ValueError as problem:
        raise SettingError(f"bad value {_shown(value)} for {where}: {problem}") from None
    if setting.name == "no-mock-headers":
        found["mock_headers"] = not read
    else:
        found[setting.field] = read


def _shown(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 80 else written[:80] + "..."


def _file(named: Path | None, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that is in force and its table; an empty one where there is none."""
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


def _table(key: str, value: Any, where: str) -> dict[str, Any]:
    """The settings that are more than one value: `keys`, `[prices]`, `[scenarios.NAME]` and their like."""
    try:
        if key == "keys":
            return {"keys": _keys(value)}
        if not isinstance(value, dict):
            raise ValueError("expected a table")
        if key == "prices":
            return {"prices": _prices(value)}
        if key == "scenarios":
            return {"scenarios": _scenarios(value)}
        if key == "moderation":
            return _moderation(value)
        return {"behaviour": _behaviour(value)}
    except ValueError as problem:
        raise SettingError(f"bad value for {key}{where}: {problem}") from None


def _keys(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(key, str) and key.startswith("sk-") for key in value):
        raise ValueError("expected a list of keys that begin with sk-")
    return tuple(value)


def _prices(value: Mapping[str, Any]) -> dict[int, int]:
    prices = dict(Settings().prices)
    for duration, price in value.items():
        if duration not in {str(known) for known in prices}:
            raise ValueError(f"unknown duration {duration}; known are 10 and 15")
        prices[int(duration)] = to_units(price)
    return prices


def _scenarios(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, table in value.items():
        if not isinstance(name, str) or not isinstance(table, dict):
            raise ValueError(f"{name}: expected a table such as [scenarios.{name}]")
    return value


def _moderation(value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, given in value.items():
        if key == "strict":
            found["strict_moderation"] = flag(given)
        elif key == "rules" and isinstance(given, list):
            found["moderation_rules"] = tuple(_numbered(index, rule) for index, rule in enumerate(given, 1))
        else:
            raise ValueError(f"unknown setting {key}; known are strict and [[moderation.rules]]")
    return found


def _numbered(index: int, rule: Any) -> ModerationRule:
    try:
        return read_moderation_rule(rule)
    except ValueError as problem:
        raise ValueError(f"rule {index}: {problem}") from None


_BEHAVIOUR: Final[dict[str, Callable[[Any], Any]]] = {
    "cancelled_status": one_of("failed", "cancelled"),
    "user_group": one_of("default", "vip"),
    "queue_share": number(0, 1),
    "query_usage": flag,
    "query_estimated_time": flag,
    "expired_link_status": whole(400, 499),
    "idempotency_conflict_status": whole(400, 499),
    "retry_after": switch_or_date,
}


def _behaviour(value: Mapping[str, Any]) -> Behaviour:
    found = {}
    for key, given in value.items():
        name = key.replace("-", "_")
        if name not in _BEHAVIOUR:
            raise ValueError(f"unknown setting {key}{near_names(name, _BEHAVIOUR)}")
        try:
            found[name] = _BEHAVIOUR[name](given)
        except ValueError as problem:
            raise ValueError(f"{key}: {problem}") from None
    return msgspec.structs.replace(Behaviour(), **found)
