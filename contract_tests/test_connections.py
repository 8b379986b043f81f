"""HTTP on a connection: several requests, bodies in parts, upgrades, trailers, bounds. Mocks only."""

import pytest

from contract_tests.orders import CREATE, CREDITS, ORDER
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from contract_tests.wire import BODY, Wire, chunked, create_head, head, statuses
from sora_mock.client import Account

ENVELOPE = "published contract, ErrorResponse: every error has this shape"
INVALID = (400, "invalid_request", "invalid_request_error")
TOO_LARGE = (413, "request_too_large", "invalid_request_error")
MIB = 1024 * 1024


@pytest.mark.contract(id="hostile.connection.kept", source="RFC 9112, 9.3", needs={"mock"})
def test_a_connection_carries_request_after_request(service: Service, mock: Account) -> None:
    """A connection carries request after request, also several at once, with responses in their order."""
    good, wrong = head(service, "GET", CREDITS), head(service, "GET", "/v1/nonsense")
    create = create_head(service) + BODY
    with Wire(service) as wire:
        for request, status in ((good, 200), (wrong, 404), (create, 200), (good, 200)):
            wire.send(request)
            response = wire.read()
            assert (response.status_code, response.headers.get("connection")) == (status, None)
        wire.send(good + wrong + create + wrong + good)
        assert [wire.read().status_code for _ in range(5)] == [200, 404, 200, 404, 200]
        # the others wait for the first one, which is slow
        wire.send(head(service, "GET", CREDITS, "X-Mock-Scenario: slow_headers latency=0.2") + wrong + good)
        assert [wire.read().status_code for _ in range(3)] == [200, 404, 200]
    assert len(mock.tasks) == 2


@pytest.mark.contract(id="hostile.connection.ended", source="RFC 9112, 9.6", needs={"mock"})
def test_connection_close_and_http_1_0_end_the_connection(service: Service) -> None:
    """Connection: close and HTTP/1.0 end the connection after the response, which says so."""
    for name, request in {
        "close": head(service, "GET", CREDITS, "Connection: close"),
        "close with a body": create_head(service, "Connection: close") + BODY,
        "HTTP/1.0": head(service, "GET", CREDITS, version="1.0"),
        "keep-alive in HTTP/1.0": head(service, "GET", CREDITS, "Connection: keep-alive", version="1.0"),
    }.items():
        with Wire(service) as wire:
            wire.send(request)
            response = wire.read()
            assert (response.status_code, response.headers.get("connection")) == (200, "close"), name
            assert wire.rest() == b"", name


@pytest.mark.contract(id="hostile.connection.parts", source="RFC 9112, 6", needs={"mock"})
def test_a_request_may_come_in_any_parts(service: Service, mock: Account) -> None:
    """A request may come in any parts: each byte alone, the body in two."""
    start = create_head(service)
    with Wire(service) as wire:
        for byte in start + BODY:
            wire.send(bytes([byte]))
        assert wire.read().status_code == 200
    assert statuses(service, start, BODY, count=1) == [200]
    assert statuses(service, start[:7], start[7:], BODY[:5], BODY[5:], count=1) == [200]
    assert statuses(service, start + BODY[:20], BODY[20:], count=1) == [200]
    assert len(mock.tasks) == 4
    assert [each["request"] for each in mock.requests if each["method"] == "POST"] == [ORDER] * 4
    long = head(service, "GET", CREDITS, f"X: {'x' * 9000}", f"Y: {'y' * 9000}")
    assert statuses(service, long[:7000], long[7000:14000], long[14000:], count=1) == [200]
    # the second request comes in the same packet as the end of the first one's body
    rest = BODY[9:] + head(service, "GET", CREDITS)
    assert statuses(service, start + BODY[:9], rest, count=2) == [200, 200]


@pytest.mark.contract(id="hostile.connection.upgrade", source="RFC 9110, 7.8", needs={"mock"})
def test_a_request_to_upgrade_is_ignored(service: Service) -> None:
    """A request to upgrade gets its response in HTTP/1.1, and its body and the next request are read."""
    plain = head(service, "GET", CREDITS)
    # some clients send h2c by default
    for protocol in ("h2c", "websocket"):
        lines = (f"Upgrade: {protocol}", "Connection: Upgrade")
        create = create_head(service, *lines)
        requests = head(service, "GET", CREDITS, *lines) + create + BODY + plain
        assert statuses(service, requests, count=3) == [200, 200, 200], protocol
        assert statuses(service, create, BODY, plain, count=2) == [200, 200], protocol
    request = head(service, "GET", CREDITS, "X-Mock-Scenario: bad_gateway", "Upgrade: websocket", "Connection: Upgrade")
    assert statuses(service, request, count=1) == [502]


@pytest.mark.contract(id="hostile.connection.continue", source="RFC 9110, 10.1.1", needs={"mock"})
def test_expect_100_continue_gets_100_before_the_body_is_sent(service: Service) -> None:
    """Expect: 100-continue gets 100 before the body is sent, and then the usual response."""
    with Wire(service) as wire:
        for request, status in (
            (create_head(service, "Expect: 100-continue"), 100),
            (BODY, 200),
            (head(service, "GET", CREDITS), 200),
        ):
            wire.send(request)
            assert wire.read().status_code == status


@pytest.mark.contract(id="hostile.connection.trailer", source="RFC 9112, 7.1.2", needs={"mock"})
def test_a_trailer_is_not_read_as_headers(service: Service) -> None:
    """A trailer after a chunked body is not read as headers, and its size is bounded."""
    request = chunked(service, trailer=b"X-Mock-Scenario: internal_error\r\nIdempotency-Key: bad\r\n")
    assert statuses(service, request + head(service, "GET", CREDITS), count=2) == [200, 200]
    with Wire(service) as wire:
        # the server may reject it before it has all of it
        if wire.offer(chunked(service, trailer=b"X: " + b"x" * (2 * MIB))):
            assert wire.read().status_code == 400


@pytest.mark.contract(id="hostile.connection.head", source=ENVELOPE, needs={"mock"})
def test_a_head_of_up_to_64_kib_is_read(service: Service) -> None:
    """A head of up to 64 KiB is read, a larger one is rejected with 400, and the connection ends."""
    with Wire(service) as wire:
        for size in (60_000, 64_000):
            wire.send(head(service, "GET", CREDITS, "X: " + "x" * size))
            assert wire.read().status_code == 200, size
        # the bound does not count the body
        length = b"Content-Length: %d"
        wire.send(create_head(service).replace(length % len(BODY), length % 200_000) + BODY.ljust(200_000))
        assert wire.read().status_code == 200
        wire.send(head(service, "GET", CREDITS))
        assert wire.read().status_code == 200
    for name, request in {
        "one long header": head(service, "GET", CREDITS, "X: " + "x" * 66_000),
        "a long path": head(service, "GET", "/v1/" + "x" * 66_000),
        "33 long headers": head(service, "GET", CREDITS, *(f"X{number}: {'x' * 2000}" for number in range(33))),
        "9000 short headers": head(service, "GET", CREDITS, *(f"X{number}: " for number in range(9000))),
        "a head without its end": head(service, "GET", CREDITS)[:-2] + b"X: " + b"x" * 70_000,
    }.items():
        with Wire(service) as wire:
            wire.send(request)
            error = error_of(wire.read())
            assert error[:3] == INVALID, name
            assert "64" in error.message, name
            assert wire.rest() == b"", name
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.connection.broken", source=ENVELOPE, needs={"mock"})
def test_bytes_that_are_not_http_after_a_good_request_get_400(service: Service) -> None:
    """Bytes that are not HTTP after a good request get 400, and the connection ends."""
    with Wire(service) as wire:
        wire.send(head(service, "GET", CREDITS))
        assert wire.read().status_code == 200
        wire.send(b"GARBAGE\r\n\r\n")
        response = wire.read()
        assert error_of(response)[:3] == INVALID
        assert response.headers.get("connection") == "close"
        assert wire.rest() == b""


@pytest.mark.contract(
    id="hostile.connection.endless",
    source="docs/reference.md, bounds: the server reads and discards up to 8 MiB",
    needs={"mock"},
)
def test_a_body_far_above_the_bound_gets_413_before_its_end(service: Service, mock: Account) -> None:
    """A body far above the bound gets 413 before its end, and the connection ends; up to 8 MiB it stays."""
    with Wire(service) as wire:
        # the rest of the body never comes
        wire.send(head(service, "POST", CREATE, f"Content-Length: {16 * MIB}") + BODY.ljust(8 * MIB + 1))
        response = wire.read()
        assert error_of(response)[:3] == TOO_LARGE
        assert response.headers.get("connection") == "close"
    with Wire(service) as wire:
        wire.send(head(service, "POST", CREATE, f"Content-Length: {8 * MIB}") + b" " * (8 * MIB))
        assert error_of(wire.read())[:3] == TOO_LARGE
        wire.send(head(service, "GET", CREDITS))
        assert wire.read().status_code == 200
    assert mock.tasks == []


@pytest.mark.contract(
    id="hostile.connection.gone", source="an assumption: a request counts when it is complete", needs={"mock"}
)
def test_a_client_that_leaves_before_its_body_is_whole_has_sent_no_request(service: Service, mock: Account) -> None:
    with Wire(service) as wire:
        wire.send(create_head(service) + BODY[:20])
    assert accepted(service.get(CREDITS))
    assert mock.tasks == []
    assert [each for each in mock.requests if each["method"] == "POST"] == []


@pytest.mark.contract(id="hostile.connection.head_method", source="RFC 9110, 9.3.2", needs={"mock"})
def test_head_on_an_operation_is_rejected_without_a_body(service: Service) -> None:
    """HEAD on an operation is rejected as any other method, without a body."""
    with Wire(service) as wire:
        for path, allowed in ((CREDITS, "GET"), (CREATE, "POST")):
            wire.send(head(service, "HEAD", path) + head(service, "GET", CREDITS))
            response = wire.read(bare=True)
            assert (response.status_code, response.headers.get("allow")) == (405, allowed), path
            # of the body that another method would get
            assert int(response.headers.get("content-length", "0")) >= 10, path
            assert wire.read().status_code == 200, path
