"""The real key: read once by the guard, and taken out of everything that the guard gives away."""

import base64
import re
from typing import Final
from urllib.parse import quote_from_bytes

from sora_mock.verify.pricing import PLACEHOLDER

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
        encoded = {quote_from_bytes(key, safe="").encode(), base64.b64encode(key), base64.urlsafe_b64encode(key)}
        escaped = re.escape(key).replace(b"/", rb"\\?/")
        forms = [escaped, *(re.escape(form) for form in encoded)]
        self._seen = re.compile(b"|".join(forms), re.IGNORECASE)

    def __repr__(self) -> str:
        return "Secret()"

    def scrubbed(self, data: bytes) -> bytes:
        """`data` with the placeholder wherever the key stood: literally, percent-encoded, in base64 or another case."""
        return self._seen.sub(PLACEHOLDER, data)
