"""A bounded list of what an account's clients asked and were answered; keys are redacted when it is read."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

MOST_RECORDS: Final = 1_000
MOST_BYTES: Final = 2 * 1024 * 1024
"""Bounds of one account's journal; the oldest records go first."""

LONGEST_BODY: Final = 16 * 1024
"""Bytes that are kept of one body."""

_KEY = re.compile(r"(?<![A-Za-z0-9])sk-[^\s\"'\\,;&<>]+")
_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-mock-token"}


class Record(msgspec.Struct, frozen=True):
    """One request and its answer.

    number: counts all requests of the server. at: the account's moment. seconds: what the answer took in real time.
    rule: which rule chose the scenario. unmatched: why queued rules did not.
    """

    number: int
    at: float
    method: str
    path: str
    status: int
    scenario: str | None
    rule: str | None
    unmatched: list[str]
    headers: Mapping[bytes, bytes]
    request: bytes
    response: bytes
    seconds: float

    @property
    def size(self) -> int:
        """Bytes that it counts for; 400 stand for the record itself."""
        headers = sum(len(name) + len(value) for name, value in self.headers.items())
        return 400 + len(self.path) + len(self.request) + len(self.response) + headers


class Journal:
    """The records of one account, oldest first."""

    __slots__ = ("_bytes", "_records")

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._bytes = 0

    def append(self, record: Record) -> None:
        """Adds a record and forgets the oldest ones beyond the bounds."""
        self._records.append(record)
        self._bytes += record.size
        while len(self._records) > MOST_RECORDS or self._bytes > MOST_BYTES:
            self._bytes -= self._records.popleft().size

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def shown(record: Record) -> dict[str, Any]:
    """A record as `GET /__mock/requests` answers it, without keys."""
    return {
        "at": record.at,
        "method": record.method,
        "path": redacted(record.path),
        "status": record.status,
        "scenario": record.scenario,
        "rule": record.rule,
        "unmatched": [redacted(line) for line in record.unmatched],
        "headers": {
            name: "***" if name in _SECRET_HEADERS else redacted(value)
            for name, value in ((n.decode("latin-1"), v.decode("latin-1")) for n, v in record.headers.items())
        },
        "request": _body(record.request),
        "response": _body(record.response),
        "seconds": round(record.seconds, 6),
    }


def redacted(text: str) -> str:
    """The text with every API key in it replaced by `sk-***`."""
    return _KEY.sub("sk-***", text)


def _body(body: bytes) -> Any:
    """JSON where it is JSON, text where it is not, None where there was none."""
    if not body:
        return None
    try:
        # decoded first: JSON can spell a key in more ways than one
        return _redacted_value(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return redacted(body.decode("utf-8", "replace"))


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [_redacted_value(item) for item in value]
    if isinstance(value, dict):
        return {redacted(name): _redacted_value(item) for name, item in value.items()}
    return value
