"""How long the server waits for its clients: nothing sent, half a head, half a body, nothing read, no next request.

The limits are the constants of `runtime/connections.py`. A test shortens those that it is about and makes the others
longer than itself, on a server of its own.
"""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from sora_mock.domain.events import MalformedRequest
from sora_mock.runtime import connections
from sora_mock.server import MockServer

DEADLINE = 10.0
LIMITS = (connections.HEAD_TIMEOUT, connections.BODY_TIMEOUT, connections.IDLE_TIMEOUT)
SHORT = 0.3
LONG = 1000.0
SERVICE = b"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-slow\r\n"
CONTROL = b"POST /__mock/clock/advance HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-slow\r\n\r\n"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_TIMEOUT", "BODY_TIMEOUT", "IDLE_TIMEOUT"):
        monkeypatch.setattr(connections, name, LONG)


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, *short: str) -> Iterator[MockServer]:
    """A server whose limits of these names are short."""
    for name in short:
        monkeypatch.setattr(connections, name, SHORT)
    with MockServer(port=0, seed=1) as running:
        yield running


def connect(server: MockServer, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(DEADLINE)
    connection.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    return connection


def read_all(connection: socket.socket) -> bytes:
    raw = b""
    while chunk := connection.recv(65536):
        raw += chunk
    return raw


def read_response(connection: socket.socket) -> bytes:
    raw = b""
    while not raw.endswith(b"}"):
        chunk = connection.recv(65536)
        assert chunk
        raw += chunk
    return raw


def sent_slowly(connection: socket.socket, data: bytes) -> bytes:
    """What the server sends until it closes, to a client that sends a byte every hundredth of a second.

    A byte that arrives behind the end of the connection resets it.
    """
    for byte in data:
        if select.select([connection], [], [], 0.01)[0]:
            break
        connection.sendall(bytes([byte]))
    else:
        raise AssertionError("the server waited for everything")
    raw = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            raw += chunk
    return raw


def error_of(raw: bytes) -> dict[str, Any]:
    """The error of a 408 that ends a connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    assert b"content-type: application/json" in head
    assert b"content-length: %d" % len(body) in head
    [(name, error)] = json.loads(body).items()
    assert name == "error"
    assert error["code"] == "request_timeout"
    return dict(error)


def test_the_limits_are_those_of_the_reference() -> None:
    assert LIMITS == (30.0, 30.0, 75.0)


# --- nothing, or half a head ---


def test_a_connection_that_never_sends_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        assert read_all(connection) == b""


def test_empty_lines_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(b"\r\n\r\n")
        assert read_all(connection) == b""


@pytest.mark.parametrize("half", [b"G", b"GET /v1/credits HTTP/1.1\r\nHost: loc", SERVICE])
def test_half_a_head_is_408_in_the_envelope_of_the_service(monkeypatch: pytest.MonkeyPatch, half: bytes) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(half)
        error = error_of(read_all(connection))
        assert error["type"] == "invalid_request_error"
        assert "headers" in error["message"]


def test_half_a_head_of_a_control_request_is_408_in_its_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(CONTROL)
        assert set(error_of(read_all(connection))) == {"code", "message"}
        assert server.account().call("GET", "/requests")["requests"] == []


def test_a_head_that_arrives_byte_for_byte_has_no_longer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        error_of(sent_slowly(connection, SERVICE + b"X: " + b"a" * 10_000))


def test_half_a_head_behind_a_response_has_the_time_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(GET)
        assert read_response(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(GET[:20])
        error_of(read_all(connection))


def test_half_a_head_waits_for_the_responses_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = GET[:-2] + b"X-Mock-Scenario: slow_headers latency=0.5\r\n\r\n"
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(slow + GET[:20])
        first, _, second = read_all(connection).partition(b"}HTTP/1.1 ")
        assert first.startswith(b"HTTP/1.1 200 ")
        error_of(b"HTTP/1.1 " + second)


def test_half_a_head_is_published_for_log_and_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT") as server, connect(server) as connection:
        seen: list[MalformedRequest] = []
        server.app.state.events.subscribe(MalformedRequest, seen.append)
        connection.sendall(GET[:20])
        read_all(connection)
        assert [event.status for event in seen] == [408]


# --- half a body ---


@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("head", [SERVICE, CONTROL])
def test_half_a_body_is_408_in_the_right_envelope(monkeypatch: pytest.MonkeyPatch, head: bytes, length: bytes) -> None:
    with serving(monkeypatch, "BODY_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(head + length + b"\r\n\r\n")
        assert ("type" in error_of(read_all(connection))) is (head == SERVICE)


@pytest.mark.parametrize("head", [SERVICE, CONTROL])
def test_a_body_that_arrives_byte_for_byte_has_no_longer_time(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    with serving(monkeypatch, "BODY_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(head + b"Content-Length: 10000\r\n\r\n")
        assert ("type" in error_of(sent_slowly(connection, b" " * 9_999))) is (head == SERVICE)


@pytest.mark.parametrize("path", [b"/v1/credits", b"/__mock/clock", b"/__mock/nothing"])
def test_a_body_that_is_never_read_has_no_longer_time(monkeypatch: pytest.MonkeyPatch, path: bytes) -> None:
    head = GET.replace(b"/v1/credits", path).replace(b"\r\n\r\n", b"\r\nContent-Length: 10000\r\n\r\n")
    with serving(monkeypatch, "BODY_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(head)
        assert b"HTTP/1.1 " in read_response(connection)
        for _ in range(9_000):
            if select.select([connection], [], [], 0.01)[0]:
                break
            connection.sendall(b" ")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_half_a_body_ends_a_connection_even_while_the_application_waits_for_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = GET[:-2] + b"X-Mock-Scenario: slow_headers latency=60\r\nContent-Length: 100\r\n\r\n"
    with serving(monkeypatch, "HEAD_TIMEOUT", "BODY_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(head)
        assert read_all(connection) == b""


def test_a_client_that_leaves_in_mid_body_of_a_control_request_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(monkeypatch) as server:
        with connect(server) as connection:
            connection.sendall(CONTROL + b"Content-Length: 100\r\n\r\n{")
        with connect(server) as connection:
            connection.sendall(GET)
            read_response(connection)
    assert "Traceback" not in capfd.readouterr().err


# --- between requests, and while the server works ---


def test_a_connection_without_a_next_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT", "IDLE_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(GET)
        response = read_all(connection)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert response.count(b"HTTP/1.1") == 1


def test_between_requests_a_client_has_longer_than_for_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT", "BODY_TIMEOUT") as server, connect(server) as kept:
        kept.sendall(GET)
        read_response(kept)
        # begun later, and over: the limit of the first connection would be over as well
        with connect(server) as late:
            assert read_all(late) == b""
        kept.sendall(GET)
        assert read_response(kept).startswith(b"HTTP/1.1 200 ")


def test_the_time_that_the_server_needs_for_a_response_does_not_count_for_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = GET[:-2] + b"X-Mock-Scenario: slow_headers latency=0.8\r\n\r\n"
    with serving(monkeypatch, "HEAD_TIMEOUT", "BODY_TIMEOUT", "IDLE_TIMEOUT") as server, connect(server) as connection:
        connection.sendall(slow)
        assert read_response(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_reads_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "HEAD_TIMEOUT", "IDLE_TIMEOUT") as server, connect(server, 4096) as stuck:
        # the responses are much more than the buffers of both systems hold; sending ends when the server closes
        with pytest.raises(ConnectionError):
            stuck.sendall(GET * 1_000_000)
        with pytest.raises(ConnectionError):
            stuck.sendall(GET)
