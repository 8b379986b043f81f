"""HTTP on a connection: several requests, bodies in parts, upgrades, trailers, bounds. Mocks only."""

import re

from contract_tests.hostile import ENVELOPE, MIB, alive
from contract_tests.wire import BODY, Wire, head, order, statuses
from sora_mock.verify.rule import Broken, equal, rule, true
from sora_mock.verify.target import CREATE, CREDITS, ORDER, Target


@rule(
    id="hostile.connection.kept",
    claim="a connection carries request after request, also several at once, with responses in their order",
    source="RFC 9112, 9.3",
    needs={"mock"},
)
def kept(target: Target) -> None:
    """One by one, and five in one packet."""
    good, wrong = head(target, "GET", CREDITS), head(target, "GET", "/v1/nonsense")
    with Wire(target) as wire:
        for request, status in ((good, 200), (wrong, 404), (order(target) + BODY, 200), (good, 200)):
            wire.send(request)
            reply = wire.read()
            equal("status", reply.status, status)
            equal("connection", reply.headers.get("connection"), None)
        wire.send(good + wrong + order(target) + BODY + wrong + good)
        equal("statuses", [wire.read().status for _ in range(5)], [200, 404, 200, 404, 200])
        # the first takes its time, the others wait for it
        wire.send(head(target, "GET", CREDITS, "X-Mock-Scenario: slow_headers latency=0.2") + wrong + good)
        equal("statuses", [wire.read().status for _ in range(3)], [200, 404, 200])
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 2)


@rule(
    id="hostile.connection.ended",
    claim="Connection: close and HTTP/1.0 end the connection after the response, which says so",
    source="RFC 9112, 9.6",
    needs={"mock"},
)
def ended(target: Target) -> None:
    """Nothing comes after it."""
    closing = head(target, "GET", CREDITS, "Connection: close")
    old = [head(target, "GET", CREDITS, *lines, version="1.0") for lines in ((), ("Connection: keep-alive",))]
    for request in (closing, *old, order(target, "Connection: close") + BODY):
        with Wire(target) as wire:
            wire.send(request)
            reply = wire.read()
            equal("status", reply.status, 200)
            equal("connection", reply.headers.get("connection"), "close")
            wire.must_end()


@rule(
    id="hostile.connection.parts",
    claim="a request may come in any pieces: each byte of the head alone, the body in two",
    source="RFC 9112, 6",
    needs={"mock"},
)
def parts(target: Target) -> None:
    """The order that arrives is the one that was sent."""
    start = order(target)
    for pieces in ([start, BODY], [start[:7], start[7:], BODY[:5], BODY[5:]], [start + BODY[:20], BODY[20:]]):
        equal("status", statuses(target, pieces, 1), [200])
    equal("prompts", len(target.control("GET", "/tasks")["tasks"]), 3)
    sent = [each["request"] for each in target.control("GET", "/requests")["requests"] if each["method"] == "POST"]
    equal("bodies", sent, [ORDER, ORDER, ORDER])
    long = head(target, "GET", CREDITS, f"X: {'x' * 9000}", f"Y: {'y' * 9000}")
    equal("status of a long head", statuses(target, [long[:7000], long[7000:14000], long[14000:]], 1), [200])
    # the second request begins before the first one's body is there
    rest = BODY[9:] + head(target, "GET", CREDITS)
    equal("statuses", statuses(target, [start + BODY[:9], rest], 2), [200, 200])


@rule(
    id="hostile.connection.upgrade",
    claim="a wish to upgrade is ignored: the request gets in HTTP/1.1, its body and the next request read",
    source="RFC 9110, 7.8",
    needs={"mock"},
)
def upgrade(target: Target) -> None:
    """h2c, as some clients ask by default; websocket."""
    for protocol in ("h2c", "websocket"):
        wish = (f"Upgrade: {protocol}", "Connection: Upgrade")
        requests = head(target, "GET", CREDITS, *wish) + order(target, *wish) + BODY + head(target, "GET", CREDITS)
        equal("statuses", statuses(target, [requests], 3), [200, 200, 200])
        equal("statuses", statuses(target, [order(target, *wish), BODY, head(target, "GET", CREDITS)], 2), [200, 200])
    key = f"X-Mock-Scenario: bad_gateway\r\n{wish[0]}"
    equal("status", statuses(target, [head(target, "GET", CREDITS, key, wish[1])], 1), [502])


@rule(
    id="hostile.connection.continue",
    claim="Expect: 100-continue gets 100 before the body is sent, then as usual",
    source="RFC 9110, 10.1.1",
    needs={"mock"},
)
def expects(target: Target) -> None:
    """Then a second request on the connection."""
    with Wire(target) as wire:
        wire.send(order(target, "Expect: 100-continue"))
        equal("status", wire.read().status, 100)
        wire.send(BODY)
        equal("status", wire.read().status, 200)
        wire.send(head(target, "GET", CREDITS))
        equal("status", wire.read().status, 200)


def _chunked(target: Target, trailer: bytes) -> bytes:
    start = head(target, "POST", CREATE, "Content-Type: application/json", "Transfer-Encoding: chunked")
    return start + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(BODY), BODY, trailer)


@rule(
    id="hostile.connection.trailer",
    claim="a trailer after a chunked body is not read as headers, and its size is bounded",
    source="RFC 9112, 7.1.2",
    needs={"mock"},
)
def trailer(target: Target) -> None:
    """A trailer that looks like a header, and one of 2 MiB."""
    request = _chunked(target, b"X-Mock-Scenario: internal_error\r\nIdempotency-Key: bad\r\n")
    equal("statuses", statuses(target, [request + head(target, "GET", CREDITS)], 2), [200, 200])
    with Wire(target) as wire:
        try:
            wire.send(_chunked(target, b"X: " + b"x" * (2 * MIB)))
        except Broken:
            # it was refused before all of it was sent
            return
        equal("status", wire.read().status, 400)


@rule(
    id="hostile.connection.head",
    claim="a head of up to 64 KiB is read, a larger one is refused 400, and the connection ends",
    source=ENVELOPE,
    needs={"mock"},
)
def bounds(target: Target) -> None:
    """For each request anew, and not counting bodies."""
    with Wire(target) as wire:
        for size in (60_000, 64_000):
            wire.send(head(target, "GET", CREDITS, "X: " + "x" * size))
            equal(f"status with {size}", wire.read().status, 200)
        long = order(target).replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 200000")
        wire.send(long + BODY + b" " * (200_000 - len(BODY)))
        equal("status with a body of 200 kB", wire.read().status, 200)
        wire.send(head(target, "GET", CREDITS))
        equal("status", wire.read().status, 200)
    for request in (
        head(target, "GET", CREDITS, "X: " + "x" * 66_000),
        head(target, "GET", "/v1/" + "x" * 66_000),
        head(target, "GET", CREDITS, *(f"X{number}: {'x' * 2000}" for number in range(33))),
        head(target, "GET", CREDITS, *(f"X{number}: " for number in range(9000))),
        head(target, "GET", CREDITS)[:-2] + b"X: " + b"x" * 70_000,
    ):
        with Wire(target) as wire:
            wire.send(request)
            error = wire.read().error(400, "invalid_request", "invalid_request_error")
            true("message", "64" in error["message"], error, "names the bound")
            wire.must_end()
    alive(target)


@rule(
    id="hostile.connection.broken",
    claim="bytes that are not HTTP behind a good request get 400, and the connection ends",
    source=ENVELOPE,
    needs={"mock"},
)
def broken(target: Target) -> None:
    """One after the other, on one connection."""
    with Wire(target) as wire:
        wire.send(head(target, "GET", CREDITS))
        equal("status", wire.read().status, 200)
        wire.send(b"GARBAGE\r\n\r\n")
        reply = wire.read()
        reply.error(400, "invalid_request", "invalid_request_error")
        equal("connection", reply.headers.get("connection"), "close")
        wire.must_end()


@rule(
    id="hostile.connection.endless",
    claim="a body far above the bound gets 413 before its end, and the connection ends; up to 8 MiB it stays",
    source="docs/reference.md, bounds: the server reads and discards up to 8 MiB",
    needs={"mock"},
)
def endless(target: Target) -> None:
    """Sixteen MiB are announced, one byte more than eight is sent; then eight, whole."""
    start = head(target, "POST", CREATE, f"Content-Length: {16 * MIB}")
    with Wire(target) as wire:
        wire.send(start + BODY + b" " * (8 * MIB + 1 - len(BODY)))
        reply = wire.read()
        reply.error(413, "request_too_large", "invalid_request_error")
        equal("connection", reply.headers.get("connection"), "close")
    with Wire(target) as wire:
        wire.send(start.replace(b"16777216", b"8388608") + b" " * 8 * MIB)
        wire.read().error(413, "request_too_large", "invalid_request_error")
        wire.send(head(target, "GET", CREDITS))
        equal("status", wire.read().status, 200)
    equal("tasks", target.control("GET", "/tasks")["tasks"], [])


@rule(
    id="hostile.connection.gone",
    claim="a client that leaves before its body is whole has asked for nothing",
    source="an assumption: a request counts when it is complete",
    needs={"mock"},
)
def gone(target: Target) -> None:
    """Half a body, then the end."""
    with Wire(target) as wire:
        wire.send(order(target) + BODY[:20])
    alive(target)
    equal("tasks", target.control("GET", "/tasks")["tasks"], [])
    posts = [each for each in target.control("GET", "/requests")["requests"] if each["method"] == "POST"]
    equal("requests", posts, [])


@rule(
    id="hostile.connection.head_method",
    claim="HEAD on an operation is refused as any other method, without a body",
    source="RFC 9110, 9.3.2",
    needs={"mock"},
)
def head_method(target: Target) -> None:
    """405 with the length of what a GET would get, then the next response."""
    with Wire(target) as wire:
        for path, allowed in ((CREDITS, "GET"), (CREATE, "POST")):
            wire.send(head(target, "HEAD", path) + head(target, "GET", CREDITS))
            reply = wire.read(bare=True)
            equal("status", reply.status, 405)
            equal("Allow", reply.headers.get("allow"), allowed)
            true(
                "content length",
                re.fullmatch(r"[1-9]\d+", reply.headers.get("content-length", "")),
                reply.headers,
                "> 0",
            )
            equal("next status", wire.read().status, 200)


@rule(
    id="hostile.connection.nesting",
    claim="of objects and lists in any mixture 64 levels are accepted, 65 are not, however wide they are",
    source="docs/reference.md, bad bodies",
    needs={"mock"},
)
def nesting(target: Target) -> None:
    """The order itself is the first level; a thousand brackets side by side are two."""
    start = BODY[:-1] + b',"x":'
    for size, status in ((63, 200), (64, 400), (65, 400)):
        for opened, closed in ((b"[", b"]"), (b'{"a":', b"}"), (b'[0,{"a":', b"}]")):
            pairs = size if len(opened) < 8 else size // 2
            inner = opened * pairs + (b"[]" if pairs < size and pairs * 2 < size else b"0") + closed * pairs
            reply = target.send("POST", CREATE, content=start + inner + b"}")
            equal(f"status of {size} levels of {opened!r}", reply.status, status)
    wide = b"[" + b",".join([b'[{"a":1}]'] * 500) + b"]"
    equal("status of a wide body", target.send("POST", CREATE, content=start + wide + b"}").status, 200)
