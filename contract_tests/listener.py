"""A receiver of callbacks on this machine, which keeps what came and answers bytes as they are."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from sora_mock.verify.rule import Unverified
from sora_mock.verify.target import GENERATION, Target

ROUTED = "https://hooks.example.com"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
RESET = b"(the connection is reset)"
LONGEST = 5.0


@dataclass
class Post:
    """A request that came: header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers bytes as they are, the last ones for ever, and closes after each; empty bytes are no answer."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = [*answers]
        self.posts: list[Post] = []
        self.first_bytes: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # closed alone it would still accept in the other thread
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._take(connection)
                except (OSError, ValueError):
                    continue

    def _take(self, connection: socket.socket) -> None:
        connection.settimeout(LONGEST)
        data = connection.recv(65536)
        self.first_bytes.append(data)
        while data[:1] != b"\x16" and b"\r\n\r\n" not in data:
            data += _more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += _more(connection)
        self.posts.append(Post(line, headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == RESET:
            # lingering for 0 s is what turns the close into a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.sendall(answer)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ValueError("closed")
    return data


@contextmanager
def receiving(target: Target, *answers: bytes, scheme: str = "http", path: str = "") -> Iterator[Receiver]:
    """A receiver to which callbacks to `ROUTED` are sent. Raises Unverified where the target runs elsewhere."""
    if urlsplit(target.url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Unverified("the target runs elsewhere and cannot reach a receiver on this machine")
    with Receiver(*answers) as receiver:
        target.control("PUT", "/callback-routes", {ROUTED: f"{scheme}://{receiver.origin}{path}"})
        yield receiver


def delivery(target: Target, wait: float = GENERATION + 60, url: str = f"{ROUTED}/video") -> Any:
    """The delivery of a new task's callback after its end; the task's id is in it."""
    target.created(callback_url=url)
    target.advance(wait)
    return target.control("GET", "/deliveries")["deliveries"][0]


def outcome(target: Target, wait: float = GENERATION + 60) -> tuple[str, list[int | None]]:
    """The state of a new task's delivery and the status of each attempt."""
    found = delivery(target, wait)
    return found["state"], [attempt["status"] for attempt in found["attempts"]]
