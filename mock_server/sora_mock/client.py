"""A thin client of the control API; imports no other room, so that tools can use it against any mock."""

import http.client
import json
import os
import threading
from typing import Any
from urllib.parse import urlsplit


class Unreachable(Exception):
    """Nothing that answers as a mock does was found at the URL."""


class Client:
    """Calls the control API of the mock at `url`.

    key: the account that calls are about, None for the whole server. token: for mocks beyond loopback;
    by default that of the environment. timeout: real seconds for each call.
    """

    def __init__(self, url: str, key: str | None = None, *, token: str | None = None, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"expected a URL such as http://127.0.0.1:4010, got {url!r}")
        self.host, self.port = parts.hostname, parts.port or 80
        self.timeout = timeout
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        token = token or os.environ.get("SORA_MOCK_CONTROL_TOKEN")
        if token:
            self.headers["X-Mock-Token"] = token

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one call, `path` below `/__mock`. Raises Unreachable."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, "/__mock" + path, data, self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read(1 << 24))
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise Unreachable(f"{type(problem).__name__}: {problem}") from None
        finally:
            connection.close()


def wait(url: str, seconds: float) -> bool:
    """Whether the mock at `url` answers as healthy within `seconds`, asking ten times a second."""
    client = Client(url, timeout=min(seconds, 5.0))
    ready, over = threading.Event(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                status, body = client.call("GET", "/health")
                if status == 200 and body.get("status") == "ok":
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
