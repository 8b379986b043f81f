"""Values as people write them, in flags, files, headers and JSON; a reader raises a ValueError that helps."""

import math
from collections.abc import Callable
from typing import Any


def number(low: float, high: float) -> Callable[[Any], float]:
    """A reader of numbers from `low` to `high`, as a number or as text."""

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
    """A reader of JSON numbers from `low` to `high`; text is none."""
    read = number(low, high)
    return lambda value: read(None if isinstance(value, str) else value)


def short_text(value: Any) -> str:
    """Text of 1 to 1000 characters."""
    if not isinstance(value, str) or not 0 < len(value) <= 1000:
        raise ValueError("expected a text of 1 to 1000 characters")
    return value
