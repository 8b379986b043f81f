"""A lock on an open file, for several processes. The system releases it when its process ends."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Final

if sys.platform == "win32":
    import msvcrt

    _FAR: Final = 1 << 40  # a byte after the end of any file: Windows blocks reads and writes of a locked byte

    def _lock(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        while True:
            with contextlib.suppress(OSError):  # msvcrt gives up after ten tries
                msvcrt.locking(file, msvcrt.LK_LOCK, 1)
                return

    def _unlock(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(file: int) -> Iterator[None]:
    """Waits for the lock of an open file and holds it. file: a descriptor."""
    _lock(file)
    try:
        yield
    finally:
        _unlock(file)
