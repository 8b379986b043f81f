"""Reads a request to the service: its body, bounded in size and in time, and the origin that it called."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from starlette.types import Message, Receive

from sora_mock.domain.authority import host_of
from sora_mock.runtime import connections

MAX_BODY_BYTES: Final = 1024 * 1024
"""Bytes of a request's body that are accepted."""

MAX_DRAINED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of a larger body that are read all the same, so that the client can read the response."""


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


def origin(public_url: str | None, server: tuple[str, int | None] | None, headers: Mapping[bytes, bytes]) -> str:
    """What result links begin with: `--public-url`, otherwise the request's Host, otherwise the server's address."""
    if public_url is not None:
        return public_url
    called = _origin_of(headers.get(b"host", b""))
    if called is not None:
        return called
    name, port = server or ("127.0.0.1", 80)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


@lru_cache(maxsize=256)
def _origin_of(host: bytes) -> str | None:
    authority = host.decode("latin-1")
    return None if host_of(authority) is None else f"http://{authority.removesuffix(':')}"


async def read_body(receive: Receive) -> tuple[bytes | None, bool]:
    """The whole body, None where it is over 1 MiB; and whether a part of it was left unread.

    Raises ClientLeft, and TimeoutError where it does not arrive in time.
    """
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        return (body, False) if len(body) <= MAX_BODY_BYTES else (None, False)
    async with asyncio.timeout(connections.BODY_TIMEOUT):
        return await _read_on(receive, message)


async def _read_on(receive: Receive, message: Message) -> tuple[bytes | None, bool]:
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        more = message.get("more_body", False)
        if not more or size > MAX_DRAINED_BYTES:
            return (b"".join(chunks), False) if size <= MAX_BODY_BYTES else (None, more)
        message = await receive()
