"""A connection to the target for raw bytes, for requests that no HTTP client sends."""

import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import Broken, equal
from sora_mock.verify.target import CREATE, ORDER, Target

BODY = json.dumps(ORDER).encode()


def head(target: Target, method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
    """The head of a request with the rule's key."""
    first = (f"{method} {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {target.key}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def order(target: Target, *lines: str) -> bytes:
    """The head of a create request with the usual body."""
    return head(target, "POST", CREATE, "Content-Type: application/json", f"Content-Length: {len(BODY)}", *lines)


class Wire:
    """A connection to the target. Raises Broken if no response comes."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self.connection = socket.create_connection((parts.hostname or "", parts.port or 80), 5)
        self.got = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *problem: object) -> None:
        self.connection.close()

    def send(self, *parts: bytes) -> None:
        """Sends each part in its own packet, so that the server reads it alone."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, part in enumerate(parts):
            if number:
                # this time is enough for the server to read the previous part
                self.connection.settimeout(0.05)
                with suppress(TimeoutError):
                    self.got += self.connection.recv(65536)
                self.connection.settimeout(5)
            try:
                self.connection.sendall(part)
            except OSError as problem:
                raise Broken("connection", f"closed ({problem})", "bytes are taken") from None

    def read(self, *, bare: bool = False) -> TargetResponse:
        """The next response. bare: it has no body, although it may have a Content-Length."""
        while b"\r\n\r\n" not in self.got:
            self._more()
        start, _, self.got = self.got.partition(b"\r\n\r\n")
        line, *lines = start.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        size = 0 if bare else int(headers.get("content-length", 0))
        while len(self.got) < size:
            self._more()
        body, self.got = self.got[:size], self.got[size:]
        return TargetResponse(int(line.split()[1]), headers, body)

    def _more(self) -> None:
        data = self._received()
        if not data:
            raise Broken("response", "the connection was closed", "a response")
        self.got += data

    def _received(self) -> bytes:
        try:
            return self.connection.recv(65536)
        except ConnectionResetError:
            return b""
        except OSError as problem:
            raise Broken("response", f"none ({problem})", "a response, or the end of the connection") from None

    def must_end(self) -> None:
        """Raises Broken unless the server ends the connection, with nothing more to read."""
        equal("bytes after the last response", self.got + self._received(), b"")


def statuses(target: Target, parts: Sequence[bytes], count: int) -> list[int]:
    """Sends the parts and returns the statuses of `count` responses."""
    with Wire(target) as wire:
        wire.send(*parts)
        return [wire.read().status for _ in range(count)]
