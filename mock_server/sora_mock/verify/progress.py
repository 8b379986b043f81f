"""Prints a line for each rule that ends, and a progress bar below them at a terminal."""

import time
from threading import Lock
from typing import Final, Self, TextIO

WIDTH: Final = 24
CLEAR: Final = "\r\x1b[K"


class Progress:
    """Prints lines to standard output from several threads, and a bar on `watched` if that is a terminal."""

    def __init__(self, total: int, watched: TextIO) -> None:
        self.total = total
        self.watched = watched if watched.isatty() else None
        self._done = self._failed = 0
        self._began = time.monotonic()
        self._lock = Lock()

    def __enter__(self) -> Self:
        self._show(self.bar())
        return self

    def __exit__(self, *problem: object) -> None:
        self._show(CLEAR)

    def step(self, line: str, *, failed: bool) -> None:
        """Counts one more rule and prints its line."""
        with self._lock:
            self._done += 1
            self._failed += failed
            # otherwise the bar would be in the middle of the line
            self._show(CLEAR)
            print(line, flush=True)
            self._show(self.bar())

    def bar(self) -> str:
        """The bar, such as `[######------] 120 of 337, 1 failed, 4 s`."""
        full = WIDTH * self._done // max(1, self.total)
        failed = f", {self._failed} failed" if self._failed else ""
        seconds = time.monotonic() - self._began
        return f"\r[{'#' * full}{'-' * (WIDTH - full)}] {self._done} of {self.total}{failed}, {seconds:.0f} s"

    def _show(self, text: str) -> None:
        if self.watched is not None:
            self.watched.write(text)
            self.watched.flush()
