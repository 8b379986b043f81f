"""A bounded journal: the exchanges of one account, oldest first. Keys are redacted when it is shown.

Each exchange is kept as one packed value. Its parts would be a dozen objects, and to free them after a thousand further
requests costs more than to pack them now, because the processor has forgotten them by then.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from sora_mock.domain.exchange import JSON, Exchange
from sora_mock.storage.byte_budget import AccountBytes, Counted

MAX_EXCHANGES: Final = 1_000
MAX_JOURNAL_BYTES: Final = 2 * 1024 * 1024
"""Bounds of one account's journal; beyond them the oldest exchanges are forgotten."""

MAX_BODY_BYTES: Final = 16 * 1024
"""Bytes that are kept of a request's body."""

LARGE: Final = 4096
"""Bytes of a packed exchange from which it is copied."""

OBJECT_BYTES: Final = 100
"""What an exchange counts for besides its packed value."""

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Exchange).decode


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

    def __iter__(self) -> Iterator[Exchange]:
        return map(_unpack, self._packed)

    def __reversed__(self) -> Iterator[Exchange]:
        return map(_unpack, reversed(self._packed))

    def __len__(self) -> int:
        return len(self._packed)
