"""A connection to the target for raw bytes, for requests that no HTTP client sends."""

import json
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from contract_tests.orders import CREATE, ORDER
from contract_tests.service import Service
from sora_mock.domain.text import visible

BODY = json.dumps(ORDER).encode()
MAX_WAIT = 5.0
"""Real seconds until the next bytes of the server."""
PAUSE = 0.05
"""Real seconds between two parts of a request: enough for the server to read the first one alone."""


def head(service: Service, method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
    """The head of a request with the key of the test."""
    first = (f"{method} {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {service.key}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def create_head(service: Service, *lines: str) -> bytes:
    """The head of a create request with the body `BODY`."""
    return head(service, "POST", CREATE, "Content-Type: application/json", f"Content-Length: {len(BODY)}", *lines)


def chunked(service: Service, *lines: str, trailer: bytes = b"") -> bytes:
    """A create request with the body `BODY` as one chunk."""
    start = head(service, "POST", CREATE, "Content-Type: application/json", "Transfer-Encoding: chunked", *lines)
    return start + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(BODY), BODY, trailer)


class Wire:
    """A connection to the target. Fails the test where no response comes.

    unread: the received bytes that no response has used.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.unread = b""
        self._sent = self._received = b""
        parts = urlsplit(service.target.url)
        try:
            self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), MAX_WAIT)
        except OSError as problem:
            pytest.fail(f"no connection to {service.target.url}: {problem}")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *problem: object) -> None:
        self._socket.close()
        text = "\n".join([*_lines(">", self._sent), "", *_lines("<", self._received)])
        self.service.exchanges.append(text.replace(f"{self.service.key}", "***"))

    def offer(self, data: bytes) -> bool:
        """Sends the bytes. False: the server closed the connection before it had all of them."""
        self._sent += data[:2000]
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def send(self, *parts: bytes) -> None:
        """Sends each part in a packet of its own, so that the server reads it alone."""
        for number, part in enumerate(parts):
            if number:
                self._pause()
            if not self.offer(part):
                pytest.fail(f"the server closed the connection before it read part {number + 1} of the request")

    def _pause(self) -> None:
        self._socket.settimeout(PAUSE)
        with suppress(TimeoutError):
            self._receive()
        self._socket.settimeout(MAX_WAIT)

    def read(self, *, bare: bool = False) -> httpx.Response:
        """The next response. bare: it has no body, although it may have a Content-Length."""
        response = self.read_if_whole(bare=bare)
        if response is None:
            pytest.fail(f"the connection ended before a whole response came: {self.unread[:300]!r}")
        return response

    def read_if_whole(self, *, bare: bool = False) -> httpx.Response | None:
        """The next response; None where the connection ends before the response does. Then `unread` has its bytes."""
        while b"\r\n\r\n" not in self.unread:
            if not self._more():
                return None
        start, _, body = self.unread.partition(b"\r\n\r\n")
        line, *lines = start.decode("latin-1").split("\r\n")
        status = line.split(" ")[1:2]
        headers = httpx.Headers([(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)])
        length = "0" if bare else headers.get("content-length", "0")
        if not line.startswith("HTTP/1.") or not all(each.isdecimal() for each in (*status, length)):
            pytest.fail(f"the response is not HTTP: {start[:300]!r}")
        while len(body) < int(length):
            if not self._more():
                return None
            body = self.unread.partition(b"\r\n\r\n")[2]
        self.unread = body[int(length) :]
        response = httpx.Response(int(status[0]), headers=headers, stream=httpx.ByteStream(body[: int(length)]))
        response.read()
        return response

    def rest(self) -> bytes:
        """The bytes after the last response. Fails the test where the server does not end the connection."""
        while self._more():
            pass
        return self.unread

    def _more(self) -> bool:
        """Waits for bytes. False: the connection has ended."""
        try:
            return self._receive()
        except TimeoutError:
            pytest.fail(f"the server sent nothing for {MAX_WAIT:g} s and did not end the connection")

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._received += data[:2000]
        self.unread += data
        return bool(data)


def _lines(mark: str, data: bytes) -> list[str]:
    text = data[:2000].decode("utf-8", "backslashreplace")
    return [f"{mark} {visible(line)}".rstrip() for line in text.splitlines()]


def statuses(service: Service, *parts: bytes, count: int) -> list[int]:
    """Sends the parts on a new connection and returns the statuses of `count` responses."""
    with Wire(service) as wire:
        wire.send(*parts)
        return [wire.read().status_code for _ in range(count)]
