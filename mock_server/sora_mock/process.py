"""A server in a process of its own, which ends with the process that started it, however that one ends."""

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
"""Exit code of a server that cannot start; it prints the reason first."""


class StartError(Exception):
    """The server did not start. The text is the reason on one line, empty if the server printed it itself."""


class ServerProcess:
    """A running server process; `url` is its origin, `token` that of its control API or None. Raises StartError.

    flags: of `serve`; the port is a free one unless they name another. folder: where the server looks for its settings
    file. captures_errors: whether StartError and `fate` say what the server prints on standard error; otherwise it
    prints on that of this process. deadline: real seconds until the server is ready.
    """

    def __init__(
        self, flags: Sequence[str], folder: Path, *, captures_errors: bool = True, deadline: float = 20.0
    ) -> None:
        self._errors: IO[bytes] | None = None
        if captures_errors:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
            # what it prints then is an error
            flags = ["--quiet", *flags]
        # -P: Python must not import files of the folder in place of our modules
        command = [sys.executable, "-P", "-m", CHILD, "serve", "--port", "0", *flags]
        self.process = subprocess.Popen(  # noqa: S603  # our own module
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Ctrl-C, for example at the prompt of a debugger, is not for the server
            start_new_session=True,
        )
        # the open pipe says that this process lives; a fork of it must not keep the pipe open
        os.register_at_fork(after_in_child=self._close_pipes)
        self.token, self.url = self._wait_until_ready(deadline)

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _wait_until_ready(self, deadline: float) -> tuple[str | None, str]:
        """The token, and the URL of the ready line."""
        lines: list[bytes] = []
        assert self.process.stdout is not None
        # a thread, because not every system can read a pipe with a time limit
        reader = threading.Thread(target=lambda out: lines.extend(islice(out, 2)), args=(self.process.stdout,))
        reader.daemon = True
        reader.start()
        reader.join(deadline)
        found = re.search(rb'http://[^\s"]+', lines[1]) if len(lines) == 2 else None
        if found is not None:
            return json.loads(lines[0]), found[0].decode()
        is_late = reader.is_alive()
        if is_late:
            self.process.kill()
        self._ends(MAX_STOP_SECONDS)
        reader.join(MAX_STOP_SECONDS)
        reason = f"it was not ready within {deadline:g} s" if is_late else self._start_failure()
        self.stop()
        raise StartError(reason)

    def _start_failure(self) -> str:
        """Why the server ended before it was ready; empty if it printed that."""
        code = self.process.returncode
        printed = re.sub(r"^sora-mock( serve)?: ", "", self._last_line())
        is_printed = self._errors is None and code == EXIT_USAGE
        return "" if is_printed else printed or f"it ended with exit code {code}"

    def fate(self, seconds: float = 0.0) -> str | None:
        """How the process ended; None while it lives. seconds: real time to wait for its end."""
        if not self._ends(seconds):
            return None
        code = self.process.returncode
        if code < 0:
            return f"the server at {self.url} was killed by signal {-code}"
        last = self._last_line()
        return f"the server at {self.url} ended with exit code {code}{f': {last}' if last else ''}"

    def _last_line(self) -> str:
        if self._errors is None or self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """Stops the server and returns when its process has ended."""
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
