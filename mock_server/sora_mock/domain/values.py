"""Checks of values from flags, files, headers and JSON. Each raises a ValueError that says what is expected."""

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What `msgspec.json.decode` raises for bytes that are not JSON."""


def number(low: float, high: float) -> Callable[[Any], float]:
    """A function that accepts a number from `low` to `high`, written as a number or as text."""

    def read(value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return found

    return read


def json_number(low: float, high: float) -> Callable[[Any], float]:
    """A function that accepts a JSON number from `low` to `high`, and rejects text."""
    read = number(low, high)
    return lambda value: read(None if isinstance(value, str) else value)


def short_text(value: Any) -> str:
    """Text of 1 to 1000 characters."""
    if not isinstance(value, str) or not 0 < len(value) <= 1000:
        raise ValueError("expected a text of 1 to 1000 characters")
    return value
