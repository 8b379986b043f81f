"""HTTP/1.1 on a connection: uvicorn's protocol with bounds, and with the error envelope for malformed HTTP."""

import asyncio
from typing import Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sora_mock.domain.errors import ApiError, envelope
from sora_mock.domain.events import MalformedRequest
from sora_mock.domain.fault import TRANSPORT

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of request line and headers; the parser itself would keep tens of MiB."""

TOO_LARGE: Final = f"The request line and headers are larger than {MAX_HEAD_BYTES // 1024} KiB"

MAX_SILENT_BYTES: Final = 1024 * 1024
"""Bytes that may arrive without a byte of a body among them, as in the trailer of a chunked one."""


class _Dropped(list[tuple[bytes, bytes]]):
    """A list that keeps nothing."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forgets the item."""


class JoinedWrites(asyncio.Transport):
    """A transport that writes once in an iteration of the event loop, when everything else of it is done.

    uvicorn writes head and body of a response one after the other. Each write wakes the client, and waking it costs
    more than most of our own work (bench/README.md).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes together with everything else of this iteration."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(bytes(data))

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        # the client may have left in between
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Writes what waits, then closes."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once; what waits is lost."""
        self._waiting.clear()
        self._transport.abort()


class Protocol(HttpToolsProtocol):
    """One connection. Where `app.state.events` is an event bus, malformed requests are published on it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.access_log = False
        self._events = getattr(getattr(self.app, "state", None), "events", None)
        self._head = 0
        self._silent = 0
        self._too_large = False
        self._upgrade = b""
        """The head of a request that asked for an upgrade, without that header."""
        self._is_open = False
        """Whether a body is still to come."""
        self._last: str | None = None
        """What is wrong with the bytes behind requests that have no response yet; nothing is read after it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client connects."""
        super().connection_made(JoinedWrites(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """Parses what arrived; bounds everything that is not a body."""
        if self._last is not None:
            return
        self._unset_keepalive_if_required()
        self._head += len(data)
        self._silent += len(data)
        try:
            while data:
                data = self._parsed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self.transport.is_closing():
            return
        if self._head > MAX_HEAD_BYTES or self._silent > MAX_SILENT_BYTES:
            self.send_400_response(TOO_LARGE)

    def _parsed(self, data: bytes) -> bytes:
        """Parses data; returns what has to be parsed after it, which is empty unless an upgrade was asked for.

        An upgrade is ignored, as RFC 9110 7.8 lets a server do: the parser would skip the body of such a request, so
        the head is parsed once more without it. Clients ask for h2c by default (Java's).
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head, self._upgrade = self._upgrade, b""
            self.parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :] if head else b""
        return b""

    def on_message_begin(self) -> None:
        """A request begins. Its scope is made when its head is complete."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """The head is complete; bodies are bounded elsewhere. Raises ValueError for a head that is too large."""
        if self._head > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._too_large = True
            raise ValueError(TOO_LARGE)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            version, method = self.parser.get_http_version().encode(), self.parser.get_method()
            self._upgrade = b"\r\n".join([method + b" " + self.url + b" HTTP/" + version, *lines, b"", b""])
            return
        self._head = -(2**62)
        self._is_open = True
        url, expected, headers = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers = self.scope["headers"] = headers
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]  # ours, in this process only
        super().on_headers_complete()
        # What arrives as a header from here on is the trailer of a chunked body, which is ignored.
        self.headers = _Dropped()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete; the next head begins."""
        self._head = self._silent = 0
        self._is_open = False
        if not self._upgrade:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next request's turn, if there is one."""
        super().on_response_complete()
        if self._last is not None and self.cycle is not None and self.cycle.response_complete:
            msg, self._last = self._last, None
            self.send_400_response(msg)

    def send_400_response(self, msg: str) -> None:
        """Responds to malformed HTTP and closes the connection; requests before it get their responses first."""
        if not self._is_open and self.cycle is not None and not self.cycle.response_complete:
            self._last = msg
            return
        known = TOO_LARGE if self._too_large or msg == TOO_LARGE else None
        body = msgspec.json.encode(envelope(ApiError(400, known)))
        if self._events is not None:
            self._events.publish(MalformedRequest(400, body))
        start = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(start.encode() + body)
        self.transport.close()
