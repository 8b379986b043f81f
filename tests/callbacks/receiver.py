"""A real receiver of callbacks on a free port, as well-behaved or as hostile as a test wants it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[socket.socket, bytes], None]


def responds(status: int, headers: str = "", body: bytes = b"thanks") -> Behaviour:
    """Reads the request and responds to it."""

    def behave(connection: socket.socket, request: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        connection.sendall(head.encode() + body)

    return behave


def sends(data: bytes, *, times: int = 1) -> Behaviour:
    """Sends these bytes, again and again, until the other side has had enough."""

    def behave(connection: socket.socket, request: bytes) -> None:
        for _ in range(times):
            connection.sendall(data)

    return behave


class Receiver:
    """What came, and where to send it."""

    def __init__(self, listener: socket.socket, behave: Behaviour, tls: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self.listener = listener
        self.behave = behave
        self.tls = tls
        self.port: int = listener.getsockname()[1]
        self.over = threading.Event()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            connection.settimeout(20)
            request = read_request(connection)
            self.requests.append(request)
            self.behave(connection, request)
        except OSError:
            pass
        finally:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Head and body of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(
        next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def receiver(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for the time of the block."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        running = Receiver(listener, behave, tls)
        threading.Thread(target=running.run, daemon=True).start()
        try:
            yield running
        finally:
            running.over.set()
            listener.shutdown(socket.SHUT_RDWR)


def hangs(running: list[Receiver]) -> Behaviour:
    """Accepts, reads, and says nothing until the test is over."""

    def behave(connection: socket.socket, request: bytes) -> None:
        running[0].over.wait(20)

    return behave
