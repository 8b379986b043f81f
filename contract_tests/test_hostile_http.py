"""Malformed and hostile requests, for mocks only: every error has the envelope, and the server continues."""

import json

import pytest

from contract_tests.orders import CREATE, CREDITS, ORDER
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from contract_tests.wire import BODY, Wire, head, statuses

BODIES = "docs/reference.md, bad bodies"
ENVELOPE = "published contract, ErrorResponse: every error has this shape"
INVALID = (400, "invalid_request", "invalid_request_error")
MIB = 1024 * 1024
OPEN = BODY[:-1]
"""A create request without its last brace."""


@pytest.mark.contract(
    id="hostile.http.*", claim="bytes that are not HTTP (*) get 400 in the envelope", source=ENVELOPE, needs={"mock"}
)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GARBAGE\r\n\r\n", id="garbage"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="header"),
        pytest.param(b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", id="nul"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n", id="length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", id="negative_length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", id="two_lengths"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="smuggling"
        ),
        pytest.param(b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc" % CREATE.encode(), id="chunk"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
    ],
)
def test_bytes_that_are_not_http_get_400_in_the_envelope(service: Service, data: bytes) -> None:
    with Wire(service) as wire:
        wire.send(data)
        assert error_of(wire.read())[:3] == INVALID
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(
    id="hostile.body.*", claim="a bad body (*) gets 400 invalid_request", source=BODIES, needs={"mock"}
)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(OPEN + b',"x":"\\ud800"}', id="surrogate"),
        pytest.param(OPEN + b',"x":Infinity}', id="infinity"),
        pytest.param(json.dumps(ORDER).encode("utf-16"), id="utf16"),
        pytest.param(b'{"model":"sora-2-beta-max","prompt":"\xe9"}', id="latin1"),
        pytest.param(b'{"model":"sora-2-beta-max","prompt":"a\nb"}', id="control"),
        pytest.param(OPEN + b',"x":' + b"[" * 65 + b"]" * 65 + b"}", id="deep_list"),
        pytest.param(b"[" * 500_000, id="very_deep"),
        pytest.param(BODY + b"\x00", id="nul"),
    ],
)
def test_a_bad_body_gets_400(service: Service, content: bytes) -> None:
    assert error_of(service.create(content=content))[:3] == INVALID
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.size.exact", claim=f"a body of {MIB} bytes gets 200", source=BODIES, needs={"mock"})
def test_a_body_of_1_mib_is_accepted(service: Service) -> None:
    assert accepted(service.create(content=BODY.ljust(MIB)))
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.size.*", source=BODIES, needs={"mock"})
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(size, id=name, marks=pytest.mark.contract(claim=f"a body of {size} bytes gets 413"))
        for name, size in (("above", MIB + 1), ("8_times", 8 * MIB))
    ],
)
def test_a_larger_body_gets_413(service: Service, size: int) -> None:
    response = service.create(content=BODY.ljust(size))
    assert error_of(response)[:3] == (413, "request_too_large", "invalid_request_error")
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.nesting.64", source=BODIES, needs={"mock"})
def test_64_levels_of_nesting_are_accepted(service: Service) -> None:
    # the object of the request is the first level
    assert accepted(service.create(content=OPEN + b',"x":' + b"[" * 63 + b"]" * 63 + b"}"))


@pytest.mark.contract(id="hostile.connection.nesting", source=BODIES, needs={"mock"})
def test_65_levels_of_nesting_are_rejected(service: Service) -> None:
    """Of objects and lists in any mixture 64 levels are accepted, 65 are not, however wide they are."""

    def status_of(value: bytes) -> int:
        return service.create(content=OPEN + b',"x":' + value + b"}").status_code

    # the object of the request is the first level
    depths = {63: 200, 64: 400, 65: 400}
    assert {n: status_of(b"[" * n + b"0" + b"]" * n) for n in depths} == depths
    assert {n: status_of(b'{"a":' * n + b"0" + b"}" * n) for n in depths} == depths
    assert {n: status_of(mixed(n)) for n in depths} == depths
    assert status_of(b"[" + b",".join([b'[{"a":1}]'] * 500) + b"]") == 200


def mixed(depth: int) -> bytes:
    """A JSON value of that depth: a list of an object of a list, and so on."""
    pairs = depth // 2
    return b'[0,{"a":' * pairs + (b"[]" if depth % 2 else b"0") + b"}]" * pairs


@pytest.mark.contract(id="hostile.chunked", source="RFC 9112, 7.1", needs={"mock"})
def test_a_body_in_chunks_is_read_like_any_other(service: Service) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:], b""))
    start = head(service, "POST", CREATE, "Content-Type: application/json", "Transfer-Encoding: chunked")
    assert statuses(service, start + chunks, count=1) == [200]


@pytest.mark.contract(id="hostile.header.large", source=ENVELOPE, needs={"mock"})
def test_a_head_of_more_than_64_kib_is_rejected_in_the_envelope(service: Service) -> None:
    """A head of more than 64 KiB is rejected in the envelope."""
    with Wire(service) as wire:
        wire.send(b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n\r\n")
        error = error_of(wire.read())
    assert error.status in (400, 431)
    assert error.code == "invalid_request"
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.method", source=ENVELOPE, needs={"mock"})
def test_unknown_methods_are_rejected_in_the_envelope(service: Service) -> None:
    for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        assert error_of(service.request(method, CREATE)).status in (400, 405), method


@pytest.mark.contract(id="hostile.paths", source=ENVELOPE, needs={"mock"})
def test_strange_paths_are_rejected_in_the_envelope(service: Service) -> None:
    """Strange paths get 400, 401 or 404 in the envelope."""
    # as raw bytes, because a client resolves dots and doubled slashes itself
    with Wire(service) as wire:
        for path in (
            "/v1/tasks/%2e%2e%2fcredits",
            "/v1/tasks/task-unified-%00",
            "/%C3%A9",
            "/files/../etc/passwd",
            "//v1/credits",
        ):
            wire.send(head(service, "GET", path))
            assert error_of(wire.read()).status in (400, 404), path
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.key.long", source=ENVELOPE, needs={"mock"})
def test_a_key_of_60_kib_is_rejected_and_the_server_continues(service: Service) -> None:
    """A key of 60 KiB is rejected, and the server continues."""
    assert error_of(service.with_key("wrong" * 12_000).get(CREDITS)).status in (400, 401, 431)
    assert accepted(service.get(CREDITS))
