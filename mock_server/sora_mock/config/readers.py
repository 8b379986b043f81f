"""How the value of each setting is written, in flags, variables and files; a reader raises a ValueError that helps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from sora_mock.domain.delivery import origin_of
from sora_mock.domain.ledger import to_units
from sora_mock.domain.scenario_parameters import MAX_TASK_SECONDS
from sora_mock.domain.token_bucket import RateLimit, parse_rate_limit
from sora_mock.domain.values import number


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a text")
    return value


def flag(value: Any) -> bool:
    """True and false, or their words in the environment."""
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    known = value if isinstance(value, bool) else words.get(str(value).lower())
    if known is None:
        raise ValueError("expected true or false")
    return known


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}", str(value)) or not low <= int(value) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(value)

    return read


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
    """Credits, or `unlimited`."""
    return None if value == "unlimited" else to_units(value)


def rate(value: Any) -> RateLimit | None:
    """A rate such as 60/minute, or `none`."""
    return None if value == "none" else parse_rate_limit(str(value))


def one_of(*choices: str) -> Callable[[Any], str]:
    """A reader of one of a few words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return str(value)

    return read


def origin(value: Any) -> str:
    """A URL of scheme and host alone."""
    parts = _http_url(value, "an origin such as http://localhost:3000")
    if parts.path or "@" in parts.netloc:
        raise ValueError("expected an origin such as http://localhost:3000")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def public_url(value: Any) -> str:
    """The beginning of result links: an http or https URL without query."""
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
    """A list as it is; a text, as a variable holds it, parted at its spaces and commas."""
    return value if isinstance(value, list) else re.split(r"[\s,]+", text(value).strip())


def certificates(value: Any) -> str:
    """A file with PEM certificates. Raises ValueError."""
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
    try:
        parts = urlsplit(written)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", written):
        raise ValueError(f"expected {expected}")
    return parts


def switch_or_date(value: Any) -> bool | Literal["date"]:
    """True and false, or `date`."""
    try:
        return "date" if value == "date" else flag(value)
    except ValueError:
        raise ValueError('expected true, false or "date"') from None
