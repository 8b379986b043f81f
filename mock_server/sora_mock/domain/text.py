"""Text that is safe to show: API keys redacted, control characters escaped."""

import re
from typing import Final

_API_KEY: Final = re.compile(
    # The letter before a key may be the end of an escape sequence, because messages quote what was sent.
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\U[0-9A-Fa-f]{8}))"
    r"sk-[^\s\"'\\<>]+"
)


def redacted(text: str) -> str:
    """The text with every API key replaced by `sk-***`."""
    return _API_KEY.sub("sk-***", text)


def visible(text: str) -> str:
    """The text with every character escaped that could end a line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
