"""Ends a process that was asked to stop and does not, for example because its event loop is busy."""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class LastResort:
    """A daemon thread that ends the process some real seconds after `begin`, if the process still exists then.

    The thread waits from the start: a signal handler cannot safely start one.
    """

    def __init__(self, seconds: float, flush: Callable[[], None], exit_code: int) -> None:
        """flush: called before the end; it must not wait long."""
        self._seconds = seconds
        self._flush = flush
        self._exit_code = exit_code
        # unlike an event, it may be used in a signal handler that interrupts another use of it
        self._begun: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._run, name="sora-mock last resort", daemon=True).start()

    def begin(self) -> None:
        """The process has so many seconds from now on; a second call changes nothing. For signal handlers."""
        self._begun.put(None)

    def _run(self) -> None:
        self._begun.get()
        threading.Event().wait(self._seconds)
        self._flush()
        os._exit(self._exit_code)
