"""What the guard reads of a response: bounded before it is kept."""

import contextlib
import gzip
import json
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sora_mock.guard.pricing import Priced, Uncertain
from sora_mock.guard.settlement import Settlement, settlement
from sora_mock.guard.upstream import UpstreamResponse
from sora_mock.runtime.clock import stopwatch
from tests.guard.live import CREATE, ORDER, error_code, guarding

MIB = 1024 * 1024


class Reply:
    """A response: its status, headers and the parts of its body. chunked: how the parts are sent."""

    def __init__(
        self, status: int, headers: dict[str, str], parts: Sequence[bytes], *, times: int = 1, chunked: bool = False
    ) -> None:
        self.status, self.headers, self.parts, self.times, self.chunked = status, headers, parts, times, chunked


@contextlib.contextmanager
def replying(*replies: Reply) -> Iterator[str]:
    """A service that gives the path `/N` the response of this number, and every other path the first one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            number = self.path[1:]
            reply = replies[int(number) if number.isdigit() else 0]
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(sum(map(len, reply.parts)) * reply.times))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(reply.times):
                    for part in reply.parts:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if reply.chunked else part)
                if reply.chunked:
                    self.wfile.write(b"0\r\n\r\n")

        do_POST = do_GET  # noqa: N815  # the name is that of the standard library

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def packed(size: int, times: int) -> bytes:
    """That many zero bytes, compressed so often."""
    stream = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = b"".join([*(stream.compress(bytes(MIB)) for _ in range(size // MIB)), stream.flush()])
    for _ in range(times - 1):
        data = gzip.compress(data)
    return data


BOMBS = {
    "stacked": Reply(200, {"Content-Encoding": "gzip, gzip"}, [packed(192 * MIB, 2)]),
    "three times": Reply(200, {"Content-Encoding": "gzip, gzip, gzip"}, [packed(192 * MIB, 3)]),
    "the same one twice": Reply(200, {"Content-Encoding": "gzip,gzip"}, [packed(MIB, 2)]),
    "one": Reply(200, {"Content-Encoding": "gzip"}, [packed(192 * MIB, 1)]),
    "deflate": Reply(200, {"Content-Encoding": "deflate"}, [zlib.compress(bytes(192 * MIB), 1)]),
    "undeclared": Reply(200, {}, [packed(192 * MIB, 1)]),
    "empty streams": Reply(200, {"Content-Encoding": "gzip"}, [gzip.compress(b"") * 10_000], times=50),
    "identity": Reply(200, {}, [bytes(MIB)], times=40),
    "chunked": Reply(200, {}, [bytes(MIB)], times=40, chunked=True),
    "small chunks": Reply(200, {}, [b"x"] * 1000, times=100, chunked=True),
    "long headers": Reply(200, {f"x-{number}": "x" * 8000 for number in range(90)}, [b"{}"]),
}


def test_no_response_takes_more_memory_than_its_bound() -> None:
    with replying(*BOMBS.values()) as url, guarding(url, "--max-credits", "6") as guard, guard.client() as client:
        before = peak_mib(guard.process.pid)
        for number, name in enumerate(BOMBS):
            response = client.get(f"/{number}")
            assert peak_mib(guard.process.pid) - before < 150, name
            if name not in ("undeclared", "small chunks"):
                assert error_code(response) == "guard_no_reply", name


def escapes(size: int) -> bytes:
    return gzip.compress(b"\\" * size)


ESCAPES = {
    "undeclared": Reply(200, {}, [escapes(8 * MIB - 1) * 8]),
    "declared": Reply(200, {"Content-Encoding": "gzip"}, [escapes(8 * MIB - 1)]),
    "plain": Reply(200, {}, [b"\\a" * MIB], times=8),
    "accepted": Reply(200, {}, [escapes(1_800_000) + escapes(1_800_000)]),
}


def test_replies_full_of_escapes_delay_neither_other_requests_nor_the_end(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with replying(Reply(200, {}, [b"{}"]), *ESCAPES.values()) as url:
        with guarding(url, "--max-credits", "6", "--record", str(record)) as guard, guard.client() as client:
            before = peak_mib(guard.process.pid)
            with ThreadPoolExecutor(8) as pool:
                hostile = [pool.submit(client.get, f"/{1 + number % len(ESCAPES)}") for number in range(16)]
                slowest = 0.0
                while not all(each.done() for each in hostile):
                    began = stopwatch()
                    assert client.get("/0").content == b"{}"
                    slowest = max(slowest, stopwatch() - began)
            replies = [each.result() for each in hostile]
            assert all("too large to search for the key" in each.json()["error"]["message"] for each in replies)
            assert {error_code(each) for each in replies} == {"guard_no_reply"}
            # eight responses of up to 16 MiB are there at once; a search on the event loop takes many seconds
            assert slowest < 2
            assert peak_mib(guard.process.pid) - before < 450
            assert client.post(f"{CREATE}", json=ORDER).status_code == 200
            began = stopwatch()
            guard.stop()
            assert stopwatch() - began < 5
    failures = [json.loads(line).get("failure", "") for line in record.read_text().splitlines()]
    assert sum("too large to search" in each for each in failures) == 16


def test_an_accepted_order_whose_reply_cannot_be_searched_stays_booked() -> None:
    with replying(ESCAPES["declared"]) as url, guarding(url, "--max-credits", "6") as guard, guard.client() as client:
        assert error_code(client.post(CREATE, json=ORDER)) == "guard_no_reply"
        assert "spent 5.76 of 6 credits" in guard.stop()[1]


def test_a_task_as_long_as_a_film_books_everything_and_is_not_parsed() -> None:
    body = b'{"id": "task-unified-1", "usage": {"credits_reserved": 5.76}, "x": [' + b"1," * MIB + b"1]}"
    assert settlement(Uncertain("x"), 500_000, UpstreamResponse(200, [], body)) == Settlement(500_000)


CONTENT = b'{"data": {}}'
ENCODED = [
    ("gzip", gzip.compress(CONTENT)),
    ("X-GZIP", gzip.compress(CONTENT)),
    ("identity, gzip", gzip.compress(CONTENT)),
    ("deflate", zlib.compress(CONTENT)),
    ("deflate", zlib.compress(CONTENT)[2:-4]),
    ("", CONTENT),
]
BROKEN = [b"no gzip", gzip.compress(b"{}")[:-9], gzip.compress(b"{}") + b"more"]


def test_one_known_encoding_is_decoded() -> None:
    replies = [Reply(200, {"Content-Encoding": name}, [body]) for name, body in ENCODED]
    with replying(*replies) as url, guarding(url, "--max-credits", "0") as guard, guard.client() as client:
        for number in range(len(replies)):
            response = client.get(f"/{number}")
            assert (response.content, "content-encoding" in response.headers) == (CONTENT, False)


def test_an_encoded_response_that_is_broken_is_not_passed_on() -> None:
    replies = [Reply(200, {"Content-Encoding": "gzip"}, [body]) for body in BROKEN]
    with replying(*replies) as url, guarding(url, "--max-credits", "0") as guard, guard.client() as client:
        assert {error_code(client.get(f"/{number}")) for number in range(len(replies))} == {"guard_no_reply"}


def test_a_status_above_599_is_no_reply_and_what_was_reserved_stays_booked() -> None:
    replies = [Reply(status, {}, [b"{}"]) for status in (600, 799, 999)]
    with replying(*replies) as url, guarding(url, "--max-credits", "6") as guard, guard.client() as client:
        for number, reply in enumerate(replies):
            response = client.get(f"/{number}")
            assert (response.status_code, error_code(response)) == (470, "guard_no_reply")
            assert str(reply.status) in response.json()["error"]["message"]
        assert client.post(CREATE, json=ORDER).status_code == 470
        assert "spent 5.76 of 6 credits" in guard.stop()[1]


def test_credits_reserved_that_are_no_amount_close_the_budget() -> None:
    reply = Reply(200, {}, [b'{"id": "task-unified-1", "usage": {"credits_reserved": NaN}}'])
    with replying(reply) as url, guarding(url, "--max-credits", "50") as guard, guard.client() as client:
        assert client.post(CREATE, json=ORDER).status_code == 200
        assert "the budget is closed" in client.post(CREATE, json=ORDER).json()["error"]["message"]
        err = guard.stop()[1]
    assert (err.count("finding:"), "spent 5.76 of 50" in err) == (1, True)


def settled(found: Priced | Uncertain, reserved: int, amount: str) -> Settlement:
    body = b'{"id": "task-unified-1", "usage": {"credits_reserved": %b}}' % amount.encode()
    return settlement(found, reserved, UpstreamResponse(200, [], body))


@pytest.mark.parametrize("amount", ["-1", "-0.0001", "NaN", "Infinity", "1e400", "1e10", "true", '"many"', "[]", "{}"])
def test_an_amount_beyond_reason_books_everything_and_closes_the_budget(amount: str) -> None:
    for found, reserved in ((Priced(57_600), 57_600), (Uncertain("x"), 500_000)):
        cost = settled(found, reserved, amount)
        assert (cost.units, cost.problem is None) == (reserved, False)


@pytest.mark.parametrize(
    ("amount", "units", "closes"),
    [("5.76", 57_600, False), ("8.64", 86_400, False), ('"8.64"', 86_400, False), ("0", 57_600, False),
     ("6.00001", 60_001, False), ("50", 500_000, False), ("50.01", 500_100, True), ("null", 500_000, False)],
)  # fmt: skip
def test_a_request_of_uncertain_price_books_what_the_response_says(amount: str, units: int, closes: bool) -> None:
    cost = settled(Uncertain("x"), 500_000, amount)
    assert (cost.units, cost.problem is not None) == (units, closes)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"usage": 5}', b"\xff", b"[" * 100_000])
def test_a_response_that_does_not_say_its_cost_books_everything_reserved(body: bytes) -> None:
    assert settlement(Uncertain("x"), 500_000, UpstreamResponse(200, [], body)) == Settlement(500_000)


def test_a_service_cannot_pose_as_the_guard() -> None:
    with replying(Reply(400, {"X-Sora-Mock-Guard": "guard_refused"}, [b"{}"])) as url:
        with guarding(url, "--max-credits", "0") as guard, guard.client() as client:
            assert "x-sora-mock-guard" not in client.get("/v1/credits").headers
