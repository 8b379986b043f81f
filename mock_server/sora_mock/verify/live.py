"""The guard between the suite and the live service."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sora_mock.process import ChildProcess, StartError

START: Final = 15.0
"""Real seconds until the guard must be ready."""


class NoGuard(Exception):
    """The guard did not start; the text says why."""


@contextmanager
def guarded(arguments: Sequence[str]) -> Iterator[str]:
    """The address of a guard of our own, `sora-mock guard` with these flags, ended afterwards. Raises NoGuard."""
    try:
        guard = ChildProcess(["guard", *arguments], deadline=START)
    except StartError as problem:
        reason = f": {problem}" if str(problem) else ""
        raise NoGuard(f"the guard did not start{reason}") from None
    try:
        yield guard.url
    finally:
        guard.stop()
