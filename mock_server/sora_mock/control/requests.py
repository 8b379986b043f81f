"""`/__mock/requests`: the journal, without keys and passwords."""

import itertools
import re
from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sora_mock.control.lists import lists_of
from sora_mock.control.reading import Fields, account_key, query_limit, service_of
from sora_mock.domain.exchange import JSON, Exchange
from sora_mock.domain.text import redacted, redacted_value
from sora_mock.domain.values import JSON_ERRORS
from sora_mock.runtime.clock import real_now, stopwatch
from sora_mock.storage.journal import MAX_BODY_BYTES, number, unpacked

_ESCAPED: Final = re.compile(r"\\u00([0-7][0-9a-fA-F])")
_SECRET_HEADERS: Final = {"authorization", "proxy-authorization", "cookie", "x-mock-token"}


async def show(request: Request) -> Response:
    """GET: the newest `?limit=` requests, newest first; without a key those of all accounts and of none."""
    key, storage, limit = account_key(request), service_of(request).storage, query_limit(request)
    journals = [account.journal for account in storage.accounts(key)]
    if key is None:
        journals.append(storage.anonymous)
    async with lists_of(request).build(request, key) as builder:
        heap: list[tuple[int, list[bytes]]] = []
        for journal in journals:
            await builder.pause()
            if packed := journal.newest(limit):
                heap.append((-number(packed[-1]), packed))
        return await builder.response("requests", itertools.islice(_merged(heap), limit), view)


def _merged(heap: list[tuple[int, list[bytes]]]) -> Iterator[Exchange]:
    """The exchanges of several journals, newest first; each journal is unpacked only as far as it is shown.

    heap: for each journal the negative number of its newest exchange, and its packed exchanges, newest last.
    """
    heapify(heap)
    while heap:
        _, packed = heap[0]
        yield unpacked(packed.pop())
        if packed:
            heapreplace(heap, (-number(packed[-1]), packed))
        else:
            heappop(heap)


def view(exchange: Exchange) -> Fields:
    """An exchange as the control API shows it, every key and password redacted."""
    return {
        "number": exchange.number,
        "at": exchange.at,
        "method": exchange.method,
        "path": redacted(exchange.path),
        "status": exchange.sent_status,
        "scenario": exchange.scenario,
        "rule": redacted_value(exchange.rule),
        "unmatched": [redacted(line) for line in exchange.unmatched],
        "headers": {
            name: "***" if name in _SECRET_HEADERS else redacted(value)
            for name, value in ((n.decode("latin-1"), v.decode("latin-1")) for n, v in exchange.headers.items())
        },
        "request": _body(exchange.body or b""),
        "response": None if exchange.media_type != JSON else _body(exchange.response_body[:MAX_BODY_BYTES]),
        "seconds": round(exchange.duration, 6),
        "received_at": real_now() - (stopwatch() - exchange.started),
        "frozen": exchange.is_frozen,
        "hint": exchange.hint,
    }


def _body(body: bytes) -> Any:
    """The value of a JSON body, otherwise its text; None for an empty body."""
    if not body:
        return None
    try:
        # decoded first, because JSON can spell a key in more ways than one
        return redacted_value(msgspec.json.decode(body))
    except JSON_ERRORS:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), body.decode("utf-8", "replace"))
        return redacted(text)
