"""A flood of pipelined requests on one connection: what waits is bounded, and other clients have their turn."""

import select
import socket
from collections.abc import Iterator
from itertools import groupby
from threading import Event, Thread

import pytest

from sora_mock.domain.exchange import Exchange
from sora_mock.runtime.protocol import MAX_PIPELINED, PIECE
from sora_mock.server import MockServer

DEADLINE = 30.0
SMALLEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def server() -> Iterator[MockServer]:
    """A server of its own, whose events a test follows."""
    with MockServer(port=0, seed=1) as running:
        yield running


def connect(server: MockServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), DEADLINE)


def get(key: str, *headers: str) -> bytes:
    lines = ["GET /v1/credits HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def read_statuses(connection: socket.socket) -> list[bytes]:
    """The statuses of all responses until the server closes."""
    raw = bytearray()
    while chunk := connection.recv(65536):
        raw += chunk
    return [part[:3] for part in bytes(raw).split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("one", [SMALLEST, get("sk-flood")])
def test_few_requests_of_a_flood_wait_in_the_server(server: MockServer, one: bytes) -> None:
    waiting: list[int] = []

    def count(exchange: Exchange) -> None:
        assert server._server is not None
        waiting.extend(len(each.pipeline) for each in server._server.server_state.connections)  # type: ignore[union-attr]

    server.app.state.events.subscribe(Exchange, count)
    with connect(server) as connection:
        sender = Thread(target=connection.sendall, args=(one * 10_000 + get("sk-flood", "Connection: close"),))
        sender.start()
        assert len(read_statuses(connection)) == 10_001
        sender.join(DEADLINE)
    assert max(waiting) <= MAX_PIPELINED + PIECE // len(one) + 1


def test_behind_a_slow_response_the_server_reads_no_flood(server: MockServer) -> None:
    with connect(server) as connection:
        connection.sendall(get("sk-flood", "X-Mock-Scenario: slow_headers latency=60"))
        connection.setblocking(False)
        # the buffers of the system hold a few MiB
        piece, sent = get("sk-flood") * 10_000, 0
        while sent < 64 * 1024 * 1024 and select.select([], [connection], [], 0.5)[1]:
            sent += connection.send(piece)
    assert sent < 64 * 1024 * 1024


def test_no_client_gets_more_than_32_responses_in_a_row(server: MockServer) -> None:
    order: list[str] = []
    is_stopped, all_is_sent = Event(), Event()

    def note(exchange: Exchange) -> None:
        order.append(exchange.headers[b"authorization"].decode())
        if order == ["Bearer sk-gate"]:
            # the whole server stops here until everything has arrived
            is_stopped.set()
            all_is_sent.wait(DEADLINE)

    server.app.state.events.subscribe(Exchange, note)
    with connect(server) as gate, connect(server) as flood, connect(server) as other:
        gate.sendall(get("sk-gate", "Connection: close"))
        assert is_stopped.wait(DEADLINE)
        flood.sendall(get("sk-flood") * 1_000 + get("sk-flood", "Connection: close"))
        other.sendall(get("sk-other") * 50 + get("sk-other", "Connection: close"))
        all_is_sent.set()
        assert read_statuses(other) == [b"200"] * 51
        assert read_statuses(flood) == [b"200"] * 1_001
    last = len(order) - order[::-1].index("Bearer sk-other")
    runs = [len(list(run)) for _, run in groupby(order[order.index("Bearer sk-other") : last])]
    assert max(runs) <= MAX_PIPELINED


def test_garbage_behind_many_requests_is_refused_after_their_responses(server: MockServer) -> None:
    with connect(server) as connection:
        connection.sendall(get("sk-flood") * 200 + b"GARBAGE\r\n\r\n" + get("sk-flood") * 200)
        assert read_statuses(connection) == [b"200"] * 200 + [b"400"]


def test_large_bodies_among_many_requests_stay_whole(server: MockServer) -> None:
    body = b'{"seconds": 0}' + b" " * 100_000
    head = "\r\n".join(
        ["POST /__mock/clock/advance HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "", ""]
    )
    sent = (head.encode() + body + get("sk-flood") * 50) * 5 + get("sk-flood", "Connection: close")
    with connect(server) as connection:
        sender = Thread(target=connection.sendall, args=(sent,))
        sender.start()
        assert read_statuses(connection) == ([b"200"] * 51) * 5 + [b"200"]
        sender.join(DEADLINE)


def test_a_client_that_leaves_in_mid_flood_disturbs_no_other_client(server: MockServer) -> None:
    with connect(server) as connection:
        connection.sendall(get("sk-flood") * 1_000)
        connection.recv(1000)
    with connect(server) as connection:
        connection.sendall(get("sk-other", "Connection: close"))
        assert read_statuses(connection) == [b"200"]


@pytest.mark.parametrize(
    "malformed",
    [
        b"GARBAGE\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["line", "target", "chunk"],
)
def test_what_is_malformed_is_refused_after_the_response_before_it(server: MockServer, malformed: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(get("sk-flood", "X-Mock-Scenario: slow_headers latency=0.2") + malformed)
        assert read_statuses(connection) == [b"200", b"400"]
