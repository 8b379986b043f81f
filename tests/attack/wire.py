"""Bytes to a server and back: requests that no HTTP library sends, and time limits on each read."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

DEADLINE = 10.0
CREATE = "/v1/videos/generations"
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}


@dataclass(frozen=True)
class Reply:
    """One response. status: 0 where the server closed the connection without one, -1 where none came in time."""

    status: int
    body: bytes = b""
    head: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """A request with exactly these headers, and a Content-Length where it has a body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    length = f"Content-Length: {len(body)}\r\n" if body or method not in ("GET", "HEAD", "DELETE") else ""
    return f"{method} {path} HTTP/1.1\r\n{lines}{length}\r\n".encode() + body


def usual(key: str | None = None, **more: str) -> list[tuple[str, str]]:
    """The headers of a good request."""
    headers = [("Host", "localhost")]
    if key is not None:
        headers.append(("Authorization", f"Bearer {key}"))
    return headers + [(name.replace("_", "-"), value) for name, value in more.items()]


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """The next response of a connection, without a 100 before it."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return Reply(0, data)
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head[9:12])
        length = 0
        if method != "HEAD":
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
        while len(body) < length:
            part = connection.recv(65536)
            if not part:
                return Reply(0, body, head)
            body += part
    except TimeoutError:
        return Reply(-1)
    except OSError:
        return Reply(0)
    return Reply(status, body, head)


class Client:
    """A client that keeps its connection, and opens another one after the server has closed it."""

    def __init__(self, port: int, deadline: float = DEADLINE) -> None:
        self.port, self.deadline = port, deadline
        self.connection: socket.socket | None = None

    def send(self, data: bytes, method: str = "GET") -> Reply:
        """Sends the bytes as they are and reads one response."""
        fresh = self.connection is None
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port), self.deadline)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            self.connection.sendall(data)
        reply = read_reply(self.connection, method)
        if reply.status <= 0 or b"connection: close" in reply.head.lower():
            self.close()
            if reply.status == 0 and not fresh and not reply.head:
                # the server had closed the idle connection before
                return self.send(data, method)
        return reply

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def ask(self, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Reply:
        """A good request. body: sent as JSON; None sends none."""
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            headers.setdefault("Content_Type", "application/json")
        return self.send(request(method, path, usual(key, **headers), content), method)

    def create(self, key: str, **fields: Any) -> str:
        """A new task of the account. Raises RuntimeError where the server does not create it."""
        reply = self.ask("POST", CREATE, key, {**ORDER, **fields})
        if reply.status != 200:
            raise RuntimeError(f"a good create request got {reply.status}: {reply.body[:200]!r}")
        return str(reply.json()["id"])


class Waits:
    """How long an ordinary client waited for its responses while something else went on, in real seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0

    @property
    def longest(self) -> float:
        return max(self.seconds, default=float("inf"))


@contextmanager
def ordinary_client(port: int, key: str = "sk-ordinary") -> Iterator[Waits]:
    """A client in a thread that reads its balance again and again until the end of the block."""
    waits, over = Waits(), threading.Event()

    def ask() -> None:
        client = Client(port)
        while not over.is_set():
            began = perf_counter()
            try:
                waits.failed += client.ask("GET", "/v1/credits", key).status != 200
            except OSError:
                waits.failed += 1
            waits.seconds.append(perf_counter() - began)
            over.wait(0.002)
        client.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join(DEADLINE + 1)
