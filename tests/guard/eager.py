"""A service that honours, and charges for, everything that it can find in a request, contract or not."""

import ast
import base64
import binascii
import contextlib
import gzip
import json
import re
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote_plus

from tests.guard.live import REAL

PLAIN = 5.76
DEARER = 30.0


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
        if request.command in ("GET", "HEAD") and not body:
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


def price_of(target: str, headers: str, body: bytes) -> float:
    """Credits for everything that a request names: the dearest model, every second, every copy, every order."""
    texts = [unquote_plus(target), headers, *readings(body)]
    values = [value for text in texts for value in parsed(text)]
    price = DEARER if any("dearer" in text.casefold() for text in texts) else PLAIN
    longest = max([_number(each) for each in found(texts, values, "duration")] or [10.0])
    copies = 1.0
    for name in ("n", "count"):
        copies *= max([_number(each) for each in found(texts, values, name)] or [1.0])
    for name in ("prompt", "image_urls", "aspect_ratio"):
        copies *= max([len(each) for each in found(texts, values, name) if isinstance(each, list)] or [1])
    orders = max([1, *(len(value) for value in values if isinstance(value, list))])
    return price * max(1.0, longest / 10) * max(1.0, copies) * orders


def readings(body: bytes) -> list[str]:
    """The body as every text that a service could take it for."""
    plain = [body]
    for window in (47, -15):
        for data in list(plain):
            with contextlib.suppress(zlib.error):
                plain.append(zlib.decompressobj(window).decompress(data, 1 << 20))
    for data in list(plain):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            plain.append(gzip.decompress(data))
        with contextlib.suppress(binascii.Error, ValueError):
            plain.append(base64.b64decode(data, validate=True))
    texts = {data.decode(each, "replace") for data in plain for each in ("utf-8", "utf-16-le", "utf-16-be")}
    return [*texts, *(unquote_plus(text) for text in texts)]


def parsed(text: str) -> list[Any]:
    """The values in a text: JSON, JSON in a string, lines of JSON, what follows a byte order mark, Python."""
    values = []
    for each in {text, text.lstrip("\ufeff"), *text.splitlines(), re.sub(r",\s*}", "}", text)}:
        with contextlib.suppress(ValueError, RecursionError):
            values.append(json.JSONDecoder(strict=False).raw_decode(each.strip())[0])
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            values.append(ast.literal_eval(each.strip()))
    return [*values, *(inner for value in values if isinstance(value, str) for inner in parsed(value))]


def found(texts: list[str], values: list[Any], name: str) -> list[Any]:
    """Everything that could be the value of a field: in forms, YAML and XML by its look, in values at any depth."""
    pattern = re.compile(rf"\b{name}\b[\"']?\s*[=:>]\s*[\"']?(-?[0-9.]+(?:e[0-9]+)?)", re.IGNORECASE)
    hits: list[Any] = [hit for text in texts for hit in pattern.findall(text)]
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            hits += [each for key, each in value.items() if str(key).casefold() == name]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return hits


def _number(value: Any) -> float:
    try:
        return sum(map(_number, value)) if isinstance(value, list) else float(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0


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
