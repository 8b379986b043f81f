"""A small process between `sora-mock run` and its command: whatever happens to either, no process is left behind.

It is the parent of the command and, on Linux, of everything that the command leaves running. It holds one end of a
channel: when the other end closes, however its owner died, the command and all that it started are killed.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from sora_mock.runtime import clock
from sora_mock.runtime.console import complain

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes, those of a shell."""

PASSED_ON: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
"""Signals that are for the command."""

STARTED: Final = b"+"
"""What the keeper says when the command runs."""

LAST_MOMENTS: Final = 2.0
"""Real seconds between SIGTERM and SIGKILL for what a command left running, and how long a SIGKILL is waited for."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def keep(channel: socket.socket, command: Sequence[str], own_group: bool, mask: Iterable[int]) -> int:
    """Starts the command once its variables arrive on the channel; its exit code when all of it is over.

    The channel then brings signal numbers, one byte each. own_group: the command leads a process group, which gets
    them as a whole; otherwise it is in that of the caller. mask: the signals that the command has to find blocked.
    Single-threaded processes only.
    """
    with channel.makefile("rb", buffering=0) as lines:
        variables = lines.readline()
    if not variables.endswith(b"\n"):
        return 0
    keeper = _Keeper(channel, own_group)
    try:
        keeper.start(command, {**os.environ, **json.loads(variables)}, mask)
    except OSError as problem:
        missing = not command[0] or isinstance(problem, (FileNotFoundError, NotADirectoryError))
        complain(f"cannot run {command[0]!r}: {'command not found' if missing else problem.strerror}")
        return NOT_FOUND if missing else NOT_EXECUTABLE
    # What ends a whole group, such as `timeout --kill-after`, must leave somebody to tidy up. A group of our own in the
    # same session would not do: the kernel would count us as somebody who continues a command that Ctrl-Z has stopped.
    os.setsid()
    channel.send(STARTED)
    return keeper.wait()


class _Keeper:
    def __init__(self, channel: socket.socket, own_group: bool) -> None:
        self.channel = channel
        self.own_group = own_group
        self.forsaken = False
        """Whether the owner of the channel's other end is gone."""
        self.pid = 0
        self.ended: int | None = None
        """The exit code of the command, once it is over."""
        # a byte arrives here when a child ends
        self.woken, waker = socket.socketpair()
        self.woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(self, command: Sequence[str], environment: dict[str, str], mask: Iterable[int]) -> None:
        """Raises OSError where the command cannot be run."""

        def prepare() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        group = 0 if self.own_group else None
        # what was opened for the command, as by a shell's <(...), stays open; what is ours closes by itself
        self.child = subprocess.Popen(  # noqa: S603  # to run what the user typed is what this is for
            command, env=environment, process_group=group, preexec_fn=prepare, close_fds=False
        )
        # kept: a Popen that is forgotten takes the exit code with it
        self.pid = self.child.pid

    def wait(self) -> int:
        """Passes signals on until the command ends, then ends what it left."""
        try:
            while self._reap() and self.ended is None and not self.forsaken:
                self._listen(None)
            if not self.forsaken:
                self._end_all(signal.SIGTERM)
        finally:
            self._end_all(signal.SIGKILL)
            self.woken.close()
        return 128 + signal.SIGKILL if self.ended is None else self.ended

    def _listen(self, seconds: float | None) -> None:
        """Waits for a child to end, and passes on what comes."""
        ends = [self.woken] if self.forsaken else [self.woken, self.channel]
        ready, _, _ = select.select(ends, [], [], seconds)
        if self.woken in ready:
            self.woken.recv(4096)
        if self.channel in ready:
            try:
                numbers = self.channel.recv(64)
            except ConnectionResetError:
                numbers = b""
            self.forsaken = not numbers
            for number in numbers:
                if self.ended is None:
                    _send(-self.pid if self.own_group else self.pid, number)

    def _reap(self) -> bool:
        """Takes the exit codes of children that are over; False where no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                code = self.child.returncode = os.waitstatus_to_exitcode(status)
                self.ended = 128 - code if code < 0 else code

    def _end_all(self, number: int) -> None:
        """Sends a signal to all that is left and waits for it; a SIGTERM is not waited for when haste is needed."""
        over_at = clock.stopwatch() + LAST_MOMENTS
        told: set[int] = set()
        while left := self._left():
            for pid in left - told:
                _send(pid, number)
            told |= left
            remaining = over_at - clock.stopwatch()
            if remaining <= 0 or (self.forsaken and number != signal.SIGKILL):
                return
            # nobody tells when the child of a child ends
            self._listen(min(remaining, 0.1))

    def _left(self) -> set[int]:
        """Processes that the command left, by id; the negative id of its group where the system tells no more."""
        children = self._reap()
        if sys.platform == "linux":
            # the orphans of a subreaper's children are its own
            return _descendants(os.getpid()) if children else set()
        group = -self.pid if self.own_group else self.pid
        return {group} if (self.own_group or self.ended is None) and _send(group, 0) else set()


def _send(pid: int, number: int) -> bool:
    """Whether there was a process, or a group, that could be sent the signal."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        # it is over, or belongs to another user by now
        return False
    return True


def _descendants(ancestor: int) -> set[int]:
    """Every living process below `ancestor`. Linux."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # one that ends meanwhile
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children.setdefault(int(parent), []).append(int(entry.name))
    found: set[int] = set()
    asked = [ancestor]
    while asked:
        below = children.get(asked.pop(), [])
        found.update(below)
        asked += below
    return found


def _prctl(option: int, value: int) -> None:
    """Linux has words for it; elsewhere the channel has to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
