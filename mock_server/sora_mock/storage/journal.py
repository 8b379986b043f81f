"""A bounded journal: the exchanges of one account, oldest first. Keys are redacted when it is shown.

Each exchange is kept as one packed value. Its parts would be a dozen objects, and to free them after a thousand further
requests costs more than to pack them now, because the processor has forgotten them by then.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec

from sora_mock.domain.exchange import JSON, Exchange
from sora_mock.storage.byte_budget import AccountBytes, Counted

MAX_EXCHANGES: Final = 1_000
MAX_JOURNAL_BYTES: Final = 2 * 1024 * 1024
"""Bounds of one account's journal; beyond them the oldest exchanges are forgotten."""

MAX_BODY_BYTES: Final = 16 * 1024
"""Bytes that are kept of a request's body."""

MAX_HEADER_BYTES: Final = 16 * 1024
"""Bytes of names and values that are kept of a request's headers. A header that does not fit is left out whole:
half a URL could show its password, because the @ behind it marks it."""

LARGE: Final = 4096
"""Bytes of a packed exchange from which it is copied."""

OBJECT_BYTES: Final = 100
"""What an exchange counts for besides its packed value."""

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Exchange).decode


class _Numbered(msgspec.Struct, array_like=True, gc=False):
    """The fields of an exchange up to its number, which alone is decoded."""

    method: msgspec.Raw
    path: msgspec.Raw
    headers: msgspec.Raw
    body: msgspec.Raw
    origin: msgspec.Raw
    started: msgspec.Raw
    number: int


_unpack_number: Final = msgspec.msgpack.Decoder(_Numbered).decode


class Journal(Counted):
    """Exchanges, oldest first."""

    __slots__ = ("_packed",)

    def __init__(self, account: AccountBytes | None = None) -> None:
        super().__init__(account)
        self._packed: deque[bytes] = deque()

    def append(self, exchange: Exchange) -> None:
        """Keeps a finished exchange; later changes of it are not kept."""
        if exchange.body and len(exchange.body) > MAX_BODY_BYTES:
            exchange.body = exchange.body[:MAX_BODY_BYTES]
        if exchange.media_type is not JSON:
            exchange.response_body = b""
        packed = _pack(exchange)
        if len(packed) > LARGE:
            if len(packed) > MAX_HEADER_BYTES:
                exchange.headers = _first_headers(exchange.headers)
                packed = _pack(exchange)
            # Packing leaves unused bytes behind a large value, up to as many again. A copy has none.
            packed = bytes(memoryview(packed))
        exchange.size = OBJECT_BYTES + len(packed)
        before = self.size
        self._packed.append(packed)
        self.size += exchange.size
        while len(self._packed) > MAX_EXCHANGES or self.size > MAX_JOURNAL_BYTES:
            self.size -= OBJECT_BYTES + len(self._packed.popleft())
        self._account.add(self.size - before)

    def forget_oldest(self) -> None:
        """Forgets the exchange that was appended first."""
        before = self.size
        self.size -= OBJECT_BYTES + len(self._packed.popleft())
        self._report(before)

    def newest(self, limit: int) -> list[bytes]:
        """At most `limit` exchanges, newest last, packed; later changes of the journal do not change this list."""
        return list(islice(self._packed, max(0, len(self._packed) - limit), None))

    def __iter__(self) -> Iterator[Exchange]:
        return map(_unpack, self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def unpacked(packed: bytes) -> Exchange:
    """The exchange of a packed value."""
    return _unpack(packed)


def number(packed: bytes) -> int:
    """The number of a packed exchange, at a fraction of the cost of unpacking it."""
    return _unpack_number(packed).number


def _first_headers(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers without those that do not fit into `MAX_HEADER_BYTES` with the ones before them."""
    kept, size = {}, 0
    for name, value in headers.items():
        if size + len(name) + len(value) <= MAX_HEADER_BYTES:
            kept[name] = value
            size += len(name) + len(value)
    return kept
