"""A transport that writes once in an iteration of the event loop."""

import asyncio


class JoinedWrites(asyncio.Transport):
    """A transport that writes once in an iteration of the event loop, after everything else in that iteration.

    uvicorn writes head and body of a response one after the other. Each write wakes the client, and waking it costs
    more than most of our own work (bench/README.md).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._unsent = (0, 0.0)
        """Bytes in the write buffer, and since when their number is the same, as `seconds_stuck` last saw it."""
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.is_held = False
        """Whether nothing is read, although uvicorn resumes: it does so with each response and for each body."""

    def hold_reading(self) -> None:
        """Reads nothing until `is_held` is False again and reading is resumed."""
        self.is_held = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, unless reading is held."""
        if not self.is_held:
            self._transport.resume_reading()

    def seconds_stuck(self, now: float) -> float:
        """Seconds since the client last read anything of what waits, as precise as the interval of these calls."""
        size = self._transport.get_write_buffer_size()
        if size == 0 or size != self._unsent[0]:
            self._unsent = size, now
        return now - self._unsent[1]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes together with everything else of this iteration."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(bytes(data))

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        # the client may have left in between
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Writes what waits, then closes."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once; what waits is lost."""
        self._waiting.clear()
        self._transport.abort()
