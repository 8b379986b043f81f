"""The end of a server process under floods of lists, and the last resort where the event loop does not end."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sora_mock.runtime.clock import stopwatch
from sora_mock.server import MockServer
from tests.cli.processes import DEADLINE, Running, environment, serving
from tests.frozen import ORDER
from tests.runtime.test_pipelining import connect, get, read_statuses

LIST = b"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-list\r\n\r\n"

BUSY = """
import sys, uvicorn
from sora_mock.cli.commands import main

async def shutdown(self, sockets=None):
    while True:
        pass

uvicorn.Server.shutdown = shutdown
sys.exit(main(sys.argv[1:]))
"""
"""A server whose event loop never ends."""


def fill(running: Running, count: int) -> None:
    """So many create requests, pipelined."""
    body = json.dumps({**ORDER, "prompt": "x" * 300}).encode()
    head = (
        f"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-list\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ).encode()
    requests = [head + b"\r\n" + body] * (count - 1) + [head + b"Connection: close\r\n\r\n" + body]
    with running.connect(b"") as connection:
        sender = threading.Thread(target=connection.sendall, args=(b"".join(requests),))
        sender.start()
        assert read_statuses(connection) == [b"200"] * count
        sender.join(DEADLINE)


@contextmanager
def floods(running: Running, path: str, count: int, *, read: bool) -> Iterator[None]:
    """So many connections that send pipelined requests as long as the server takes them, and read or do not."""
    parts, piece, threads = urlsplit(running.url), LIST % path.encode() * 500, []

    def send(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(piece)
        except OSError:
            return

    def receive(connection: socket.socket) -> None:
        try:
            while connection.recv(1 << 20):
                pass
        except OSError:
            return

    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection((parts.hostname, parts.port), DEADLINE))
            for work in (send, receive) if read else (send,):
                threads.append(threading.Thread(target=work, args=(connection,), daemon=True))
                threads[-1].start()
        yield
    for thread in threads:
        thread.join(DEADLINE)


@pytest.mark.parametrize("path", ["/__mock/requests", "/__mock/tasks"])
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
def test_floods_of_lists_do_not_delay_the_end(tmp_path: Path, path: str, read: bool) -> None:
    arguments = ("serve", "--port", "0", "--quiet", "--credits", "unlimited")
    with serving(tmp_path, *arguments) as running:
        fill(running, 1000)
        with floods(running, path, 20, read=read):
            # what the server does next is in the middle of the floods
            running.get("/__mock/health")
            began = stopwatch()
            assert running.stop(signal.SIGTERM, 3)[0] == 0
            assert stopwatch() - began < 2.5


def test_a_server_whose_event_loop_does_not_end_is_ended_with_its_log_written(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, "serve", "--port", "0", "--seed", "1"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(DEADLINE, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        running = Running(process, process.stdout.readline())
        with running.connect(get("sk-last", "Connection: close")) as connection:
            assert read_statuses(connection) == [b"200"]
        began = stopwatch()
        code, _, log = running.stop(signal.SIGTERM, 4)
        assert code == 0
        assert stopwatch() - began < 2.5
        assert "/v1/credits" in log
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_when_the_server_stops_the_request_in_work_gets_its_response_and_those_behind_it_are_dropped() -> None:
    with MockServer(port=0, seed=1) as server, connect(server) as connection:
        slow = get("sk-stop", "X-Mock-Scenario: slow_headers latency=0.5")
        connection.sendall(slow + get("sk-stop") * 20)
        with connect(server) as other:
            # its response comes after the server has read the slow request
            other.sendall(get("sk-other", "Connection: close"))
            assert read_statuses(other) == [b"200"]
        server.stop()
        assert read_statuses(connection) == [b"200"]


def test_a_server_in_a_thread_does_not_end_the_process() -> None:
    names = {thread.name for thread in threading.enumerate()}
    with MockServer(port=0):
        assert {thread.name for thread in threading.enumerate()} - names <= {"sora-mock"}
