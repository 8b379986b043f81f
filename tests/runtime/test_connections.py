"""Which connection closes when there are too many, and that new clients are served with few file descriptors."""

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sora_mock.runtime.connections import RESERVED_FILES, Connections, connection_limit, waiting_limit

DEADLINE = 20.0
GET = b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-few\r\n\r\n"


class Client:
    """A connection that notes whether it was given up."""

    is_open = True

    def give_up(self) -> None:
        self.is_open = False


def test_the_connection_that_has_waited_longest_is_closed_for_a_new_one() -> None:
    connections, clients = Connections(2), [Client() for _ in range(4)]
    for count, client in enumerate(clients, 1):
        connections.admit(client, min(count, 3))
    assert [client.is_open for client in clients] == [False, False, True, True]


def test_a_connection_with_work_is_kept() -> None:
    connections, busy, idle, new = Connections(2), Client(), Client(), Client()
    connections.admit(busy, 1)
    connections.admit(idle, 2)
    connections.work(busy)
    connections.admit(new, 3)
    assert (busy.is_open, idle.is_open, new.is_open) == (True, False, True)


def test_a_connection_waits_anew_after_each_response() -> None:
    connections, first, second = Connections(2), Client(), Client()
    connections.admit(first, 1)
    connections.admit(second, 2)
    connections.work(first)
    connections.wait(first)
    connections.admit(Client(), 3)
    assert (first.is_open, second.is_open) == (True, False)


def test_a_new_connection_is_kept_where_all_others_work() -> None:
    connections, busy, new = Connections(1), Client(), Client()
    connections.admit(busy, 1)
    connections.work(busy)
    connections.admit(new, 2)
    assert busy.is_open
    assert new.is_open


resource = pytest.importorskip("resource", reason="Windows has no limit of descriptors")


@pytest.mark.parametrize(("files", "limit"), [(64, 32), (1024, 512), (20_000, 20_000 - RESERVED_FILES)])
def test_at_least_half_of_the_descriptors_are_for_clients(
    monkeypatch: pytest.MonkeyPatch, files: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connection_limit() == limit


@contextlib.contextmanager
def few_files(count: int) -> Iterator[tuple[str, int]]:
    """The address of a server process that may have so many descriptors."""
    command = f'ulimit -n {count}; exec "$0" -m sora_mock serve --port 0 --quiet'
    process = subprocess.Popen(["sh", "-c", command, sys.executable], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield "127.0.0.1", int(line.rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)


def is_served(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, DEADLINE) as connection:
        connection.sendall(GET)
        return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET[:20],
        b"POST /v1/videos/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"POST /__mock/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        GET,
    ],
    ids=["nothing", "half a head", "half a body", "half a control body", "a request"],
)
def test_with_few_descriptors_new_clients_are_served(sent: bytes) -> None:
    with few_files(64) as address, contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(address, DEADLINE))
            connection.sendall(sent)
        for _ in range(50):
            assert is_served(address)


@pytest.mark.parametrize(("files", "limit"), [(2, 1), (64, 16), (1024, 256)])
def test_a_quarter_of_the_descriptors_is_for_requests_that_wait(
    monkeypatch: pytest.MonkeyPatch, files: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert waiting_limit() == limit


def test_with_few_descriptors_new_clients_are_served_beside_many_requests_that_wait() -> None:
    wait = b"GET /__mock/inbox/a?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with few_files(64) as address, contextlib.ExitStack() as stack:
        waits = [stack.enter_context(socket.create_connection(address, DEADLINE)) for _ in range(60)]
        for connection in waits:
            connection.sendall(wait)
        for _ in range(30):
            assert is_served(address)
        # The first 16 wait. The others are rejected, or closed for the clients after them.
        replies, _, _ = select.select(waits, [], [], 0)
        assert len(replies) == 60 - 16
        texts = [connection.recv(65536) for connection in replies]
        assert any(b"503" in text and b"too_many_waiting" in text for text in texts)
        assert all(not text or b"too_many_waiting" in text for text in texts)
