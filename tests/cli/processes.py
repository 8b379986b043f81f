"""The command line as processes: how tests start it, stop it and read what it prints."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

DEADLINE = 20.0
COMMAND = [sys.executable, "-m", "sora_mock"]


def environment(**more: str) -> dict[str, str]:
    """This process's own, without what would configure a mock."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SORA_MOCK_")} | more


def run(folder: Path, *arguments: str, deadline: float = DEADLINE, **more: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )


class Running:
    """A server process that has printed its ready line."""

    def __init__(self, process: subprocess.Popen[str], ready: str) -> None:
        self.process = process
        self.ready = ready

    @property
    def url(self) -> str:
        return str(json.loads(self.ready)["url"]) if self.ready.startswith("{") else self.ready.split()[-1]

    def get(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return json.loads(response.read())

    def connect(self, sent: bytes) -> socket.socket:
        """A connection on which something was said."""
        parts = urlsplit(self.url)
        connection = socket.create_connection((parts.hostname, parts.port), DEADLINE)
        connection.sendall(sent)
        return connection

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = DEADLINE) -> tuple[int, str, str]:
        """Exit code, the rest of standard output, and standard error."""
        self.process.send_signal(number)
        self.process.wait(seconds)
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, err


@contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = Timer(DEADLINE, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield Running(process, process.stdout.readline())
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate(timeout=DEADLINE)


def assert_usage(done: subprocess.CompletedProcess[str], *named: str) -> None:
    """Exit code 2, nothing on standard output, and one line that names what was wrong."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert [name for name in named if name not in line] == []
