"""The guard between the suite and the live service."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import IO, Final

READY: Final = "sora-mock guard ready on "
START: Final = 15.0
"""Real seconds until the guard must be ready."""


class NoGuard(Exception):
    """The guard did not start. The text is its message."""


@contextmanager
def guarded(arguments: Sequence[str]) -> Iterator[str]:
    """Runs `sora-mock guard` with these flags during the block and yields its address. Raises NoGuard."""
    # it ends when its standard input closes, also if this process is killed; its own session keeps Ctrl-C from it
    command = [sys.executable, "-P", "-m", "sora_mock.cli.child", "guard", *arguments]
    process = subprocess.Popen(  # noqa: S603  # our interpreter and our module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: Queue[str] = Queue()
    reader = Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        yield _ready_url(lines)
    finally:
        process.terminate()
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(START)
        process.stdout.close()


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _ready_url(lines: "Queue[str]") -> str:
    try:
        line = lines.get(timeout=START)
    except Empty:
        raise NoGuard(f"the guard was not ready within {START:g} s") from None
    if not line.startswith(READY):
        raise NoGuard("the guard did not start" + (f": {line.strip()[:200]}" if line.strip() else ""))
    return line.removeprefix(READY).strip().rstrip("/")
