"""A bounded list of what an account's clients asked and were answered; keys are redacted when it is read."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sora_mock.domain.text import redacted
from sora_mock.runtime import clock
from sora_mock.service.calls import JSON, Answer, Call

MOST_RECORDS: Final = 1_000
MOST_BYTES: Final = 2 * 1024 * 1024
"""Bounds of one account's journal; the oldest records go first."""

LONGEST_BODY: Final = 16 * 1024
"""Bytes that are kept of one body."""

_ESCAPED = re.compile(r"\\u00([0-7][0-9a-fA-F])")
_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-mock-token"}


class Record(msgspec.Struct, frozen=True):
    """One request and its answer, as they were; what is shown of them is made when it is read.

    number: counts all requests of the server. seconds: what the answer took in real time.
    size: bytes that it counts for.
    """

    number: int
    call: Call
    answer: Answer
    seconds: float
    size: int


class Journal:
    """The records of one account, oldest first."""

    __slots__ = ("_bytes", "_records")

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._bytes = 0

    def append(self, number: int, call: Call, answer: Answer) -> Record:
        """Adds a request and forgets the oldest ones beyond the bounds."""
        # 800 stand for the objects themselves
        size = 800 + len(call.path) + sum(map(len, call.headers)) + sum(map(len, call.headers.values()))
        if call.body:
            call.body = call.body[:LONGEST_BODY]
            size += len(call.body)
        if answer.media_type is JSON:
            size += len(answer.body)
        else:
            answer = msgspec.structs.replace(answer, body=b"")
        call.account = None
        record = Record(number, call, answer, clock.stopwatch() - call.started, size)
        self._records.append(record)
        self._bytes += size
        while len(self._records) > MOST_RECORDS or self._bytes > MOST_BYTES:
            self._bytes -= self._records.popleft().size
        return record

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def shown(record: Record) -> dict[str, Any]:
    """A record as `GET /__mock/requests` answers it, without keys.

    rule: which rule chose the scenario. unmatched: why queued rules did not.
    """
    call, answer = record.call, record.answer
    return {
        "number": record.number,
        "at": call.at,
        "method": call.method,
        "path": redacted(call.path),
        "status": status_sent(answer),
        "scenario": call.scenario,
        "rule": call.rule,
        "unmatched": [redacted(line) for line in call.unmatched],
        "headers": {
            name: "***" if name in _SECRET_HEADERS else redacted(value)
            for name, value in ((n.decode("latin-1"), v.decode("latin-1")) for n, v in call.headers.items())
        },
        "request": _body(call.body or b""),
        "response": None if answer.media_type is not JSON else _body(answer.body[:LONGEST_BODY]),
        "seconds": round(record.seconds, 6),
    }


def status_sent(answer: Answer) -> int | None:
    """The status that the client sees; None through a connection that is reset."""
    return None if answer.fault in ("reset_before", "reset_after") else answer.status


def _body(body: bytes) -> Any:
    """JSON where it is JSON, text where it is not, None where there was none."""
    if not body:
        return None
    try:
        # decoded first: JSON can spell a key in more ways than one
        return _redacted_value(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), body.decode("utf-8", "replace"))
        return redacted(text)


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [_redacted_value(item) for item in value]
    if isinstance(value, dict):
        return {redacted(name): _redacted_value(item) for name, item in value.items()}
    return value
