"""Commands of ours in child processes, which end with the process that started them, however that one ends."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Final

CHILD: Final = "sora_mock.cli.child"
"""The module that the child process runs."""

MAX_STOP_SECONDS: Final = 5.0
"""Real seconds in which the child process has to end; it needs 2 at most."""

POLL_SECONDS: Final = 0.02
"""Real seconds between two checks whether the child process has ended."""

EXIT_USAGE: Final = 2
"""Exit code of a command that cannot start; it prints the reason first."""


class StartError(Exception):
    """A child process did not start. The text is the reason on one line, empty if the process printed it itself."""


class ChildProcess:
    """A command of ours, running in a child process; `url` is what its ready line names. Raises StartError.

    arguments: the command and its flags. folder: where it runs; None for this process's own. errors: the file that
    gets what it prints on standard error; None for that of this process. lines: how many lines it prints until it is
    ready, the ready line included. deadline: real seconds until then.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path | None = None,
        *,
        errors: IO[bytes] | None = None,
        lines: int = 1,
        deadline: float,
    ) -> None:
        self._errors = errors
        self.process = subprocess.Popen(  # noqa: S603  # our own module
            # -P: Python must not import files of the folder in place of our modules
            [sys.executable, "-P", "-m", CHILD, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C, for example at the prompt of a debugger, is not for the child
            start_new_session=True,
        )
        # the open pipe says that this process lives; a fork of it must not keep the pipe open
        os.register_at_fork(after_in_child=self._close_pipes)
        self.printed = self._wait_until_ready(lines, deadline)
        self.url = re.findall(r'http://[^\s"]+', self.printed[-1])[-1]

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _wait_until_ready(self, count: int, deadline: float) -> list[str]:
        """The lines that the process printed until it was ready."""
        lines: list[bytes] = []
        assert self.process.stdout is not None
        # a thread, because not every system can read a pipe with a time limit
        reader = threading.Thread(target=lambda out: lines.extend(islice(out, count)), args=(self.process.stdout,))
        reader.daemon = True
        reader.start()
        reader.join(deadline)
        if len(lines) == count and b"http://" in lines[-1]:
            return [line.decode() for line in lines]
        is_late = reader.is_alive()
        if is_late:
            self.process.kill()
        self._ends(MAX_STOP_SECONDS)
        reader.join(MAX_STOP_SECONDS)
        reason = f"it was not ready within {deadline:g} s" if is_late else self._start_failure()
        self.stop()
        raise StartError(reason)

    def _start_failure(self) -> str:
        """Why the process ended before it was ready; empty if it printed that."""
        code = self.process.returncode
        printed = re.sub(r"^sora-mock( serve)?: ", "", self._last_line())
        is_printed = self._errors is None and code == EXIT_USAGE
        return "" if is_printed else printed or f"it ended with exit code {code}"

    def _last_line(self) -> str:
        if self._errors is None or self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """Stops the process and returns when it has ended."""
        self.process.terminate()
        self._close_pipes()
        if not self._ends(MAX_STOP_SECONDS):
            self.process.kill()
            self.process.wait()
        if self._errors is not None:
            self._errors.close()

    def _ends(self, seconds: float) -> bool:
        """Whether the process ends within real seconds. `Popen.wait` reads a clock that a test may have replaced."""
        pause = threading.Event()
        for _ in range(round(seconds / POLL_SECONDS)):
            if self.process.poll() is not None:
                return True
            pause.wait(POLL_SECONDS)
        return self.process.poll() is not None


class ServerProcess(ChildProcess):
    """A running server process; `url` is its origin, `token` that of its control API or None. Raises StartError.

    flags: of `serve`; the port is a free one unless they name another. folder: where the server looks for its settings
    file. captures_errors: whether StartError and `fate` say what the server prints on standard error; otherwise it
    prints on that of this process. deadline: real seconds until the server is ready.
    """

    def __init__(
        self, flags: Sequence[str], folder: Path, *, captures_errors: bool = True, deadline: float = 20.0
    ) -> None:
        errors: IO[bytes] | None = None
        if captures_errors:
            errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
            # what it prints then is an error
            flags = ["--quiet", *flags]
        arguments = ["serve", "--port", "0", *flags]
        super().__init__(arguments, folder, errors=errors, lines=2, deadline=deadline)
        self.token: str | None = json.loads(self.printed[0])

    def fate(self, seconds: float = 0.0) -> str | None:
        """How the process ended; None while it lives. seconds: real time to wait for its end."""
        if not self._ends(seconds):
            return None
        code = self.process.returncode
        if code < 0:
            return f"the server at {self.url} was killed by signal {-code}"
        last = self._last_line()
        return f"the server at {self.url} ended with exit code {code}{f': {last}' if last else ''}"


def client_variables(url: str, api_key: str, token: str | None) -> dict[str, str]:
    """The variables that lead clients to the server at `url`. token: of its control API, None for none."""
    variables = dict.fromkeys(("SORA_MOCK_URL", "EVOLINK_BASE_URL", "TEST_API_BASE_URL"), url)
    variables["EVOLINK_API_KEY"] = api_key
    if token is not None:
        variables["SORA_MOCK_CONTROL_TOKEN"] = token
    return variables
