"""A thin client of the control API; imports no other room, so that tools can use it against any mock."""

import io
import json
import os
import socket
import threading
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic  # noqa: TID251  # a deadline of real seconds; by name, for tests replace time.monotonic
from typing import Any, Final
from urllib.parse import urlsplit

LARGEST_ANSWER: Final = 1 << 28
"""Bytes that are read of an answer: 10,000 deliveries with all that their receivers said."""


class Unreachable(Exception):
    """Nothing that answers as a mock does was found at the URL."""


class Client:
    """Calls the control API of the mock at `url`, an origin such as http://127.0.0.1:4010. Raises ValueError.

    key: the account that calls are about, None for the whole server. token: for mocks beyond loopback;
    by default that of the environment. timeout: real seconds for each call, from the connection to the last byte.
    """

    def __init__(self, url: str, key: str | None = None, *, token: str | None = None, timeout: float = 10.0) -> None:
        self.host, self.port = _address(url)
        self.timeout = timeout
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        token = token or os.environ.get("SORA_MOCK_CONTROL_TOKEN")
        if token:
            self.headers["X-Mock-Token"] = token

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one call, `path` below `/__mock`. Raises Unreachable; ValueError for a body with NaN."""
        data = None if body is None else json.dumps(body, allow_nan=False)
        connection = HTTPConnection(self.host, self.port, timeout=self.timeout)
        connection.response_class = partial(_Response, over_at=monotonic() + self.timeout)  # type: ignore[assignment]
        try:
            connection.request(method, "/__mock" + path, data, self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read(LARGEST_ANSWER))
        except (OSError, HTTPException, ValueError, RecursionError) as problem:
            raise Unreachable(f"{type(problem).__name__}: {problem}") from None
        finally:
            connection.close()


def _address(url: str) -> tuple[str, int]:
    """Host and port of an origin. Raises ValueError for anything else: what stands behind it would never be called."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as problem:
        raise ValueError(f"{problem} in {url!r}") from None
    behind = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme != "http" or not parts.hostname or behind or url != url.strip():
        raise ValueError(f"expected a URL such as http://127.0.0.1:4010, got {url!r}")
    return parts.hostname, port


class _Response(HTTPResponse):
    """An answer that has to be there as a whole by a moment: a socket's own timeout starts anew with each byte."""

    def __init__(self, sock: socket.socket, *more: Any, over_at: float, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Bounded(sock, over_at))


class _Bounded(io.RawIOBase):
    def __init__(self, sock: socket.socket, over_at: float) -> None:
        self.sock = sock
        self.over_at = over_at
        self.raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self.over_at - monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(remaining)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


def wait(url: str, seconds: float) -> bool:
    """Whether the mock at `url` answers as healthy within `seconds`, asking ten times a second."""
    client = Client(url, timeout=min(seconds, 5.0))
    ready, over = threading.Event(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                status, body = client.call("GET", "/health")
                if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
                    ready.set()
                    return
            except Unreachable:
                pass
            over.wait(0.1)

    # a thread, because a server that drips its answer could hold any single call for longer
    threading.Thread(target=ask, daemon=True).start()
    ready.wait(seconds)
    over.set()
    return ready.is_set()
