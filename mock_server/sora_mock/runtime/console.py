"""One-line messages on standard error that never wait for their reader, and standard files that are closed."""

import io
import os
import select
import sys
from typing import Final

from sora_mock.domain.text import visible

MAX_WAIT_SECONDS: Final = 0.5
"""Real seconds that a slow reader gets before the message is dropped."""


def complain(message: str, program: str = "sora-mock") -> None:
    """Prints what is wrong as one line. An output without a reader raises nothing: the exit code says it too."""
    if sys.stderr is None:
        return
    line = f"{program}: {visible(message)}\n"
    try:
        descriptor = sys.stderr.fileno()
        # a write to a full pipe waits for the reader without limit; on Windows `select` knows sockets only
        if sys.platform == "win32" or select.select([], [descriptor], [], MAX_WAIT_SECONDS)[1]:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
    except (AttributeError, io.UnsupportedOperation):
        # a program has replaced standard error by an object that is no file
        sys.stderr.write(line)
    except (OSError, ValueError):
        return


def fill_standard_files() -> None:
    """Opens the null device for each standard file that is closed.

    Otherwise a pipe or socket of ours gets its number; libuv aborts if that happens to one of its own.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
