"""A bounded journal: the exchanges of one account, oldest first, as they were. Keys are redacted when it is shown."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from sora_mock.domain.exchange import JSON, Exchange

MAX_EXCHANGES: Final = 1_000
MAX_JOURNAL_BYTES: Final = 2 * 1024 * 1024
"""Bounds of one account's journal; beyond them the oldest exchanges are forgotten."""

MAX_BODY_BYTES: Final = 16 * 1024
"""Bytes that are kept of a request's body."""

OBJECT_BYTES: Final = 800
"""What an exchange counts for besides its texts."""


class Journal:
    """Exchanges, oldest first."""

    __slots__ = ("_exchanges", "_size")

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque()
        self._size = 0

    def append(self, exchange: Exchange) -> None:
        """Keeps a finished exchange, which nobody changes any more."""
        if exchange.body and len(exchange.body) > MAX_BODY_BYTES:
            exchange.body = exchange.body[:MAX_BODY_BYTES]
        if exchange.media_type is not JSON:
            exchange.response_body = b""
        headers = exchange.headers
        size = OBJECT_BYTES + len(exchange.path) + len(exchange.response_body) + len(exchange.body or b"")
        size += sum(map(len, headers)) + sum(map(len, headers.values()))
        exchange.size = size
        self._exchanges.append(exchange)
        self._size += size
        while len(self._exchanges) > MAX_EXCHANGES or self._size > MAX_JOURNAL_BYTES:
            self._size -= self._exchanges.popleft().size

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._exchanges)

    def __len__(self) -> int:
        return len(self._exchanges)
