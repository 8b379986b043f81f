"""A server in a process of its own, which ends with the one that started it, however that one ends.

`python -m sora_mock.process COMMAND ...` is the child: a command that stops when its input does. `serve` says on a line
before the ready line which token its control API wants.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

GRACE: Final = 5.0
"""Real seconds in which the child has to end; it takes 2 at most."""


TICK: Final = 0.02
"""Real seconds between two looks at a child that should end."""


class StartError(Exception):
    """The server did not start; the text is its own last line, or what was waited for."""


class ServerProcess:
    """A running server; `url` is where, `token` what its control API wants. Raises StartError.

    flags: of `serve`; without one for the port it is a free one. folder: where its settings file is looked for.
    deadline: real seconds until it is ready.
    """

    def __init__(self, flags: Sequence[str], folder: Path, *, deadline: float = 20.0) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop
        # -P: what lies in the folder is not to be imported in the place of our modules
        usual = ["--host", "127.0.0.1", "--port", "0", "--quiet"]
        command = [sys.executable, "-P", "-m", __name__, "serve", *usual, *flags]
        self.process = subprocess.Popen(  # noqa: S603  # our own module
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            # Ctrl-C at the prompt of a debugger is not meant for it
            start_new_session=True,
        )
        # a forked child would keep the pipe open that tells the server of our end
        os.register_at_fork(after_in_child=self._forget)
        self.token, self.url = self._ready(deadline)

    def _forget(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _ready(self, deadline: float) -> tuple[str | None, str]:
        """The token, and the URL of the ready line."""
        lines: list[bytes] = []
        assert self.process.stdout is not None
        # a thread, because a pipe cannot be read with a deadline on every system
        reader = threading.Thread(target=lambda out: lines.extend(islice(out, 2)), args=(self.process.stdout,))
        reader.daemon = True
        reader.start()
        reader.join(deadline)
        found = re.search(rb'http://[^\s"]+', lines[1]) if len(lines) == 2 else None
        if found is not None:
            return json.loads(lines[0]), found[0].decode()
        late = reader.is_alive()
        if late:
            self.process.kill()
        self._ends(GRACE)
        reader.join(GRACE)
        said = re.sub(r"^sora-mock( serve)?: ", "", self._last_line())
        reason = f"it was not ready within {deadline:g} s" if late else said
        self.stop()
        raise StartError(reason or f"it ended with exit code {self.process.returncode}")

    def fate(self, seconds: float = 0.0) -> str | None:
        """What became of the process; None while it lives. seconds: how long its end is waited for."""
        if not self._ends(seconds):
            return None
        code = self.process.returncode
        if code < 0:
            return f"the server at {self.url} was killed by signal {-code}"
        last = self._last_line()
        return f"the server at {self.url} ended with exit code {code}{f': {last}' if last else ''}"

    def _last_line(self) -> str:
        if self._said.closed:
            return ""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """Ends it, and returns when it has ended."""
        self.process.terminate()
        self._forget()
        if not self._ends(GRACE):
            self.process.kill()
            self.process.wait()
        self._said.close()

    def _ends(self, seconds: float) -> bool:
        """Whether it is over within real seconds. Popen's own wait would go by a clock that a test may have stopped."""
        pause = threading.Event()
        for _ in range(round(seconds / TICK)):
            if self.process.poll() is not None:
                return True
            pause.wait(TICK)
        return self.process.poll() is not None


def _end_with_parent() -> None:
    # nothing is ever written: reading ends when the last process that held the other end does
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE)
    os._exit(1)


def _main(arguments: Sequence[str]) -> Any:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from sora_mock.cli import commands as cli
    from sora_mock.config.settings import SettingError

    if arguments[0] == "serve":
        # of settings that cannot be used the command itself tells
        with contextlib.suppress(SettingError):
            print(json.dumps(cli.control_token(arguments[1:])), flush=True)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
