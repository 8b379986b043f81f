"""HTTP/1.1 on a connection: uvicorn's protocol with bounds in size and time, and our envelope for malformed HTTP."""

import asyncio
import math
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sora_mock.domain.authority import TARGET
from sora_mock.domain.events import MalformedRequest
from sora_mock.domain.exchange import CONTROL_PREFIX
from sora_mock.domain.fault import TRANSPORT
from sora_mock.runtime import connections
from sora_mock.runtime.connections import Connections
from sora_mock.runtime.head import DroppedHeaders, head_size
from sora_mock.runtime.joined_writes import JoinedWrites
from sora_mock.runtime.refusal import refusal

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of request line and headers; the parser itself would keep tens of MiB."""

TOO_LARGE: Final = f"The request line and headers are larger than {MAX_HEAD_BYTES // 1024} KiB"

MAX_SILENT_BYTES: Final = 1024 * 1024
"""Bytes that may arrive without a byte of a body among them, as in the trailer of a chunked one."""

MAX_PIPELINED: Final = 32
"""Requests of a connection that wait behind the one in work; then nothing is parsed or read until they are done."""

PIECE: Final = 1024
"""Bytes that are parsed at once. A piece may bring a few requests more than `MAX_PIPELINED`."""


class Protocol(HttpToolsProtocol):
    """One connection. Where `app.state.events` is an event bus, malformed requests are published on it."""

    def __init__(self, *args: Any, waiting: Connections, **more: Any) -> None:
        super().__init__(*args, **more)
        self.access_log = False
        self._events = getattr(getattr(self.app, "state", None), "events", None)
        self._waiting = waiting
        self.url = b""
        self._head = 0
        self._silent = 0
        self._too_large = False
        self._upgrade = b""
        """The head of a request that asked for an upgrade, without that header."""
        self._has_begun = False
        """Whether a head has begun and is not complete."""
        self._is_open = False
        """Whether a body is still to come."""
        self._last: tuple[int, str] | None = None
        """What is wrong with the bytes behind requests that have no response yet; nothing is read after it."""
        self._unparsed = memoryview(b"")
        """What has arrived behind as many requests as may wait."""
        self._since = 0.0
        """When the current part of a request, or the wait for a request, began; seconds of the event loop's clock."""
        self._looks_at, self._is_stopping = math.inf, False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client connects."""
        self._joined = JoinedWrites(transport, self.loop)
        super().connection_made(self._joined)
        self._waiting.admit(self, len(self.connections))
        self._since = self.loop.time()
        self._look_at(self._since + connections.HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._waiting.work(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what arrived, unless enough requests wait already; bounds everything that is not a body."""
        if self._last is not None:
            return
        if len(data) > PIECE or self._unparsed or len(self.pipeline) >= MAX_PIPELINED:
            self._unparsed = memoryview(bytes(self._unparsed) + data)
            self._parse_on()
            return
        self._parse(data)
        if self._has_begun or self._is_open:
            self._expect_rest()

    def _parse_on(self) -> None:
        """Parses in pieces: 256 KiB that arrive at once are thousands of requests, and other clients wait meanwhile."""
        while self._unparsed and self._last is None and not self.transport.is_closing():
            if len(self.pipeline) >= MAX_PIPELINED:
                self._joined.hold_reading()
                return
            piece, self._unparsed = bytes(self._unparsed[:PIECE]), self._unparsed[PIECE:]
            self._parse(piece)
        if self._joined.is_held and not self.transport.is_closing():
            # the server read nothing until now, so the client's time begins now
            self._since = self.loop.time()
            self._joined.is_held = False
            if not self.flow.read_paused:
                self._joined.resume_reading()
        self._expect_rest()

    def _parse(self, data: bytes) -> None:
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
        self._has_begun = True
        if self.cycle is not None:
            self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. The parser leaves white space at the end of the value, which RFC 9110 5.5 does not count."""
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete; bodies are bounded elsewhere. Raises ValueError for a head that is too large."""
        if self._head > MAX_HEAD_BYTES < head_size(self.url, self.headers):
            self._too_large = True
            raise ValueError(TOO_LARGE)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            version, method = self.parser.get_http_version().encode(), self.parser.get_method()
            self._upgrade = b"\r\n".join([method + b" " + self.url + b" HTTP/" + version, *lines, b"", b""])
            return
        self._head = -(2**62)
        url, expected, headers = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers = self.scope["headers"] = headers
        extensions: dict[str, Any] = {TRANSPORT: self.transport}
        if not url.startswith(b"/"):
            extensions[TARGET] = url.decode("latin-1")
        self.scope["extensions"] = extensions  # ours, in this process only
        # raises for a target that is no URL; then the head is malformed, and there is no body
        super().on_headers_complete()
        self._has_begun = False
        self._is_open = True
        self._since = self.loop.time()
        # What arrives as a header from here on is the trailer of a chunked body, which is ignored.
        self.headers = DroppedHeaders()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete; the next head begins."""
        self._head = self._silent = 0
        self._is_open = False
        if self._upgrade:
            return
        if self.cycle.response_complete:
            self._since = self.loop.time()
        else:
            self._waiting.work(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the next request, if there is one. uvicorn's method also reads on here, and sets a timer each time."""
        self.server_state.total_requests += 1
        if self._is_stopping:
            self.transport.close()
        if self.transport.is_closing():
            return
        if self.pipeline:
            # a task begins in the next iteration of the event loop: other clients have their turn before it
            self._start_asgi_task(*self.pipeline.pop())
            if self.pipeline:
                return
            self._since = self.loop.time()
        elif not self._is_open and not self._has_begun:
            self._since = self.loop.time()
        self.flow.resume_reading()
        if self.cycle.response_complete or self._is_open:
            self._waiting.wait(self)
        if self._last is not None:
            if self.cycle.response_complete or self._is_open:
                last, self._last = self._last, None
                self._refuse(*last)
        elif self._unparsed:
            self.loop.call_soon(self._parse_on)

    # --- time ---

    def _is_busy(self) -> bool:
        """Whether a request has no response yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _deadline(self) -> float:
        """The time at which the client is late; infinite where the server or the application has to act."""
        if self._unparsed or self._last is not None:
            return math.inf
        if self._has_begun:
            return self._since + connections.HEAD_TIMEOUT
        if self._is_open and not self.pipeline:
            # an application that reads the body limits its time as well, because it knows the envelope of its 408
            return self._since + connections.BODY_TIMEOUT * (2 if self._is_busy() else 1)
        if self._is_busy():
            return math.inf
        return self._since + (connections.HEAD_TIMEOUT if self.cycle is None else connections.IDLE_TIMEOUT)

    def _expect_rest(self) -> None:
        """Sets the timer if a request is incomplete. The usual request arrives whole and needs no timer."""
        if self.transport.is_closing():
            return
        if self._has_begun:
            self._look_at(self._since + connections.HEAD_TIMEOUT)
        elif self._is_open:
            self._look_at(self._since + connections.BODY_TIMEOUT)
            # the application gets what there is of the body, which may be nothing, and limits the time for the rest
            self.cycle.message_event.set()

    def _look_at(self, at: float) -> None:
        """Sets the timer to that time, unless it fires before. It is the only timer of this connection."""
        if at < self._looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self._looks_at = at
            self._timer = self.loop.call_at(at, self._look)

    def _look(self) -> None:
        """Closes the connection if its client is late; otherwise sets the timer for the next check."""
        now = self.loop.time()
        if self._joined.seconds_stuck(now) >= connections.IDLE_TIMEOUT:
            self.transport.abort()
            return
        deadline = self._deadline()
        if not self.transport.is_closing() and deadline <= now:
            if self._has_begun:
                self._refuse(408, f"The request line and headers did not arrive within {connections.HEAD_TIMEOUT:g} s")
            else:
                self.transport.close()
        self._looks_at, self._timer = math.inf, None
        self._look_at(deadline if now < deadline < math.inf else now + connections.HEAD_TIMEOUT)

    def shutdown(self) -> None:
        """The server stops: the request in work gets its response, and those that wait behind it are dropped."""
        self._is_stopping, self._unparsed, self._last = True, memoryview(b""), None
        if not self.pipeline:
            super().shutdown()
        self.pipeline.clear()

    def give_up(self) -> None:
        """Closes the connection in favour of another one."""
        if self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()

    # --- errors ---

    def send_400_response(self, msg: str) -> None:
        """Responds to malformed HTTP and closes the connection; requests before it get their responses first."""
        self._refuse(400, msg)

    def _refuse(self, status: int, msg: str) -> None:
        if self.pipeline or (not self._is_open and self._is_busy()):
            self._last = status, msg
            return
        is_control = (self._has_begun or self._is_open) and self.url.startswith(CONTROL_PREFIX.encode())
        head, body = refusal(status, TOO_LARGE if self._too_large else msg or None, is_control=is_control)
        # requests to the control API are not in the journal
        if self._events is not None and not is_control:
            self._events.publish(MalformedRequest(status, body))
        self.transport.write(head + body)
        self.transport.close()
