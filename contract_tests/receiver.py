"""A receiver of callbacks on this machine. It keeps each request and sends raw bytes as responses."""

import socket
import struct
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
RESET = b"(the connection is reset)"
MAX_SECONDS = 5.0


@dataclass
class Post:
    """A received request, header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Sends each of `responses` once, the last one again and again, and closes the connection after each one.

    Empty bytes send nothing.
    """

    def __init__(self, *responses: bytes) -> None:
        self.responses = [*responses]
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
        # after close alone, accept in the other thread would continue
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
        connection.settimeout(MAX_SECONDS)
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
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if response == RESET:
            # a linger time of 0 s makes the close a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.sendall(response)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ValueError("closed")
    return data
