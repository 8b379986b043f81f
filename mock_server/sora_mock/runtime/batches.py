"""Splits much work of the event loop into batches, so that requests are served between them."""

import asyncio
from collections import deque


class Batches:
    """Allows at most `size` steps in each iteration of the event loop; the others wait, first come, first served.

    It belongs to the event loop in which the first step is taken.
    """

    def __init__(self, size: int) -> None:
        """size: at least 1."""
        self._size = self._left = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_planned = False

    async def take(self) -> None:
        """Returns when the next step may begin: at once while the batch of this iteration is not full."""
        loop = asyncio.get_running_loop()
        self._plan(loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_planned:
            self._is_planned = True
            loop.call_soon(self._next_round, loop)

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_planned, self._left = False, self._size
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            # a step whose time limit has passed waits no longer
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._left < self._size:
            self._plan(loop)
