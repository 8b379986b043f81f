"""The guard's HTTP client: it sends a request once and unchanged, and reads the whole response."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Any, Final

import httpx

MAX_RESPONSE: Final = 64 * 1024 * 1024
_READABLE: Final = {"", "identity", "gzip", "deflate"}


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
    """The decoded body. Raises ValueError for one that cannot be searched for the key, or that is too large."""
    encodings = {each.strip().lower() for each in response.headers.get("content-encoding", "").split(",")}
    if not encodings <= _READABLE:
        raise ValueError(
            f"the reply is encoded as {', '.join(sorted(encodings))[:40]} although the guard accepts no encoding"
        )
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_RESPONSE:
            raise ValueError(f"the reply is larger than {MAX_RESPONSE >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _first_line(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {str(problem)[:200]}".splitlines()[0]
