"""The real key: read once by the guard, and taken out of everything that the guard gives away."""

import base64
import re
from typing import Final

from sora_mock.guard.pricing import PLACEHOLDER

USABLE: Final = re.compile(rb"[\x21-\x7e]{8,4096}")
"""Shorter ones would be found, and replaced, everywhere."""


class Secret:
    """One key. It has no text of its own, so that no log can show it.

    Raises ValueError, without naming it, for what cannot be a key.
    """

    def __init__(self, key: bytes) -> None:
        if not USABLE.fullmatch(key) or key == PLACEHOLDER:
            raise ValueError("it holds no key (8 to 4096 visible ASCII characters)")
        self.key = key
        encoded = {base64.b64encode(key), base64.urlsafe_b64encode(key)}
        forms = [b"".join(map(_spelled, key)), *map(re.escape, encoded)]
        self._seen = re.compile(b"|".join(forms), re.IGNORECASE)

    def __repr__(self) -> str:
        return "Secret()"

    def scrubbed(self, data: bytes) -> bytes:
        """`data` with the placeholder wherever the key stood: as it is, escaped for JSON or a URL, whole or in part, in
        base64, in another case."""
        return self._seen.sub(PLACEHOLDER, data)


def _spelled(code: int) -> bytes:
    """A pattern for every spelling of a character: itself, behind a backslash, `%2d`, `\\u002d`."""
    return rb"(?:\\?%b|%%%02x|\\u00%02x)" % (re.escape(bytes([code])), code, code)
