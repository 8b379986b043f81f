"""`sora-mock run`: a server for as long as one command runs, told to it by variables of the environment."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from sora_mock.cli.keeper import PASSED_ON, STARTED, keep
from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain import ids
from sora_mock.runtime import randomness
from sora_mock.runtime.log import Terminal
from sora_mock.storage.journal import Record

SHOWN: Final = 10
"""Requests that are shown when the command fails."""

BROKEN: Final = 1
"""Exit code where the server died under a command that ended well."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FROM_THE_TERMINAL: Final = 0x80
"""`si_code` of a signal that the kernel sent by itself (sigaction(2), SI_KERNEL)."""


class Variable:
    """A variable for the command, `NAME=TEMPLATE`, in which `{url}` and `{api_key}` are filled in.

    Raises SettingError.
    """

    def __init__(self, written: str) -> None:
        self.name, equals, self.text = written.partition("=")
        if not equals or not _NAME.fullmatch(self.name):
            raise SettingError(f"bad value {written[:80]!r} for --env: expected NAME=TEMPLATE, such as BASE={{url}}/v1")
        rest = self.text.replace("{url}", "").replace("{api_key}", "")
        if "{" in rest or "}" in rest:
            raise SettingError(f"bad value {written[:80]!r} for --env: known in braces are {{url}} and {{api_key}}")

    def filled(self, url: str, api_key: str) -> str:
        """The variable's value."""
        return self.text.replace("{url}", url).replace("{api_key}", api_key)


def run(
    settings: Settings,
    command: Sequence[str],
    variables: Sequence[Variable],
    terminal: Callable[[], Terminal],
    *,
    log: bool,
) -> int:
    """The exit code of the command, 128 + N where signal N killed it.

    terminal: makes one, once it is safe to start a thread. log: whether requests are shown as they come.
    Raises SettingError where the server cannot start.
    """
    numbers = [getattr(signal, name) for name in PASSED_ON]
    # one that is ignored, as by nohup, stays so for the command too
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    with _blocked({*numbers, signal.SIGCHLD}) as mask:
        child = _Child(command, mask)
        try:
            return _serve(settings, variables, terminal(), log, child, numbers)
        finally:
            child.close()


@contextlib.contextmanager
def _blocked(numbers: set[int]) -> Iterator[set[int]]:
    """Keeps signals until they are asked for, in the threads that are started meanwhile too; gives the former mask."""
    former = signal.signal(signal.SIGCHLD, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield {int(number) for number in mask}
    finally:
        # what came after the end of the command was for the command
        for number in signal.sigpending() & numbers:
            signal.sigwait({number})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, former)


def _serve(
    settings: Settings,
    variables: Sequence[Variable],
    terminal: Terminal,
    log: bool,
    child: "_Child",
    numbers: Sequence[int],
) -> int:
    # the heaviest import; it starts no thread, but might one day
    from sora_mock.server import MockServer, allow_many_files, fill_standard_files

    fill_standard_files()
    allow_many_files()
    seed = randomness.new_seed() if settings.seed is None else settings.seed
    api_key = ids.run_key(seed)
    keys = None if settings.keys is None else (*settings.keys, api_key)
    server = MockServer(msgspec.structs.replace(settings, seed=seed, keys=keys))
    code, failure = BROKEN, None
    # not the journals: a test suite may reset them
    recent: deque[Record] = deque(maxlen=SHOWN)

    def seen(record: Record) -> None:
        recent.append(record)
        if log:
            terminal.request(record)

    try:
        with server:
            terminal.watch(server.app.emulator, requests=log)
            server.app.emulator.on_request = seen
            own = {each.name: each.filled(server.url, api_key) for each in variables}
            child.start(_told(server.url, api_key, settings.control_token) | own)
            code = child.wait(numbers)
    except SettingError:
        raise
    except Exception as problem:
        failure = f"the server died: {type(problem).__name__}: {problem}"
        code = code or BROKEN
    if failure is not None:
        terminal.tell(failure)
    elif code and child.started and not settings.quiet:
        _report(terminal, recent, code, seed, settings.seed is None)
    terminal.close()
    return code


def _told(url: str, api_key: str, token: str | None) -> dict[str, str]:
    origins = dict.fromkeys(("SORA_MOCK_URL", "EVOLINK_BASE_URL", "TEST_API_BASE_URL"), url)
    secrets = {"EVOLINK_API_KEY": api_key, **({} if token is None else {"SORA_MOCK_CONTROL_TOKEN": token})}
    return origins | secrets


def _report(terminal: Terminal, recent: Sequence[Record], code: int, seed: int, drawn: bool) -> None:
    """What a person needs first when the command has failed."""
    name = {128 + number: f" ({number.name})" for number in signal.Signals}.get(code, "")
    ended = f"the command ended with {code}{name}"
    if not recent:
        terminal.tell(f"{ended}; no request has reached the server", exit_code=code, requests=0)
        return
    total = recent[-1].number
    some = f"its requests ({total})" if total <= SHOWN else f"the last {SHOWN} of its {total} requests"
    repeat = f" (repeat this run with --seed {seed})" if drawn else ""
    terminal.tell(f"{ended}; {some}{repeat}:", exit_code=code, requests=total, seed=seed)
    for record in recent:
        terminal.request(record)


class _Child:
    """The keeper's process, from this side.

    A fork, made before this process has threads and heavy imports: so it is small and there within a millisecond.
    """

    def __init__(self, command: Sequence[str], mask: set[int]) -> None:
        self.shared = _has_terminal()
        self.started = False
        self.channel, other = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            code = BROKEN
            try:
                self.channel.close()
                code = keep(other, command, not self.shared, mask)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        other.close()

    def start(self, variables: Mapping[str, str]) -> None:
        """Lets the command begin."""
        self._send(json.dumps(dict(variables)).encode() + b"\n")

    def wait(self, numbers: Sequence[int]) -> int:
        """Passes signals on until the command and all it left are over; its exit code."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):
                    self.started = self.channel.recv(1) == STARTED
                return 128 - code if code < 0 else code
            number, sent_by_terminal = self._next_signal({*numbers, signal.SIGCHLD})
            # the terminal has sent it to the command as well, which is of the same group; but one that hangs up tells
            # the leader of the session alone, and that may be this process
            own = self.shared and sent_by_terminal and number != signal.SIGHUP
            if number != signal.SIGCHLD and not own:
                self._send(bytes([number]))

    def _next_signal(self, numbers: set[int]) -> tuple[int, bool]:
        if hasattr(signal, "sigwaitinfo"):
            told = signal.sigwaitinfo(numbers)
            return told.si_signo, told.si_code == _FROM_THE_TERMINAL
        number = int(signal.sigwait(numbers))
        return number, number in (signal.SIGINT, signal.SIGQUIT)

    def _send(self, data: bytes) -> None:
        # the keeper may be over
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.channel.sendall(data)

    def close(self) -> None:
        """Whatever of it is still there ends now."""
        self.channel.close()
        if self.pid:
            os.waitpid(self.pid, 0)


def _has_terminal() -> bool:
    """Whether a terminal sends its signals to this process, and so to the processes of its group."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
