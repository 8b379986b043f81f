"""Malformed and hostile requests, for mocks only: every error has the envelope, and the server continues."""

import json
import socket
from urllib.parse import urlsplit

from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import Broken, equal, rule, true
from sora_mock.verify.target import CREATE, CREDITS, ORDER, Target

SOURCE = "docs/reference.md, bad bodies"
ENVELOPE = "published contract, ErrorResponse: every error has this shape"
MIB = 1024 * 1024


def raw(target: Target, data: bytes) -> TargetResponse:
    """Sends raw bytes and reads one response. Raises Broken if none comes."""
    parts = urlsplit(target.url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), 10) as connection:
            connection.sendall(data)
            return _read(connection)
    except (OSError, ValueError) as problem:
        raise Broken("response", f"none ({problem})", "a response") from None


def _read(connection: socket.socket) -> TargetResponse:
    got = b""
    while b"\r\n\r\n" not in got:
        got += _chunk(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _chunk(connection)
    return TargetResponse(int(line.split()[1]), headers, body)


def _chunk(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ValueError("the connection was closed")
    return chunk


def alive(target: Target) -> None:
    """Raises Broken unless the server responds to a normal request."""
    target.get(CREDITS).must_be(200)


NOT_HTTP = {
    "garbage": b"GARBAGE\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "nul": b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
    "negative_length": b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "two_lengths": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "smuggling": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk": b"POST /v1/videos/generations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


def _not_http(name: str, data: bytes) -> None:
    @rule(
        id=f"hostile.http.{name}",
        claim=f"bytes that are not HTTP ({name}) get 400 in the envelope",
        source=ENVELOPE,
        needs={"mock"},
    )
    def check(target: Target) -> None:
        raw(target, data).error(400, "invalid_request", "invalid_request_error")
        alive(target)


for _name, _data in NOT_HTTP.items():
    _not_http(_name, _data)

ORDERED = json.dumps(ORDER)[:-1].encode()
BAD_BODIES = {
    "surrogate": ORDERED + b',"x":"\\ud800"}',
    "infinity": ORDERED + b',"x":Infinity}',
    "utf16": json.dumps(ORDER).encode("utf-16"),
    "latin1": b'{"model":"sora-2-beta-max","prompt":"\xe9"}',
    "control": b'{"model":"sora-2-beta-max","prompt":"a\nb"}',
    "deep_list": ORDERED + b',"x":' + b"[" * 65 + b"]" * 65 + b"}",
    "very_deep": b"[" * 500_000,
    "nul": json.dumps(ORDER).encode() + b"\x00",
}


def _bad_body(name: str, content: bytes) -> None:
    @rule(
        id=f"hostile.body.{name}",
        claim=f"a bad body ({name}) gets 400 invalid_request",
        source=SOURCE,
        needs={"mock"},
    )
    def check(target: Target) -> None:
        target.send("POST", CREATE, content=content).error(400, "invalid_request", "invalid_request_error")
        alive(target)


for _name, _data in BAD_BODIES.items():
    _bad_body(_name, _data)


def _size(name: str, size: int, status: int) -> None:
    @rule(id=f"hostile.size.{name}", claim=f"a body of {size} bytes gets {status}", source=SOURCE, needs={"mock"})
    def check(target: Target) -> None:
        content = json.dumps(ORDER).encode()
        content += b" " * (size - len(content))
        reply = target.send("POST", CREATE, content=content)
        if status == 200:
            reply.must_be(200)
        else:
            reply.error(413, "request_too_large", "invalid_request_error")
        alive(target)


_size("exact", MIB, 200)
_size("above", MIB + 1, 413)
_size("8_times", 8 * MIB, 413)


@rule(id="hostile.nesting.64", claim="64 levels of nesting are accepted", source=SOURCE, needs={"mock"})
def nesting(target: Target) -> None:
    """The object counts as one."""
    target.send("POST", CREATE, content=ORDERED + b',"x":' + b"[" * 63 + b"]" * 63 + b"}").must_be(200)


@rule(id="hostile.chunked", claim="a body in chunks is read like any other", source="RFC 9112, 7.1", needs={"mock"})
def chunked(target: Target) -> None:
    """Two chunks."""
    body = json.dumps(ORDER).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:])) + b"0\r\n\r\n"
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {target.key}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    equal("status", raw(target, head.encode() + chunks).status, 200)


@rule(
    id="hostile.header.large",
    claim="a head of more than 64 KiB is refused in the envelope",
    source=ENVELOPE,
    needs={"mock"},
)
def large_head(target: Target) -> None:
    """The server does not read it all."""
    head = b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n\r\n"
    reply = raw(target, head)
    true("status", reply.status in (400, 431), reply.status, "400")
    reply.error(reply.status, "invalid_request")
    alive(target)


@rule(id="hostile.method", claim="unknown methods are rejected in the envelope", source=ENVELOPE, needs={"mock"})
def methods(target: Target) -> None:
    """405 or 400."""
    for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        reply = target.send(method, CREATE)
        true("status", reply.status in (400, 405), (method, reply.status), "405")
        reply.error(reply.status, reply.json()["error"]["code"])


@rule(
    id="hostile.paths",
    claim="strange paths get 400, 401 or 404 in the envelope",
    source=ENVELOPE,
    needs={"mock"},
)
def paths(target: Target) -> None:
    """Encoded slashes, dots, other scripts."""
    for path in (
        "/v1/tasks/%2e%2e%2fcredits",
        "/v1/tasks/task-unified-%00",
        "/%C3%A9",
        "/files/../etc/passwd",
        "//v1/credits",
    ):
        reply = target.get(path)
        true("status", reply.status in (400, 404), (path, reply.status), "400 or 404")
        reply.error(reply.status, reply.json()["error"]["code"])
    alive(target)


@rule(
    id="hostile.key.long",
    claim="a key of 60 KiB is rejected, and the server continues",
    source=ENVELOPE,
    needs={"mock"},
)
def long_key(target: Target) -> None:
    """400 or 401."""
    reply = target.get(CREDITS, key="wrong" * 12_000)
    true("status", reply.status in (400, 401, 431), reply.status, "400 or 401")
    reply.error(reply.status, reply.json()["error"]["code"])
    alive(target)
