"""HTTP/1.1 on a connection: uvicorn's protocol with bounds, the error envelope, and a short way for whole requests.

The short way: an operation of the service is a plain function, so a request that arrived whole is answered inside
the parser's callback, without a task, an event and two messages. Whatever has to wait (a body that is still coming, a
slow reader, a fault, the control API) takes uvicorn's way, to the same endpoints. bench/ says what it is worth.
"""

import re
from typing import Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sora_mock.api import faults
from sora_mock.api.answers import head
from sora_mock.api.endpoint import Service, origin
from sora_mock.domain.errors import ApiError, envelope
from sora_mock.service.calls import Answer, Call
from sora_mock.service.emulator import Emulator

LARGEST_HEAD: Final = 64 * 1024
"""Bytes of request line and headers; the parser itself would keep tens of MiB."""

TOO_LARGE: Final = f"The request line and headers are larger than {LARGEST_HEAD // 1024} KiB"

MOST_SILENT: Final = 1024 * 1024
"""Bytes that may come without a byte of a body among them, as in the trailer of a chunked one."""

_PLAIN_PATH: Final = re.compile(rb"/v1/[A-Za-z0-9/_.~-]*")


class _Dropped(list[tuple[bytes, bytes]]):
    """A list that keeps nothing."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forgets the item."""


class Protocol(HttpToolsProtocol):
    """One connection. `app.direct` takes whole requests, None where nothing may go past `app`.

    `app.emulator` is told of what is no HTTP.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.access_log = False
        self._service: Service | None = getattr(self.app, "direct", None)
        self._emulator: Emulator | None = getattr(self.app, "emulator", None)
        self._head = 0
        self._silent = 0
        self._too_large = False
        self._upgrade = b""
        """The head of a request that asked for an upgrade, without that wish."""
        self._whole: list[bytes] | None = None
        """Parts of the body of a request that may turn out to have arrived whole; None on uvicorn's way."""
        self._is_open = False
        """Whether a body is still to come."""
        self._last: str | None = None
        """What is wrong with the bytes behind requests that are still being answered; nothing is read after it."""
        self._outbox: list[bytes] = []
        """Answers that are written when the loop's round is over."""

    def data_received(self, data: bytes) -> None:
        """Takes in what came; bounds what is no body."""
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
        if self._head > LARGEST_HEAD or self._silent > MOST_SILENT:
            self.send_400_response(TOO_LARGE)
        elif self._whole is not None:
            parts, self._whole = self._whole, None
            self._take_uvicorns_way()
            for part in parts:
                super().on_body(part)

    def _parsed(self, data: bytes) -> bytes:
        """Parses data; gives what is to be parsed after it, which is nothing unless an upgrade was asked for.

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
        """A request begins."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """The head is over: what follows is a body, bounded elsewhere. Raises ValueError for a head too large."""
        if self._head > LARGEST_HEAD and self._head_size() > LARGEST_HEAD:
            self._too_large = True
            raise ValueError(TOO_LARGE)
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != b"CONNECT":
            lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            version = self.parser.get_http_version().encode()
            self._upgrade = b"\r\n".join([method + b" " + self.url + b" HTTP/" + version, *lines, b"", b""])
            return
        self._head = -(2**62)
        self._is_open = True
        # what comes as a header from here on is the trailer of a chunked body, and that is none
        self.headers, self._sent_headers = _Dropped(), self.headers
        if self._service is not None and self._is_free() and _PLAIN_PATH.fullmatch(self.url):
            self._whole = []
        else:
            self._take_uvicorns_way()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _is_free(self) -> bool:
        """Whether nothing on this connection is under way."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and not self.expect_100_continue
            and not self.flow.write_paused
        )

    def _take_uvicorns_way(self) -> None:
        """A task of its own: for what is not there as a whole, or is not the service's."""
        self._flush()
        url, expected, dropped = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers.extend(self._sent_headers)
        # the application has to reset a connection now and then
        self.scope["extensions"] = {faults.EXTENSION: self.transport}  # type: ignore[dict-item]  # in process only
        super().on_headers_complete()
        self.headers = dropped

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._silent = 0
        if self._whole is None:
            super().on_body(body)
        else:
            self._whole.append(body)

    def on_message_complete(self) -> None:
        """The request is whole; the next head begins."""
        self._head = self._silent = 0
        self._is_open = False
        if self._upgrade:
            return
        parts, self._whole = self._whole, None
        if parts is None:
            super().on_message_complete()
        else:
            self._answer(b"".join(parts))

    def _answer(self, body: bytes) -> None:
        """The short way."""
        assert self._service is not None
        headers = dict(self._sent_headers)
        call = Call(self.parser.get_method().decode(), self.url.decode(), headers, body)
        call.origin = origin(self._service.public_url, self.server, headers)
        answer = self._service.answer(call)
        if answer.latency or answer.fault:
            self._send_later(answer, call)
            return
        keep = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        lines = [STATUS_LINE[answer.status]]
        for name, value in (*self.server_state.default_headers, *head(answer, call)):
            lines += name, b": ", value, b"\r\n"
        lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
        if call.method != "HEAD":
            lines.append(answer.body)
        if not self._outbox:
            # not at once: answers of one round of the loop wake their readers together, which is worth a third
            self.loop.call_soon(self._flush)
        self._outbox += lines
        if keep:
            self.on_response_complete()
        else:
            self._flush()
            self.transport.close()

    def on_response_complete(self) -> None:
        """The next request's turn, if there is one."""
        super().on_response_complete()
        if self._last is not None and self.cycle is not None and self.cycle.response_complete:
            msg, self._last = self._last, None
            self.send_400_response(msg)

    def _flush(self) -> None:
        """Writes what is in the outbox."""
        if self._outbox and not self.transport.is_closing():
            self.transport.write(b"".join(self._outbox))
        self._outbox.clear()

    def shutdown(self) -> None:
        """The server ends: what was answered goes out first."""
        self._flush()
        super().shutdown()

    def _send_later(self, answer: Answer, call: Call) -> None:
        """Harm takes time: uvicorn's way, with the answer that there is already."""

        async def send(scope: Any, receive: Any, send: Any) -> None:
            await faults.respond(scope, receive, send, answer, call)

        app, self.app = self.app, send
        self._take_uvicorns_way()
        self.app = app
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, and ends the connection; requests before it get their answers first."""
        if not self._is_open and self.cycle is not None and not self.cycle.response_complete:
            self._last = msg
            return
        self._whole = None
        self._flush()
        known = TOO_LARGE if self._too_large or msg == TOO_LARGE else None
        answer = Answer(400, msgspec.json.encode(envelope(ApiError(400, known))))
        if self._emulator is not None:
            # what could not be read is nobody's
            self._emulator.record(Call("-", "-", {}), answer)
        start = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(answer.body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(start.encode() + answer.body)
        self.transport.close()
