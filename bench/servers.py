"""The two servers that are compared, as child processes that tell on standard output when they are ready."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MOCK = (sys.executable, str(Path(sys.executable).with_name("sora-mock")))
BARE = (sys.executable, str(Path(__file__).with_name("bare.py")))


@dataclass(frozen=True)
class Running:
    """url: where it listens. seconds: from the start of the process to its ready line."""

    process: subprocess.Popen[str]
    url: str
    seconds: float


@contextlib.contextmanager
def running(command: Sequence[str], stderr: int | None = None) -> Iterator[Running]:
    """The server of `command` until the end of the block. Exits where it says anything but that it is ready."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        if "ready" not in line:
            sys.exit(f"{' '.join(command)[:200]} did not start: {line!r}")
        yield Running(process, "http" + line.partition("http")[2].rstrip('"}\n'), seconds)
    finally:
        process.terminate()
        process.communicate()
