"""A service that honours, and charges for, everything that it can find in a request, contract or not."""

import contextlib
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.guard.live import REAL
from tests.guard.prices import could_create, price_of


class EagerService(ThreadingHTTPServer):
    """`spent`: credits of all that it accepted with the real key."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Forgets what was spent. seed: decides which requests it rejects, and which responses say what they cost."""
        self.seed, self.count, self.spent = seed, 0, 0.0

    def respond(self, request: "_Handler", body: bytes) -> tuple[int, Any]:
        """Status and JSON of the response."""
        target, headers = request.path, str(request.headers)
        if REAL not in headers:
            return 401, {"error": {"code": "unauthorized"}}
        if not could_create(request.command, headers, body):
            return 200, {}
        price = round(price_of(target, headers, body), 4)
        with self.lock:
            self.count += 1
            chance = zlib.crc32(f"{self.seed} {self.count}".encode()) / 2**32
            if chance < 0.2:
                return 400, {"error": {"code": "invalid_request"}}
            self.spent = round(self.spent + price, 4)
        if chance < 0.25:
            return 500, {"error": {"code": "internal_error"}}
        if chance < 0.3:
            return 200, {"id": "task-unified-1"}
        return 200, {"id": "task-unified-1", "usage": {"credits_reserved": price}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EagerService

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, value = self.server.respond(self, body)
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"):
    setattr(_Handler, f"do_{_method}", _Handler._handle)


@contextlib.contextmanager
def eager_service() -> Iterator[EagerService]:
    """Such a service in a thread."""
    with EagerService() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
