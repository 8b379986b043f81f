"""The guard's HTTP client: it sends a request once and unchanged, and reads the whole response."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Any, Final

import httpx

MAX_RESPONSE: Final = 16 * 1024 * 1024
"""How many bytes of a response the guard reads."""
MAX_UNPACKED: Final = 8 * 1024 * 1024
"""How many bytes an encoded response may unpack to."""
MAX_STATUS: Final = 599

# zlib's numbers for the formats; some servers send a raw stream as deflate
_WINDOWS: Final = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


@dataclass(frozen=True)
class UpstreamResponse:
    """A complete response, its content decoded."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class NoReply(Exception):
    """The guard has no response to pass on.

    sent: False if the service certainly got nothing of the request. status: the status of a response that could not be
    read, None if there was none.
    """

    def __init__(self, reason: str, *, sent: bool, status: int | None = None) -> None:
        super().__init__(reason)
        self.sent = sent
        self.status = status


class Upstream:
    """Sends requests to `target`, an origin with an optional path prefix.

    It uses httpx's transport and not its client, because only the client retries, follows redirects, keeps cookies and
    reads proxies from the environment. timeout: real seconds for one step; the whole exchange may take twice as long.
    """

    def __init__(self, target: str, timeout: float) -> None:
        self.url = httpx.URL(target)
        self.timeout = timeout
        self._pooled = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None, max_keepalive_connections=20))
        # a new connection for paid requests: on an old one that the service closes just then, the request would be lost
        self._fresh = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))

    async def send(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, *, paid: bool
    ) -> UpstreamResponse:
        """Sends one request; `target` is path and query byte for byte. Raises NoReply."""
        extensions: dict[str, Any] = {
            "timeout": httpx.Timeout(self.timeout).as_dict(),
            "target": self.url.raw_path.rstrip(b"/") + target,
        }
        content = body if body or method in ("POST", "PUT", "PATCH") else None
        request = httpx.Request(method, self.url, headers=headers, content=content, extensions=extensions)
        transport = self._fresh if paid else self._pooled
        status: int | None = None
        try:
            async with asyncio.timeout(2 * self.timeout):
                response = await transport.handle_async_request(request)
                status = response.status_code
                try:
                    if not 200 <= status <= MAX_STATUS:
                        raise ValueError(f"the reply has the status {status}, expected 200 to {MAX_STATUS}")
                    return UpstreamResponse(status, list(response.headers.raw), await _content(response))
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as problem:
            raise NoReply(f"no connection: {_first_line(problem)}", sent=False) from None
        except (httpx.HTTPError, httpx.StreamError, TimeoutError, OSError, zlib.error, ValueError) as problem:
            raise NoReply(_first_line(problem), sent=True, status=status) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._pooled.aclose()
        await self._fresh.aclose()


async def _content(response: httpx.Response) -> bytes:
    """The decoded body. Raises ValueError for one that cannot be searched for the key, or that is too large.

    The sizes are checked before the bytes are kept: a small response can unpack to gigabytes.
    """
    encodings = [each.strip().lower() for each in response.headers.get("content-encoding", "").split(",")]
    encodings = [each for each in encodings if each not in ("", "identity")]
    if len(encodings) > 1 or not _WINDOWS.keys() >= set(encodings):
        raise ValueError(f"the reply is encoded as {', '.join(encodings)[:40]} although the guard accepts no encoding")
    body = bytearray()
    async for part in response.aiter_raw():
        if len(body) + len(part) > MAX_RESPONSE:
            raise _too_large()
        body += part
    return _unpacked(bytes(body), _WINDOWS[encodings[0]]) if encodings and body else bytes(body)


def _unpacked(packed: bytes, windows: tuple[int, ...]) -> bytes:
    """The content of one complete stream of zlib. windows: its formats, tried in this order. Raises ValueError."""
    for window in windows:
        stream = zlib.decompressobj(window)
        try:
            content = stream.decompress(packed, MAX_UNPACKED + 1)
        except zlib.error:
            continue
        if len(content) > MAX_UNPACKED or (stream.unconsumed_tail and not stream.eof):
            raise _too_large()
        if stream.unused_data or not stream.eof:
            raise ValueError("the encoded reply does not end where its body ends")
        return content
    raise ValueError("the encoded reply cannot be decoded")


def _too_large() -> ValueError:
    return ValueError(f"the reply is larger than {MAX_RESPONSE >> 20} MiB, or than {MAX_UNPACKED >> 20} MiB unpacked")


def _first_line(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {str(problem)[:200]}".splitlines()[0]
