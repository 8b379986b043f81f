"""Lines on standard error for the person who typed the command: one each, whatever becomes of their reader."""

import io
import os
import select
import sys
from typing import Final

from sora_mock.domain.text import visible

PATIENCE: Final = 0.5
"""Real seconds that a reader who is behind gets before a line is given up."""


def complain(message: str, program: str = "sora-mock") -> None:
    """Says what was wrong. That nobody reads it changes nothing: the exit code still tells."""
    if sys.stderr is None:
        return
    line = f"{program}: {visible(message)}\n"
    try:
        descriptor = sys.stderr.fileno()
        # a full pipe would hold us for as long as its reader likes; Windows can ask this of sockets alone
        if sys.platform == "win32" or select.select([], [descriptor], [], PATIENCE)[1]:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
    except (AttributeError, io.UnsupportedOperation):
        # what stands for it is no file
        sys.stderr.write(line)
    except (OSError, ValueError):
        return
