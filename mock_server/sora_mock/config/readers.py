"""Readers of the settings that no type describes: each takes a value of a flag, a variable, a file or Python.

A reader raises a ValueError that says what is allowed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints
from urllib.parse import SplitResult

import msgspec

from sora_mock.config.setting import BadPart, convert
from sora_mock.domain.delivery import http_url, origin_of
from sora_mock.domain.errors import near_names
from sora_mock.domain.ledger import to_units
from sora_mock.domain.models import DEFAULT_MODEL, read_models
from sora_mock.domain.moderation import ModerationRule, read_moderation_rule
from sora_mock.domain.scenario_parameters import MAX_TASK_SECONDS
from sora_mock.domain.task import Behaviour
from sora_mock.domain.token_bucket import RateLimit, parse_rate_limit
from sora_mock.domain.values import number
from sora_mock.runtime.package_data import model_tables

MAX_MODERATION_RULES: Final = 10_000
"""Moderation rules of a file."""


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a text")
    return value


def inverted(value: Any) -> bool:
    """The opposite: `no-mock-headers` is written, `mock_headers` is kept."""
    return not convert(value, bool)


def time_range(value: Any) -> tuple[float, float]:
    """Seconds, or a range of them such as `60..180`."""
    low, dots, high = str(value).partition("..")
    read = number(0, MAX_TASK_SECONDS)
    try:
        bounds = (read(low), read(high if dots else low))
    except ValueError:
        raise ValueError(f"expected seconds (0 to {MAX_TASK_SECONDS:.0f}) or a range such as 60..180") from None
    if bounds[0] > bounds[1]:
        raise ValueError("expected a range that rises, such as 60..180")
    return bounds


def balance(value: Any) -> int | None:
    """Units of an amount of credits; None for `unlimited`."""
    return None if value == "unlimited" else to_units(value)


def rate(value: Any) -> RateLimit | None:
    """A rate such as `60/minute`; None for `none`."""
    return None if value == "none" else parse_rate_limit(str(value))


UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MIN_HISTORY_SIZE: Final = 2**20
MAX_HISTORY_SIZE: Final = 2**40


def size(value: Any) -> int:
    """Bytes of a size such as `512MiB`; a number without a unit is bytes."""
    parts = re.fullmatch(r"([0-9]{1,18})(KiB|MiB|GiB|TiB)?", "" if isinstance(value, bool) else str(value))
    if parts is None:
        raise ValueError("expected a size from 1MiB to 1TiB, such as 512MiB")
    return int(parts[1]) * UNITS[parts[2] or ""]


def origin(value: Any) -> str:
    """A URL of scheme and host alone."""
    parts = _http_url(value, "an origin such as http://localhost:3000")
    if parts.path or "@" in parts.netloc:
        raise ValueError("expected an origin such as http://localhost:3000")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def public_url(value: Any) -> str:
    """The first part of result links: an http or https URL without query."""
    return _http_url(value, "a URL such as http://localhost:4010").geturl()


def callback_routes(value: Any) -> dict[str, str]:
    """Routes as `ORIGIN=URL`, one or a list of them, or a table of URLs by origin."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        parts = [str(each).partition("=") for each in _listed(value)]
        if not all(equals for _, equals, _ in parts):
            raise ValueError("expected ORIGIN=URL, such as https://hooks.example.com=http://127.0.0.1:9000")
        pairs = [(one, other) for one, _, other in parts]
    return {origin_of(origin(one) + "/"): public_url(other) for one, other in pairs}


def origins(value: Any) -> tuple[str, ...]:
    """Origins, one or a list of them."""
    return tuple(origin_of(origin(each) + "/") for each in _listed(value))


def _listed(value: Any) -> list[Any]:
    """A list as it is; the parts of a text, which a variable holds with spaces or commas between them."""
    return value if isinstance(value, list) else re.split(r"[\s,]+", text(value).strip())


def certificates(value: Any) -> str:
    """A file with PEM certificates."""
    # its import costs a start 10 ms, and few servers have this setting
    import ssl

    path = Path(text(value))
    if not path.is_file():
        raise ValueError("there is no such file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        raise ValueError("the file holds no PEM certificates") from None
    return str(path)


def _http_url(value: Any, expected: str) -> SplitResult:
    written = text(value).rstrip("/")
    parts = http_url(written)
    if parts is None or not re.fullmatch(r"[\x21-\x7e]+", written):
        raise ValueError(f"expected {expected}")
    return parts


# tables of the settings file


def keys(value: Any) -> tuple[str, ...]:
    """API keys."""
    if not isinstance(value, list) or not all(isinstance(key, str) and key.startswith("sk-") for key in value):
        raise ValueError("expected a list of keys that begin with sk-")
    return tuple(value)


def table(value: Any) -> dict[str, Any]:
    """A table as it is."""
    if not isinstance(value, dict):
        raise ValueError("expected a table")
    return value


def prices(value: Any) -> dict[int, int]:
    """Prices in units, by seconds: those of the model's table that the user changes."""
    durations = read_models(model_tables())[DEFAULT_MODEL].durations
    found = {}
    for duration, price in table(value).items():
        if duration not in map(str, durations):
            raise ValueError(f"unknown duration {duration}; known are {' and '.join(map(str, durations))}")
        try:
            found[int(duration)] = to_units(price)
        except ValueError as problem:
            raise BadPart(duration, price, problem) from None
    return found


def scenarios(value: Any) -> Mapping[str, Any]:
    """Tables by name; what they mean is read with the built-in scenarios at hand."""
    for name, each in table(value).items():
        if not isinstance(name, str) or not isinstance(each, dict):
            raise ValueError(f"{name}: expected a table such as [scenarios.{name}]")
    return table(value)


def moderation_rules(value: Any) -> tuple[ModerationRule, ...]:
    """Rules of moderation, in the order of the file."""
    if not isinstance(value, list):
        raise ValueError("expected tables such as [[moderation.rules]]")
    if len(value) > MAX_MODERATION_RULES:
        raise ValueError(f"expected at most {MAX_MODERATION_RULES} rules, got {len(value)}")
    return tuple(_numbered(index, rule) for index, rule in enumerate(value, 1))


def _numbered(index: int, rule: Any) -> ModerationRule:
    try:
        return read_moderation_rule(rule)
    except ValueError as problem:
        raise ValueError(f"rule {index}: {problem}") from None


BEHAVIOUR: Final = get_type_hints(Behaviour, include_extras=True)
"""The type of each field of Behaviour, with its bounds."""


def behaviour(value: Any) -> Behaviour:
    """The default behaviour, changed by a table."""
    found = {}
    for key, given in table(value).items():
        name = str(key).replace("-", "_")
        if name not in BEHAVIOUR:
            raise ValueError(f"unknown setting {key}{near_names(name, BEHAVIOUR)}")
        try:
            found[name] = convert(given, BEHAVIOUR[name])
        except ValueError as problem:
            raise BadPart(key, given, problem) from None
    return msgspec.structs.replace(Behaviour(), **found)
