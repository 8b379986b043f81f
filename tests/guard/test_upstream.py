"""What the guard reads of a response: bounded before it is kept."""

import contextlib
import gzip
import json
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.guard.live import CREATE, ORDER, error_code, guarding

MIB = 1024 * 1024


class Reply:
    """A response: its status, headers and the parts of its body. chunked: how the parts are sent."""

    def __init__(
        self, status: int, headers: dict[str, str], parts: Sequence[bytes], *, times: int = 1, chunked: bool = False
    ) -> None:
        self.status, self.headers, self.parts, self.times, self.chunked = status, headers, parts, times, chunked


@contextlib.contextmanager
def replying(reply: Reply) -> Iterator[str]:
    """A service that gives every request this response."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
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
    "stacked": Reply(200, {"Content-Encoding": "gzip, gzip"}, [packed(256 * MIB, 2)]),
    "three times": Reply(200, {"Content-Encoding": "gzip, gzip, gzip"}, [packed(256 * MIB, 3)]),
    "the same one twice": Reply(200, {"Content-Encoding": "gzip,gzip"}, [packed(MIB, 2)]),
    "one": Reply(200, {"Content-Encoding": "gzip"}, [packed(256 * MIB, 1)]),
    "deflate": Reply(200, {"Content-Encoding": "deflate"}, [zlib.compress(bytes(256 * MIB), 1)]),
    "undeclared": Reply(200, {}, [packed(256 * MIB, 1)]),
    "empty streams": Reply(200, {"Content-Encoding": "gzip"}, [gzip.compress(b"") * 10_000], times=50),
    "identity": Reply(200, {}, [bytes(MIB)], times=100),
    "chunked": Reply(200, {}, [bytes(MIB)], times=100, chunked=True),
    "small chunks": Reply(200, {}, [b"x"] * 1000, times=2000, chunked=True),
    "long headers": Reply(200, {f"x-{number}": "x" * 8000 for number in range(90)}, [b"{}"]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_response_takes_more_memory_than_its_bound(name: str) -> None:
    with replying(BOMBS[name]) as url, guarding(url, "--max-credits", "6") as guard, guard.client() as client:
        before = peak_mib(guard.process.pid)
        response = client.get("/v1/credits")
        assert peak_mib(guard.process.pid) - before < 80
        if name not in ("undeclared", "small chunks"):
            assert error_code(response) == "guard_no_reply"


def test_one_known_encoding_is_decoded_and_searched() -> None:
    content = b'{"data": {}}'
    for name, body in (
        ("gzip", gzip.compress(content)),
        ("X-GZIP", gzip.compress(content)),
        ("identity, gzip", gzip.compress(content)),
        ("deflate", zlib.compress(content)),
        ("deflate", zlib.compress(content)[2:-4]),
        ("gzip", b""),
    ):
        with replying(Reply(200, {"Content-Encoding": name}, [body])) as url:
            with guarding(url, "--max-credits", "0") as guard, guard.client() as client:
                response = client.get("/v1/credits")
                assert (response.content, "content-encoding" in response.headers) == (content if body else b"", False)


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"{}")[:-9], gzip.compress(b"{}") + b"more"], ids=["text", "cut", "more"]
)
def test_an_encoded_response_that_is_broken_is_not_passed_on(body: bytes) -> None:
    with replying(Reply(200, {"Content-Encoding": "gzip"}, [body])) as url:
        with guarding(url, "--max-credits", "0") as guard, guard.client() as client:
            assert error_code(client.get("/v1/credits")) == "guard_no_reply"


@pytest.mark.parametrize("status", [600, 799, 999])
def test_a_status_above_599_is_no_reply_and_what_was_reserved_stays_booked(status: int) -> None:
    with replying(Reply(status, {}, [b"{}"])) as url, guarding(url, "--max-credits", "6") as guard:
        with guard.client() as client:
            response = client.post(CREATE, json=ORDER)
            assert (response.status_code, error_code(response)) == (470, "guard_no_reply")
            assert str(status) in response.json()["error"]["message"]
        assert "spent 5.76 of 6 credits" in guard.stop()[1]


@pytest.mark.parametrize(
    "amount", ["-1", "NaN", "Infinity", "-Infinity", "1e400", "1e10", "true", '"many"', "[]", "{}"]
)
def test_credits_reserved_that_are_no_amount_close_the_budget(amount: str) -> None:
    body = b'{"id": "task-unified-1", "usage": {"credits_reserved": %b}}' % amount.encode()
    with (
        replying(Reply(200, {}, [body])) as url,
        guarding(url, "--max-credits", "50") as guard,
        guard.client() as client,
    ):
        assert client.post(CREATE, json=ORDER).status_code == 200
        refused = client.post(CREATE, json=ORDER)
        assert "the budget is closed" in refused.json()["error"]["message"]
        err = guard.stop()[1]
    assert (err.count("finding:"), "spent 5.76 of 50" in err) == (1, True)


@pytest.mark.parametrize("usage", [{"credits_reserved": 20}, {"credits_reserved": "6"}])
def test_a_task_that_costs_more_than_its_price_is_booked_and_closes_the_budget(usage: Any) -> None:
    reply = Reply(200, {}, [json.dumps({"id": "task-unified-1", "usage": usage}).encode()])
    with replying(reply) as url, guarding(url, "--max-credits", "50") as guard, guard.client() as client:
        assert [client.post(CREATE, json=ORDER).status_code for _ in range(2)] == [200, 470]
        assert f"spent {usage['credits_reserved']} of 50" in guard.stop()[1]


def test_a_service_cannot_pose_as_the_guard() -> None:
    with replying(Reply(400, {"X-Sora-Mock-Guard": "guard_refused"}, [b"{}"])) as url:
        with guarding(url, "--max-credits", "0") as guard, guard.client() as client:
            assert "x-sora-mock-guard" not in client.get("/v1/credits").headers
