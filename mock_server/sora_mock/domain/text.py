"""Text that is safe to show: API keys and passwords redacted, control characters escaped."""

import re
from typing import Any, Final
from urllib.parse import unquote

_PERCENT: Final = "%(?:25)*"
"""A percent sign, encoded any number of times."""

_API_KEY: Final = re.compile(
    # The letter before a key may be the end of an escape sequence, because messages quote what was sent.
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\U[0-9A-Fa-f]{8})"
    r"|(?<=%[0-9A-Fa-f]{2}))"
    rf"(?:s|{_PERCENT}73)(?:k|{_PERCENT}6[Bb])(?:-|{_PERCENT}2[Dd])[^\s\"'\\<>]+"
)
_CREDENTIALS: Final = re.compile(
    rf"((?:\\?/|{_PERCENT}2F){{2}})(?:(?!{_PERCENT}(?:2F|3F|23))[^/?#\s\"'<>])*(?:@|{_PERCENT}40)",
    re.IGNORECASE,
)
_QUERY_NAME: Final = re.compile(
    # also in a URL that is the value of a parameter, where the separators have percent signs
    rf"(?:(?<=[?&;#])|(?<=%3F)|(?<=%26))(?:(?!%(?:3D|3F|26))[^=?&;#\s\"'<>])+(?:=|{_PERCENT}3D)",
    re.IGNORECASE,
)
_QUERY_VALUE: Final = re.compile(r"(?:(?!%26)[^&;#\s\"'<>])*", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(
    r"token|secret|passw|passphrase|cred|signature|session|jwt|bearer|hmac|(?:api|access|private|auth)[^a-z]?key"
    r"|(?<![a-z])(?:key|auth|authorization|pass|pwd|pw|sig|otp|code)(?![a-z])",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The text without secrets, wherever they are in it.

    Each API key becomes `sk-***`, also one with percent signs. In URLs, user and password become `***@`, and the
    value of a query parameter whose name says that it is a secret becomes `***`.
    """
    # Most texts hold no character without which a pattern cannot match. To look for these costs a tenth of a search.
    is_encoded = "%" in text
    if is_encoded or "@" in text:
        text = _CREDENTIALS.sub(lambda found: found[1] + "***@", text)
    if "=" in text:
        text = _without_query_secrets(text)
    return _API_KEY.sub("sk-***", text) if is_encoded or "sk-" in text else text


def _without_query_secrets(text: str) -> str:
    """The text with `***` for the value of each query parameter that is a secret, also of a URL within a value."""
    parts, done = [], 0
    for name in _QUERY_NAME.finditer(text):
        if name.start() >= done and _SECRET_NAME.search(unquote(name[0])):
            value = _QUERY_VALUE.match(text, name.end())
            assert value is not None  # it also matches nothing
            parts += [text[done : name.end()], "***" if value[0] else ""]
            done = value.end()
    return "".join(parts) + text[done:]


def redacted_value(value: Any) -> Any:
    """A JSON value in which each text, also each name, is `redacted`."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, (list, tuple)):
        return [redacted_value(item) for item in value]
    if isinstance(value, dict):
        return {redacted(name): redacted_value(item) for name, item in value.items()}
    return value


def visible(text: str) -> str:
    """The text with every character escaped that could end a line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
