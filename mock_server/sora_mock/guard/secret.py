"""The real key. The guard reads it once and removes it from everything that it sends to clients or prints."""

import base64
import re
from typing import Final

from sora_mock.guard.pricing import PLACEHOLDER

USABLE: Final = re.compile(rb"[\x21-\x7e]{8,4096}")
"""A usable key. A shorter one would match, and be replaced, in ordinary text."""


class Secret:
    """One key. Its `repr` does not show it, so no log can show it.

    Raises ValueError for bytes that cannot be a key. The error does not show them.
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
        """`data` with the placeholder in place of the key. It also finds the key in base64, in another case, and with
        any of its characters escaped for JSON or a URL."""
        return self._seen.sub(PLACEHOLDER, data)


def _spelled(code: int) -> bytes:
    """A pattern for every spelling of a character: itself, behind a backslash, `%2d`, `\\u002d`."""
    return rb"(?:\\?%b|%%%02x|\\u00%02x)" % (re.escape(bytes([code])), code, code)
