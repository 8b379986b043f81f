"""The bytes of responses on a connection: how often the server writes, in which order, and what a close cuts off."""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest

from sora_mock.runtime.joined_writes import JoinedWrites
from sora_mock.server import MockServer
from tests.conftest import ORDER, Api

DEADLINE = 10.0
TCP_INFO = 11
"""The option of a Linux socket that counts its segments; Python names it only on Linux."""

DATA_SEGMENTS = struct.Struct("=152xI")
"""`tcpi_data_segs_in` of Linux's `struct tcp_info`: segments with data that have arrived."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the segments of a connection")


def segments(connection: socket.socket) -> int:
    """How many segments with data have arrived; without Nagle's algorithm each small write is one."""
    info = connection.getsockopt(socket.IPPROTO_TCP, TCP_INFO, DATA_SEGMENTS.size)
    return int(DATA_SEGMENTS.unpack(info)[0])


def read_all(connection: socket.socket) -> bytes:
    raw = b""
    while chunk := connection.recv(65536):
        raw += chunk
    return raw


def statuses_and_bodies(raw: bytes) -> list[tuple[int, bytes]]:
    """Every response of a connection in its order; each has a Content-Length, and nothing follows the last one."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").lower().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        length = int(headers["content-length"])
        assert len(raw) >= length, "the body is not complete"
        found.append((int(line.split()[1]), raw[:length]))
        raw = raw[length:]
    return found


# --- the transport alone, on real sockets ---


class _Scripted(asyncio.Protocol):
    """A connection on which `script` runs as soon as a client sends something."""

    def __init__(self, script: Callable[[JoinedWrites], None]) -> None:
        self.script = script

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = JoinedWrites(transport, asyncio.get_running_loop())

    def data_received(self, data: bytes) -> None:
        self.script(self.transport)


@contextmanager
def scripted(script: Callable[[JoinedWrites], None]) -> Iterator[socket.socket]:
    """A connection to a real server, after the client has sent something."""
    loop, ready, addresses = asyncio.new_event_loop(), Event(), []
    stopped = asyncio.Event()

    async def serve() -> None:
        server = await loop.create_server(lambda: _Scripted(script), "127.0.0.1", 0)
        async with server:
            addresses.append(server.sockets[0].getsockname())
            ready.set()
            await stopped.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        with socket.create_connection(addresses[0], DEADLINE) as connection:
            connection.sendall(b"go")
            yield connection
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(DEADLINE)
        loop.close()


@linux
def test_the_writes_of_one_round_are_one_write_in_their_order() -> None:
    def script(transport: JoinedWrites) -> None:
        for part in (b"a", bytearray(b"b"), memoryview(b"c")):
            transport.write(part)
        transport.close()

    with scripted(script) as connection:
        assert read_all(connection) == b"abc"
        assert segments(connection) == 1


def test_what_is_written_later_follows_what_was_written_before() -> None:
    def script(transport: JoinedWrites) -> None:
        transport.write(b"1")
        transport.write(b"2")
        asyncio.get_running_loop().call_later(0.01, finish, transport)

    def finish(transport: JoinedWrites) -> None:
        transport.write(b"3")
        transport.close()

    with scripted(script) as connection:
        assert read_all(connection) == b"123"


def test_a_buffer_may_change_after_it_was_written() -> None:
    def script(transport: JoinedWrites) -> None:
        data = bytearray(b"before")
        transport.write(data)
        data[:] = b"after!"
        transport.close()

    with scripted(script) as connection:
        assert read_all(connection) == b"before"


def test_a_close_sends_everything_that_waits_first() -> None:
    large = b"x" * (4 * 1024 * 1024)

    def script(transport: JoinedWrites) -> None:
        transport.write(b"head")
        transport.write(large)
        transport.close()

    with scripted(script) as connection:
        assert read_all(connection) == b"head" + large


def test_an_abort_drops_what_waits() -> None:
    def script(transport: JoinedWrites) -> None:
        transport.write(b"never sent")
        transport.abort()

    with scripted(script) as connection:
        try:
            received = read_all(connection)
        except ConnectionResetError:
            received = b""
        assert received == b""


def test_a_transport_that_is_closed_says_so() -> None:
    seen = []

    def script(transport: JoinedWrites) -> None:
        seen.append(transport.is_closing())
        transport.close()
        seen.append(transport.is_closing())

    with scripted(script) as connection:
        read_all(connection)
    assert seen == [False, True]


# --- responses of the server ---


@contextmanager
def connected(api: Api) -> Iterator[socket.socket]:
    parts = urlsplit(str(api.client.base_url))
    assert parts.hostname
    assert parts.port
    with socket.create_connection((parts.hostname, parts.port), DEADLINE) as connection:
        yield connection


def request(api: Api, method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.key}", *headers, *length, "", ""]
    return "\r\n".join(lines).encode() + body


def create_request(api: Api) -> bytes:
    return request(api, "POST", "/v1/videos/generations", body=json.dumps(ORDER).encode())


def finished_file(api: Api) -> str:
    """The path of a result file."""
    task_id = api.new_task(prompt="A cat [[mock:instant]]")
    return urlsplit(str(api.task(task_id)["results"][0])).path


@linux
@pytest.mark.parametrize("kind", ["create", "query", "error", "malformed"])
def test_head_and_body_of_a_response_are_one_write(api: Api, kind: str) -> None:
    sent = {
        "create": create_request(api),
        "query": request(api, "GET", "/v1/credits"),
        "error": request(api, "GET", "/v1/nothing"),
        "malformed": b"GARBAGE\r\n\r\n",
    }[kind]
    with connected(api) as connection:
        connection.sendall(sent)
        # one read ends as soon as there is anything, and a second write would be counted by then or by the end
        raw = connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        raw += read_all(connection)
        [(_, body)] = statuses_and_bodies(raw)
        assert body
        assert segments(connection) == 1


def test_pipelined_requests_get_their_responses_in_order(api: Api) -> None:
    path = finished_file(api)
    film = api.client.get(path).content
    kinds = {
        200: request(api, "GET", "/v1/credits"),
        404: request(api, "GET", "/v1/nothing"),
        206: request(api, "GET", path, "Range: bytes=0-999"),
        400: create_request(api).replace(b"sora-2", b"sora-0"),
    }
    order = [200, 404, 206, 400, 206, 200, 400, 404] * 8
    with connected(api) as connection:
        last = request(api, "GET", path, "Connection: close")
        connection.sendall(b"".join(kinds[status] for status in order) + last)
        found = statuses_and_bodies(read_all(connection))
    assert [status for status, _ in found] == [*order, 200]
    assert all(body == film[:1000] for status, body in found if status == 206)
    assert found[-1][1] == film


def test_a_response_that_takes_longer_holds_up_those_behind_it(api: Api) -> None:
    slow = request(api, "GET", "/v1/credits", "X-Mock-Scenario: slow_headers latency=0.1")
    with connected(api) as connection:
        connection.sendall(slow + create_request(api) + request(api, "GET", "/v1/nothing", "Connection: close"))
        found = statuses_and_bodies(read_all(connection))
    assert [status for status, _ in found] == [200, 200, 404]
    assert b"remaining_credits" in found[0][1]


def test_a_malformed_request_comes_after_the_responses_before_it(api: Api) -> None:
    with connected(api) as connection:
        connection.sendall(request(api, "GET", "/v1/credits") + create_request(api) + b"GARBAGE\r\n\r\n")
        found = statuses_and_bodies(read_all(connection))
    assert [status for status, _ in found] == [200, 200, 400]


@pytest.mark.parametrize("last", ["Connection: close", "X: HTTP/1.0"])
def test_a_response_before_the_end_of_the_connection_is_complete(api: Api, last: str) -> None:
    path = finished_file(api)
    film = api.client.get(path).content
    sent = request(api, "GET", path, last)
    if last.endswith("1.0"):
        sent = sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with connected(api) as connection:
        connection.sendall(sent)
        assert statuses_and_bodies(read_all(connection)) == [(200, film)]


def test_a_reset_sends_no_byte_of_the_response(api: Api) -> None:
    with connected(api) as connection:
        connection.sendall(request(api, "GET", "/v1/credits", "X-Mock-Scenario: response_lost"))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_client_that_reads_late_gets_everything() -> None:
    """More than all buffers hold waits in the server."""
    with MockServer(port=0, seed=1) as server:
        port = int(server.url.rsplit(":", 1)[1])
        count = 4_000
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(DEADLINE)
            connection.connect(("127.0.0.1", port))
            one = b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n"
            last = b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            sender = Thread(target=connection.sendall, args=(one * count + last,))
            sender.start()
            found = statuses_and_bodies(read_all(connection))
            sender.join(DEADLINE)
    assert [status for status, _ in found] == [404] * (count + 1)
