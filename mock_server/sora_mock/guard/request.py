"""A raw request as the guard sees it before the send, the class of its key, and what a strict parser reads."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Headers = Sequence[tuple[bytes, bytes]]
KeyClass = Literal["live", "none", "invalid", "other"]

PLACEHOLDER: Final = b"contract-live"
_PLACEHOLDER: Final = re.compile(rb"(?<![A-Za-z0-9._~+/=-])" + PLACEHOLDER + rb"(?![A-Za-z0-9._~+/=-])")
CREDENTIAL_HEADERS: Final = {b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"api-key"}
_FORWARDED: Final = {
    b"authorization": re.compile(rb".*", re.DOTALL),
    b"content-type": re.compile(rb".*", re.DOTALL),
    b"content-encoding": re.compile(rb".*", re.DOTALL),
    b"idempotency-key": re.compile(rb".*", re.DOTALL),
    b"range": re.compile(rb"bytes=[0-9,-]+"),
    b"x-mock-scenario": re.compile(rb"[a-z]+(?:_[a-z]+)+"),
}
"""The headers that the guard forwards, by lower-case name, and their values. No other header can change a price."""
_CREDENTIAL: Final = re.compile(rb"(?:(?:bearer|basic)[ \t]+)?[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_IDEMPOTENCY_KEY: Final = re.compile(rb"[A-Za-z0-9._-]*")
_JSON: Final = re.compile(rb"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)

NOT_PLAIN: Final = object()
"""The value of a body that is not plain JSON."""


@dataclass(frozen=True)
class GuardedRequest:
    """A request before the send. path: raw, without query. headers: names in lower case. key: the class of its key."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    key: KeyClass

    def values(self, name: bytes) -> list[bytes]:
        """The values of one header, stripped."""
        return [value.strip() for each, value in self.headers if each == name]

    @property
    def unclear_header(self) -> str | None:
        """A header that holds more than its one value, so a service could find an order in it. None if there is none.

        The headers that `forwarded` leaves out are not looked for, and the body's headers have their own checks.
        """
        for name, form in ((b"authorization", _CREDENTIAL), (b"idempotency-key", _IDEMPOTENCY_KEY)):
            given = self.values(name)
            if len(given) > 1 or not all(form.fullmatch(value) for value in given):
                return name.decode().title()
        return None

    @property
    def is_encoded(self) -> bool:
        """Whether the body has a Content-Encoding."""
        return bool({value.lower() for value in self.values(b"content-encoding")} - {b"identity", b""})

    @property
    def may_be_json(self) -> bool:
        """Whether no content type says that the body is something else than JSON in UTF-8."""
        given = self.values(b"content-type")
        return len(given) <= 1 and all(_JSON.fullmatch(value) for value in given)

    def plain_json(self) -> Any:
        """The JSON value of the body, `NOT_PLAIN` if parsers could disagree: a name twice, NaN, not UTF-8, too deep."""
        try:
            return json.loads(self.body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return NOT_PLAIN


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # some parsers ignore the case of names
    if len({name.casefold() for name, _ in pairs}) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def key_class(headers: Headers, key: bytes) -> KeyClass:
    """The kind of key that a request has: the live one (or its placeholder), none, an invalid one, or another one.

    Keys of the service begin with `sk-`. The service must reject every other credential.
    """
    given = [value for name, value in headers if name in CREDENTIAL_HEADERS and value.strip()]
    if any(_PLACEHOLDER.search(value) or key in value for value in given):
        return "live"
    if any(re.search(rb"(?<![A-Za-z0-9])sk-", value) for _, value in headers):
        return "other"
    return "invalid" if given else "none"


def forwarded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers that go to the service. headers: names in lower case. Every other header is left out."""
    return [(name, value) for name, value in headers if name in _FORWARDED and _FORWARDED[name].fullmatch(value)]


def with_key(headers: Headers, key: bytes) -> list[tuple[bytes, bytes]]:
    """The headers with the real key in place of the placeholder. Only Authorization changes."""
    return [
        (name, _PLACEHOLDER.sub(lambda _: key, value) if name == b"authorization" else value) for name, value in headers
    ]
