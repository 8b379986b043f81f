"""`sora-mock run`: starts a server, runs one command beside it, and exits with the exit code of the command."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sora_mock.client.http import Client, Unreachable
from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain import ids
from sora_mock.process import ServerProcess, StartError, client_variables
from sora_mock.runtime import randomness
from sora_mock.runtime.console import complain, fill_standard_files
from sora_mock.runtime.log import Log

MAX_REQUESTS_SHOWN: Final = 10
"""Requests that are shown when the command fails."""

EXIT_SERVER_DIED: Final = 1
"""The server died and the command ended well."""

EXIT_NOT_STARTED: Final = 2
"""The server did not start and has printed the reason."""

EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127
"""The command cannot be run; a shell uses the same exit codes."""

PASSED_ON: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
"""Signals that `run` passes on to the command."""

KILL_AFTER_SECONDS: Final = 2.0
"""Real seconds between SIGTERM and SIGKILL for processes that the command left running."""

POLL_SECONDS: Final = 0.02
"""Real seconds between two checks whether such processes are still there."""

_SI_KERNEL: Final = 0x80
"""`si_code` of a signal that the kernel sent, for example because of Ctrl-C (sigaction(2))."""


def variable(written: str) -> tuple[str, str]:
    """The name and the template of an `--env`, written `NAME=TEMPLATE`. Raises SettingError."""
    name, equals, template = written.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise SettingError(f"bad value {written[:80]!r} for --env: expected NAME=TEMPLATE, such as BASE={{url}}/v1")
    rest = template.replace("{url}", "").replace("{api_key}", "")
    if "{" in rest or "}" in rest:
        raise SettingError(f"bad value {written[:80]!r} for --env: known in braces are {{url}} and {{api_key}}")
    return name, template


def run(
    settings: Settings,
    flags: Mapping[str, Any],
    command: Sequence[str],
    variables: Mapping[str, str],
    open_log: Callable[[], Log],
    *,
    log: bool,
) -> int:
    """Returns the exit code of the command, or 128 + N if signal N killed it.

    settings: made from `flags`, the environment and the settings file. flags: as typed, by name; the server reads
    them again. variables: further ones for the command; `{url}` and `{api_key}` in them are filled in. log: whether
    the server shows requests while the command runs. Raises SettingError if the server does not start in time.
    """
    fill_standard_files()
    seed = randomness.new_seed() if settings.seed is None else settings.seed
    server = _start_server({**flags, "seed": str(seed), **({} if log else {"quiet": True})})
    if server is None:
        return EXIT_NOT_STARTED
    # a server with `keys` accepts no other key
    api_key = settings.keys[0] if settings.keys else ids.run_key(seed)
    environment = {**os.environ, **client_variables(server.url, api_key, server.token)}
    for name, template in variables.items():
        environment[name] = template.replace("{url}", server.url).replace("{api_key}", api_key)
    try:
        code, is_started = _run_command(command, environment)
        death = server.fate()
        wants_report = code != 0 and is_started and death is None and not settings.quiet
        requests = _last_requests(server) if wants_report else []
    finally:
        # before the report: the server's own log comes first
        server.stop()
    if server.process.returncode not in (0, -signal.SIGTERM):
        # a server that the command has killed may still be ending when the command ends
        death = server.fate()
    output = open_log()
    if death is not None:
        output.message(death)
    elif wants_report:
        _report(output, requests, code, seed, repeat=settings.seed is None)
    output.close()
    return EXIT_SERVER_DIED if death is not None and code == 0 else code


def _start_server(flags: Mapping[str, Any]) -> ServerProcess | None:
    """None if the server has printed why it cannot start. Raises SettingError if it does not start in time."""
    try:
        return ServerProcess(_written(flags), Path.cwd(), captures_errors=False)
    except StartError as problem:
        if str(problem):
            raise SettingError(f"the server did not start: {problem}") from None
        return None


def _written(flags: Mapping[str, Any]) -> list[str]:
    """Flags as they are typed. A value is a text, a list of them, or True for a switch."""
    typed = []
    for name, value in flags.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            typed.append(f"--{name}" if each is True else f"--{name}={each}")
    return typed


def _run_command(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bool]:
    """Runs the command; its exit code, and whether it was started at all."""
    try:
        command = RunningCommand(arguments, environment)
    except OSError as problem:
        is_missing = not arguments[0] or isinstance(problem, (FileNotFoundError, NotADirectoryError))
        complain(f"cannot run {arguments[0]!r}: {'command not found' if is_missing else problem.strerror}")
        return EXIT_NOT_FOUND if is_missing else EXIT_NOT_EXECUTABLE, False
    code = command.wait()
    command.end_group()
    return code, True


# --- the report ---


def _last_requests(server: ServerProcess) -> list[Mapping[str, Any]] | str:
    """The last records of the server's journals, newest first, or why they are not available."""
    try:
        status, body = Client(server.url, token=server.token).call("GET", f"/requests?limit={MAX_REQUESTS_SHOWN}")
    except Unreachable as problem:
        return str(problem)
    if status != 200:
        return str(body["error"]["message"])
    requests: list[Mapping[str, Any]] = body["requests"]
    return requests


def _report(output: Log, requests: Sequence[Mapping[str, Any]] | str, code: int, seed: int, *, repeat: bool) -> None:
    """What a person needs first when the command has failed.

    requests: newest first, or why they are not available. repeat: whether to name the seed, which was chosen at random.
    """
    name = {128 + number: f" ({number.name})" for number in signal.Signals}.get(code, "")
    ended = f"the command ended with {code}{name}"
    seed_text = f" (repeat this run with --seed {seed})" if repeat else ""
    if isinstance(requests, str):
        output.message(f"{ended}; its requests are not available: {requests}{seed_text}", exit_code=code, seed=seed)
        return
    if not requests:
        text = f"{ended}; no request is in the journal of the server{seed_text}"
        output.message(text, exit_code=code, requests=0, seed=seed)
        return
    total = requests[0]["number"]
    some = f"its requests ({total})" if total == len(requests) else f"the last {len(requests)} of its {total} requests"
    output.message(f"{ended}; {some}{seed_text}:", exit_code=code, requests=total, seed=seed)
    for record in reversed(requests):
        output.request(record)


# --- the command and its signals ---


class RunningCommand:
    """The command as a child process that receives the signals of this process. Raises OSError if it cannot be run.

    At a terminal the command stays in the foreground process group, so that it can read what is typed and gets Ctrl-C
    from the terminal. Without a terminal it leads a process group of its own, which gets signals as a whole.
    Signals stay blocked in this process from now on: what comes after the end of the command was for the command.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        numbers = [getattr(signal, name) for name in PASSED_ON]
        # a signal that is ignored, for example because of nohup, stays ignored for the command too
        self._signals = {number for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
        # without a handler some systems drop SIGCHLD even while it is blocked
        signal.signal(signal.SIGCHLD, lambda *_: None)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*self._signals, signal.SIGCHLD})
        self._has_terminal = _has_terminal()
        self._process = subprocess.Popen(  # noqa: S603  # to run what the user typed is the purpose
            arguments,
            env=environment,
            process_group=None if self._has_terminal else 0,
            # this process has one thread, so that a function may run between fork and exec
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
            # files that are open for the command, as by <(...) of a shell, stay open
            close_fds=False,
        )

    def wait(self) -> int:
        """Passes signals on until the command ends; its exit code, 128 + N if signal N killed it."""
        while (code := self._process.poll()) is None:
            number, is_from_terminal = _next_signal({*self._signals, signal.SIGCHLD})
            # the terminal sends Ctrl-C to the command as well; but when it hangs up, only to the leader of the session
            is_sent_already = self._has_terminal and is_from_terminal and number != signal.SIGHUP
            if number != signal.SIGCHLD and not is_sent_already:
                self._send(number)
        return 128 - code if code < 0 else code

    def end_group(self) -> None:
        """Ends what the command left running in its process group: SIGTERM, after 2 s SIGKILL."""
        if self._has_terminal:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._send(number) or self._group_ends(KILL_AFTER_SECONDS):
                return

    def _group_ends(self, seconds: float) -> bool:
        pause = threading.Event()
        for _ in range(round(seconds / POLL_SECONDS)):
            # where this process is the first of a container, it is the parent of orphans
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-self._process.pid, os.WNOHANG)
            if not self._send(0) or _is_dead(self._process.pid):
                return True
            pause.wait(POLL_SECONDS)
        return False

    def _send(self, number: int) -> bool:
        """Whether there was a process that could receive the signal; 0 only asks."""
        send = os.kill if self._has_terminal else os.killpg
        try:
            send(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            # it has ended, or another user owns it
            return False
        return True


def _is_dead(group: int) -> bool:
    """Whether all processes of a group have ended and only wait for their parent to read that. False where unknown."""
    if sys.platform != "linux":
        return False
    states = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        # a process may end meanwhile
        with contextlib.suppress(OSError):
            state, _, owner = entry.read_text().rpartition(")")[2].split()[:3]
            if int(owner) == group:
                states.append(state)
    return bool(states) and set(states) <= {"Z", "X"}


def _next_signal(numbers: set[int]) -> tuple[int, bool]:
    """Waits for one of these signals; its number, and whether a terminal sent it."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(numbers)
        return found.si_signo, found.si_code == _SI_KERNEL
    # macOS does not say who sent a signal
    number = int(signal.sigwait(numbers))
    return number, number in (signal.SIGINT, signal.SIGQUIT)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, which sends signals to its foreground process group."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
