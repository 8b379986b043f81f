"""Lists of the control API: built in slices of time, so that other requests do not wait, and bounded in size."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sora_mock.control.reading import Fields
from sora_mock.domain.fault import TRANSPORT
from sora_mock.runtime.batches import Batches
from sora_mock.runtime.clock import stopwatch

MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the items of a list; the newest items that fit are shown."""

SLICE: Final = 0.003
"""Real seconds for which lists are built in one iteration of the event loop, all of them together."""

Item = TypeVar("Item")

_encode: Final = msgspec.json.Encoder().encode


class Lists:
    """The lists that a server builds. They take turns, a slice of time each.

    A list of the whole server can hold the whole history while it is built, so these are built one after the other.
    """

    def __init__(self) -> None:
        self._slices = Batches(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def build(self, request: Request, key: str | None) -> AsyncIterator["ListBuilder"]:
        """Builds one list. key: of the account; None for the whole server."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # a lock belongs to one event loop; in process, the next test may use the application in another one
            self._loop, self._lock = loop, asyncio.Lock()
        async with self._lock if key is None else nullcontext():
            yield ListBuilder(self._slices, request)


class ListBuilder:
    """Builds one list. The caller awaits `pause` before each small step of its own."""

    def __init__(self, slices: Batches, request: Request) -> None:
        self._slices = slices
        self._transport = request.scope.get("extensions", {}).get(TRANSPORT)
        self._ends_at = 0.0

    async def pause(self) -> None:
        """Waits for the next turn if the slice of time is over. Raises ClientDisconnect if the client has left."""
        if stopwatch() < self._ends_at:
            return
        await self._slices.take()
        if self._transport is not None and self._transport.is_closing():
            raise ClientDisconnect
        self._ends_at = stopwatch() + SLICE

    async def response(
        self, name: str, newest: Iterable[Item], view: Callable[[Item], Fields], *, oldest_first: bool = False
    ) -> Response:
        """The response with the views of the items under `name`. newest: the items, newest first.

        `truncated` is in it and true if not all of them fit. oldest_first: the order of the response.
        """
        parts: list[bytes] = []
        size, is_truncated = 0, False
        for item in newest:
            await self.pause()
            part = _encode(view(item))
            size += len(part) + 1
            if size > MAX_LIST_BYTES:
                is_truncated = True
                break
            parts.append(part)
        if oldest_first:
            parts.reverse()
        end = b'],"truncated":true}' if is_truncated else b"]}"
        body = b"".join((b'{"', name.encode(), b'":[', b",".join(parts), end))
        return Response(body, media_type="application/json")


def lists_of(request: Request) -> Lists:
    """The lists of the application that serves the request."""
    lists: Lists = request.app.state.lists
    return lists
