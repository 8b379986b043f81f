"""HTTP to the control API of a running mock: one JSON request at a time, over http or https, with a deadline."""

import io
import json
import os
import socket
import threading
from functools import cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic  # noqa: TID251  # a deadline of real seconds; by name, for tests replace time.monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

MAX_RESPONSE_BYTES: Final = 1 << 28
"""Bytes that are read of a response: 10,000 deliveries with everything that their receivers sent back."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

POLL_INTERVAL: Final = 0.1
"""Real seconds between two requests of `wait`."""


class Unreachable(Exception):
    """No mock responds at the URL. The text names the reason."""


class Client:
    """Sends requests to the control API of the mock at `url`, an origin such as http://127.0.0.1:4010.

    key: the account that the requests are about, None for the whole server. token: for mocks beyond loopback, by
    default $SORA_MOCK_CONTROL_TOKEN. timeout: real seconds for one request, from the connection to the last byte.
    Raises ValueError for a URL that is not an origin.
    """

    def __init__(self, url: str, key: str | None = None, *, token: str | None = None, timeout: float = 10.0) -> None:
        self.scheme, self.host, self.port = _origin(url)
        self.timeout = timeout
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        token = token or os.environ.get("SORA_MOCK_CONTROL_TOKEN")
        if token:
            self.headers["X-Mock-Token"] = token

    def call(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> tuple[int, Any]:
        """Sends one request and returns the status and the JSON of the response.

        path: below `/__mock`. timeout: for this request alone. Raises Unreachable, and ValueError for a body with NaN.
        """
        data = None if body is None else json.dumps(body, allow_nan=False)
        seconds = self.timeout if timeout is None else timeout
        try:
            connection = self._connection(seconds)
        except OSError as problem:
            raise Unreachable(f"{type(problem).__name__}: {problem}") from None
        connection.response_class = partial(_Response, deadline=monotonic() + seconds)  # type: ignore[assignment]
        try:
            connection.request(method, "/__mock" + path, data, self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read(MAX_RESPONSE_BYTES))
        except (OSError, HTTPException, ValueError, RecursionError) as problem:
            raise Unreachable(f"{type(problem).__name__}: {problem}") from None
        finally:
            connection.close()

    def _connection(self, timeout: float) -> HTTPConnection:
        """A connection that is not open yet. Raises OSError where the system's certificates cannot be read."""
        if self.scheme == "http":
            return HTTPConnection(self.host, self.port, timeout=timeout)
        # a Python that was built without ssl has no such class, and can still use a mock over http
        from http.client import HTTPSConnection

        context = _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return HTTPSConnection(self.host, self.port, timeout=timeout, context=context)


@cache
def _tls_context(cert_file: str | None, cert_dir: str | None) -> "ssl.SSLContext":
    """The certificates to trust. OpenSSL reads the two variables; they are parameters so that a change is noticed.

    Reading the system's certificates takes longer than a request, so the context is kept.
    """
    # for the same reason as HTTPSConnection
    import ssl

    return ssl.create_default_context()


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an origin. Raises ValueError for a URL with more than that: it would be ignored."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as problem:
        raise ValueError(f"{problem} in {url!r}") from None
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or more or url != url.strip():
        raise ValueError(f"expected a URL such as http://127.0.0.1:4010, got {url!r}")
    return parts.scheme, parts.hostname, port


class _Response(HTTPResponse):
    """A response that must be complete at `deadline`. A socket's own timeout starts anew with each byte."""

    def __init__(self, sock: socket.socket, *more: Any, deadline: float, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_DeadlineReader(sock, deadline))


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(remaining)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


def wait(url: str, seconds: float) -> bool:
    """Whether the mock at `url` becomes healthy within `seconds`. Raises ValueError for a URL that is not an origin."""
    client = Client(url, timeout=min(seconds, 5.0))
    ready, over = threading.Event(), threading.Event()

    def poll() -> None:
        while not over.is_set():
            try:
                status, body = client.call("GET", "/health")
                if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
                    ready.set()
                    return
            except Unreachable:
                pass
            over.wait(POLL_INTERVAL)

    # a thread, because a name lookup has no timeout and a connection tries each address of a host in turn
    threading.Thread(target=poll, daemon=True).start()
    deadline = monotonic() + seconds
    # Python notices a Ctrl-C that comes just before a sleep only after it, so no sleep is long
    while not ready.wait(min(max(deadline - monotonic(), 0.0), POLL_INTERVAL)) and monotonic() < deadline:
        pass
    over.set()
    return ready.is_set()
