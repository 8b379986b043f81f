"""Bytes that no honest client sends: every refusal is a JSON envelope, and the server lives on."""

import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sora_mock.server import MockServer
from tests.conftest import ORDER, Api

DEADLINE = 10.0
KEY = b"Authorization: Bearer sk-hostile\r\n"
HOST = b"Host: localhost\r\n"
MIB = 1024 * 1024
BODY = json.dumps(ORDER).encode()


class Reply:
    """One response as it came: status, headers by lower-case name, body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        assert line.startswith("HTTP/1.1 "), raw[:200]
        self.status = int(line.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}

    @property
    def error(self) -> Any:
        """The refusal's envelope, which must be a whole one."""
        assert self.status >= 400
        assert self.headers["content-type"] == "application/json", self.body[:200]
        assert int(self.headers["content-length"]) == len(self.body)
        body = json.loads(self.body)
        assert list(body) == ["error"]
        assert {"code", "message", "type"} <= set(body["error"])
        return body["error"]


@contextmanager
def connected(server: MockServer, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    parts = urlsplit(server.url)
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE)
        connection.connect((parts.hostname, parts.port))
        yield connection


def read_reply(connection: socket.socket, *, head_only: bool = False, at_once: int = 65536) -> bytes:
    """The bytes of exactly one response, by its content-length."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        chunk = connection.recv(at_once)
        assert chunk, f"closed after {raw[:200]!r}"
        raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    length = 0 if head_only else int(Reply(head + b"\r\n\r\n").headers["content-length"])
    while len(body) < length:
        chunk = connection.recv(at_once)
        assert chunk, f"closed {length - len(body)} bytes early"
        body += chunk
    return head + b"\r\n\r\n" + body


def talk(server: MockServer, *parts: bytes, head_only: bool = False) -> Reply:
    """Sends the parts and reads one response."""
    with connected(server) as connection:
        for part in parts:
            connection.sendall(part)
        return Reply(read_reply(connection, head_only=head_only))


def request(method: str, path: str, *headers: bytes, body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    lines = b"".join(header + b"\r\n" for header in headers)
    return f"{method} {path} HTTP/1.1\r\n".encode() + HOST + KEY + lines + length + b"\r\n" + body


def create_request(body: bytes, *headers: bytes) -> bytes:
    return request("POST", "/v1/videos/generations", *headers, body=body)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.fixture(autouse=True)
def _it_lives_on(server: MockServer) -> Iterator[None]:
    """After each abuse the server responds to an ordinary request."""
    yield
    assert talk(server, request("GET", "/v1/credits")).status == 200
    assert talk(server, create_request(BODY)).status in (200, 402)


# --- what is not HTTP ---


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / FTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"FETCH / HTTP/1.1\r\n\r\n",
        b"GET v1/credits HTTP/1.1\r\n\r\n",
        b"GET ?x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nna me: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\n\r\n",
        "GET /é HTTP/1.1\r\n\r\n".encode(),
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/videos/generations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"POST /v1/videos/generations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_http_is_400_in_the_envelope_and_ends_the_connection(server: MockServer, raw: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(raw)
        reply = Reply(read_reply(connection))
        assert reply.status == 400
        assert reply.error["type"] == "invalid_request_error"
        assert reply.headers["connection"] == "close"
        assert connection.recv(1) == b""


def test_malformed_http_after_a_good_request_gets_both_responses(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(request("GET", "/v1/credits"))
        assert Reply(read_reply(connection)).status == 200
        connection.sendall(b"GARBAGE\r\n\r\n")
        assert Reply(read_reply(connection)).error


def test_a_head_that_does_not_end_is_refused_beyond_64_kib(server: MockServer) -> None:
    lines = [b"X-Header-%d: %s\r\n" % (number, b"a" * 1000) for number in range(66)]
    assert talk(server, b"GET /v1/credits HTTP/1.1\r\n" + b"".join(lines[:60]), b"".join(lines[60:])).error


def test_a_head_over_64_kib_is_refused_when_it_arrives_at_once(server: MockServer) -> None:
    assert talk(server, request("GET", "/v1/credits", b"X-Large: " + b"a" * 70_000)).status in (400, 431)


def test_a_head_of_16_kib_is_accepted(server: MockServer) -> None:
    assert talk(server, request("GET", "/v1/credits", b"X-Large: " + b"a" * 16_000)).status == 200


def test_a_large_body_is_no_large_head(server: MockServer) -> None:
    assert talk(server, create_request(BODY + b" " * 200_000)).status in (200, 402)


def test_an_endless_path_is_refused(server: MockServer) -> None:
    assert talk(server, b"GET /" + b"a" * 65_400, b"a" * 5000).error


def test_a_trailer_is_no_header(server: MockServer) -> None:
    head = b"POST /v1/videos/generations HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    assert talk(server, head + body + KEY + b"\r\n").status == 401


def test_a_slow_head_is_read_to_its_end(server: MockServer) -> None:
    raw = request("GET", "/v1/credits")
    assert talk(server, *(raw[place : place + 1] for place in range(len(raw)))).status == 200


# --- methods and targets ---


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "HEAD", "PROPFIND", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/videos/generations", "/v1/credits", "/v1/tasks/task-unified-x"])
def test_a_rare_method_on_a_route_is_405_with_allow(server: MockServer, method: str, path: str) -> None:
    reply = talk(server, request(method, path), head_only=method == "HEAD")
    assert reply.status == 405
    assert reply.headers["allow"] in ("GET", "POST", "GET, HEAD")
    if method == "HEAD":
        assert reply.body == b""
    else:
        assert reply.error


def test_a_head_request_leaves_the_connection_usable(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(request("HEAD", "/v1/nothing"))
        assert Reply(read_reply(connection, head_only=True)).status == 404
        connection.sendall(request("GET", "/v1/credits"))
        assert Reply(read_reply(connection)).status == 200


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_an_asterisk_target_is_refused_in_the_envelope(server: MockServer, method: str) -> None:
    assert talk(server, request(method, "*")).error


def test_an_absolute_target_is_its_path(server: MockServer) -> None:
    assert talk(server, request("GET", "http://localhost/v1/credits")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//v1/credits",
        "/v1//credits",
        "/v1/../v1/credits",
        "/v1/credits%0A",
        "/%0A",
        "/a%0Ab",
        "/%00",
        "/v1/credits%00",
        "/%ff%fe",
        "/%C3%A9",
    ],
)
def test_a_strange_path_is_an_unknown_route(server: MockServer, path: str) -> None:
    reply = talk(server, request("GET", path))
    assert reply.status == 404
    assert "Invalid URL (GET /" in reply.error["message"]


@pytest.mark.parametrize("task_id", ["%00", "%ff", "task-unified-%00", "task-unified-%ED%A0%80", "task-unified-%C3%A9"])
def test_a_strange_task_id_is_refused_in_the_envelope(server: MockServer, task_id: str) -> None:
    assert talk(server, request("GET", f"/v1/tasks/{task_id}")).error["code"] in ("invalid_task_id", "task_not_found")


def test_a_path_cannot_break_the_envelope(server: MockServer) -> None:
    reply = talk(server, request("GET", "/%22%7D%0D%0ASet-Cookie:x%3Cscript%3E"))
    assert reply.status == 404
    assert "<script>" not in reply.error["message"]
    assert "set-cookie" not in reply.headers


def test_http_1_0_without_a_host_gets_a_response_and_is_closed(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /v1/credits HTTP/1.0\r\n" + KEY + b"\r\n")
        assert Reply(read_reply(connection)).status == 200
        assert connection.recv(1) == b""


def test_without_a_host_a_result_link_names_the_servers_own_address(server: MockServer, api: Api) -> None:
    key = b"Authorization: Bearer %s\r\n" % api.key.encode()
    head = b"POST /v1/videos/generations HTTP/1.0\r\n" + key + b"Content-Length: %d\r\n\r\n" % len(BODY)
    task_id = json.loads(talk(server, head + BODY).body)["id"]
    api.account.clock.advance(5)
    [url] = api.task(task_id)["results"]
    assert url.startswith(server.url + "/files/")
    assert httpx.get(url, timeout=DEADLINE).status_code == 200


def test_without_a_host_a_result_link_of_an_ipv6_server_can_be_called() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with MockServer(port=0, host="::1") as own, httpx.Client(base_url=own.url) as client:
        api = Api(client, "sk-hostile")
        api.account.clock.freeze()
        parts = urlsplit(own.url)
        with socket.create_connection((parts.hostname, parts.port), DEADLINE) as connection:
            head = b"POST /v1/videos/generations HTTP/1.0\r\n" + KEY + b"Content-Length: %d\r\n\r\n" % len(BODY)
            connection.sendall(head + BODY)
            task_id = json.loads(Reply(read_reply(connection)).body)["id"]
        api.account.clock.advance(5)
        assert api.task(task_id)["results"][0].startswith(own.url + "/files/")


def test_an_upgrade_is_not_followed(server: MockServer) -> None:
    reply = talk(server, request("GET", "/v1/credits", b"Connection: Upgrade", b"Upgrade: websocket"))
    assert reply.status == 200


# --- bodies ---


def test_a_body_over_one_mib_is_413_that_the_client_sees(server: MockServer) -> None:
    reply = talk(server, create_request(b" " * (3 * MIB)))
    assert reply.status == 413
    assert reply.error["type"] == "invalid_request_error"


def test_after_a_413_the_connection_is_usable(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(create_request(b" " * (2 * MIB)))
        assert Reply(read_reply(connection)).status == 413
        connection.sendall(request("GET", "/v1/credits"))
        assert Reply(read_reply(connection)).status == 200


def test_a_body_of_just_under_8_mib_is_read_to_its_end(server: MockServer) -> None:
    assert talk(server, create_request(b" " * (8 * MIB))).status == 413


def test_a_body_beyond_8_mib_is_cut_off(server: MockServer) -> None:
    with connected(server) as connection:
        head = request("POST", "/v1/videos/generations", b"Content-Length: 1000000000")
        connection.sendall(head)
        sent, refused = 0, False
        try:
            while sent < 64 * MIB:
                connection.sendall(b" " * MIB)
                sent += MIB
        except ConnectionError:
            refused = True
    assert refused


def test_the_413_of_a_body_beyond_8_mib_is_an_envelope(server: MockServer) -> None:
    head = request("POST", "/v1/videos/generations", b"Content-Length: 1000000000")
    reply = talk(server, head, b" " * (8 * MIB + 1))
    assert reply.status == 413
    assert reply.error
    assert reply.headers["connection"] == "close"


def test_a_chunked_body_is_read(server: MockServer) -> None:
    head = request("POST", "/v1/videos/generations", b"Transfer-Encoding: chunked")
    assert talk(server, head + chunked(BODY[:10], BODY[10:])).status in (200, 402)


def test_a_chunked_body_over_one_mib_is_413(server: MockServer) -> None:
    head = request("POST", "/v1/videos/generations", b"Transfer-Encoding: chunked")
    assert talk(server, head + chunked(*[b" " * 65536] * 17)).status == 413


def test_a_body_of_one_byte_chunks_is_read(server: MockServer) -> None:
    head = request("POST", "/v1/videos/generations", b"Transfer-Encoding: chunked")
    assert talk(server, head, chunked(*(BODY[place : place + 1] for place in range(len(BODY))))).status in (200, 402)


def test_a_body_that_is_cut_off_is_nobodys_task(server: MockServer, api: Api) -> None:
    key = b"Authorization: Bearer %s\r\n" % api.key.encode()
    head = b"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\n" + key
    with connected(server) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 1) + BODY)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
    assert api.account.tasks == []


def test_a_connection_that_is_reset_in_mid_body_disturbs_no_other_client(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(request("POST", "/v1/videos/generations", b"Content-Length: 1000") + b"{")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_body_that_waits_for_100_continue_gets_it(server: MockServer) -> None:
    with connected(server) as connection:
        length = b"Content-Length: %d" % len(BODY)
        connection.sendall(request("POST", "/v1/videos/generations", b"Expect: 100-continue", length))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert Reply(read_reply(connection)).status in (200, 402)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"model":"sora-2-beta-max","prompt":"x","y":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"sora-2-beta-max","prompt":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"x":Infinity}',
        b'{"x":-Infinity}',
        b'{"x":NaN}',
        b'{"x":1e999}',
        b'{"x":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"x":"\xff"}',
        b'{"x":"\xc0\x80"}',
        b'{"x":"\xed\xa0\x80"}',
        b"\x00" * 1000,
        b"9" * 100_000,
        b'{"model":"sora-2-beta-max","prompt":"x","duration":' + b"9" * 100_000 + b"}",
        b'"' + b"a" * 100_000,
        b"{" + b",".join(b'"%d":1' % number for number in range(50_000)) + b"}",
    ],
    ids=lambda body: f"{body[:12]!r}-{len(body)}",
)
def test_a_poisonous_body_is_400_in_the_envelope(server: MockServer, body: bytes) -> None:
    reply = talk(server, create_request(body))
    assert reply.status == 400
    assert reply.error["code"] == "invalid_request"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000 + b"]" * 100_000, b'{"x":' * 100_000, b'{"seconds":Infinity}', b"\xff"]
)
def test_a_poisonous_control_body_is_400(server: MockServer, body: bytes) -> None:
    raw = request("POST", "/__mock/clock/advance", body=body)
    reply = talk(server, raw)
    assert reply.status == 400
    assert set(json.loads(reply.body)["error"]) == {"code", "message"}


def test_a_poisonous_body_can_be_shown_in_the_journal(server: MockServer, api: Api) -> None:
    for body in (b'{"x":' * 1000, b"[" * 5000 + b"]" * 5000, b'{"x":"\\ud800"}', b"\xff\xfe", b"9" * 10_000, b"\x00"):
        api.request("POST", "/v1/videos/generations", content=body)
    assert len(api.account.requests) == 6


# --- many at once ---


def test_pipelined_requests_get_responses_in_order(server: MockServer) -> None:
    with connected(server) as connection:
        paths = ["/v1/credits", "/v1/nothing", "/v1/tasks/abc", "/v1/credits"]
        last = request("GET", "/v1/tasks/task-unified-x", b"Connection: close")
        connection.sendall(b"".join(request("GET", path) for path in paths) + last)
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk
    statuses = [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 400, 200, 404]


def test_many_pipelined_requests_are_no_large_head(server: MockServer) -> None:
    one = request("GET", "/v1/nothing")
    count = 100_000 // len(one)
    with connected(server) as connection:
        sender = Thread(target=connection.sendall, args=(one * count,))
        sender.start()
        raw = b""
        while raw.count(b"Invalid URL") < count:
            chunk = connection.recv(65536)
            assert chunk, raw[-200:]
            raw += chunk
        sender.join(DEADLINE)
    assert raw.count(b"HTTP/1.1 404 ") == count


def test_a_pipelined_create_request_with_a_body_does_not_leak_into_the_next(server: MockServer) -> None:
    with connected(server) as connection:
        connection.sendall(create_request(b"{broken") + request("GET", "/v1/credits", b"Connection: close"))
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk
    assert [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]] == [400, 200]


def test_two_clients_at_once_do_not_wait_for_each_other(server: MockServer) -> None:
    with connected(server) as slow, connected(server) as quick:
        slow.sendall(request("POST", "/v1/videos/generations", b"Content-Length: %d" % len(BODY)) + BODY[:5])
        quick.sendall(request("GET", "/v1/credits"))
        assert Reply(read_reply(quick)).status == 200
        slow.sendall(BODY[5:])
        assert Reply(read_reply(slow)).status in (200, 402)


def test_two_hundred_silent_connections_hinder_no_other_client(server: MockServer) -> None:
    parts = urlsplit(server.url)
    silent = [socket.create_connection((parts.hostname, parts.port), DEADLINE) for _ in range(200)]
    try:
        assert talk(server, request("GET", "/v1/credits")).status == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_slow_reader_of_a_video_hinders_no_other_client_and_gets_all_of_it(server: MockServer, api: Api) -> None:
    task_id = api.new_task(duration=15)
    api.account.clock.advance(5)
    path = urlsplit(api.task(task_id)["results"][0]).path
    with connected(server, receive_buffer=4096) as connection:
        connection.sendall(request("GET", path))
        for _ in range(20):
            assert talk(server, request("GET", "/v1/credits")).status == 200
        reply = Reply(read_reply(connection, at_once=100))
    assert reply.body == api.client.get(path).content


def test_a_reader_who_leaves_in_mid_video_disturbs_no_other_client(server: MockServer, api: Api) -> None:
    task_id = api.new_task(duration=15)
    api.account.clock.advance(5)
    path = urlsplit(api.task(task_id)["results"][0]).path
    with connected(server, receive_buffer=4096) as connection:
        connection.sendall(request("GET", path))
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# --- what an attack found ---

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
ORDER_BYTES = b'{"model":"sora-2-beta-max","prompt":"x"}'


def exchange(server: MockServer, *pieces: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        # no half-close: the server takes the end of what it reads for a client that has gone
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def upgraded_create_request() -> bytes:
    head = b"POST /v1/videos/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-upgrade\r\n" + UPGRADE
    return head + b"Content-Length: %d\r\n\r\n" % len(ORDER_BYTES)


@pytest.mark.parametrize("split", [False, True])
def test_a_wish_to_upgrade_is_ignored_and_the_body_is_read(server: MockServer, split: bool) -> None:
    follower = b"GET /v1/credits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-upgrade\r\nConnection: close\r\n\r\n"
    pieces = (
        (upgraded_create_request(), ORDER_BYTES, follower)
        if split
        else (upgraded_create_request() + ORDER_BYTES + follower,)
    )
    received = exchange(server, *pieces)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b'"status":"pending"' in received


@pytest.mark.parametrize("path", ["/v1/credits", "/__mock/clock"])
def test_a_good_request_gets_its_response_before_the_garbage_behind_it(server: MockServer, path: str) -> None:
    get = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-garbage\r\n\r\n".encode()
    received = exchange(server, get + b"\x16\x03\x01 garbage\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", b"400"]


def test_a_pipelined_request_behind_an_upgrade_gets_a_response(server: MockServer) -> None:
    get = b"GET /v1/credits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-upgrade\r\n"
    received = exchange(server, get + UPGRADE + b"\r\n" + get + b"Connection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_an_endless_trailer_is_cut_off(server: MockServer) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/videos/generations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "
        )
        with pytest.raises(ConnectionError):
            connection.sendall(b"a" * 64 * 1024 * 1024)


def test_white_space_at_the_end_of_a_header_value_does_not_count(server: MockServer, api: Api) -> None:
    raw = f"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key} \t \r\nX-Odd: a b \t\r\n\r\n"
    with connected(server) as connection:
        connection.sendall(raw.encode())
        assert Reply(read_reply(connection)).status == 200
    [record] = api.account.call("GET", "/requests")["requests"]
    assert record["headers"]["x-odd"] == "a b"


@pytest.mark.parametrize("host", [b"evil@localhost", b"localhost:99999", b"localhost:0", b"localhost#x"])
def test_an_odd_host_is_in_no_result_link(server: MockServer, api: Api, host: bytes) -> None:
    key = b"Authorization: Bearer %s\r\n" % api.key.encode()
    head = (
        b"POST /v1/videos/generations HTTP/1.1\r\nHost: %s\r\n" % host + key + b"Content-Length: %d\r\n\r\n" % len(BODY)
    )
    task_id = json.loads(talk(server, head + BODY).body)["id"]
    api.account.clock.advance(5)
    assert api.task(task_id)["results"][0].startswith(server.url + "/files/")
