"""The processes under attack: on loopback, on a free port, with limits of the system on what they may take."""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic, perf_counter

from tests.attack.wire import Client

MIB = 1024 * 1024
PAUSE = Event()
MAX_MEMORY = 12 * 1024 * MIB
"""Bytes of address space of a process under attack: 700 threads have stacks of 8 MiB each, most of it never used."""


@dataclass
class Target:
    """A server under attack. log: the file of its standard error. folder: where it runs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    folder: Path

    @property
    def client(self) -> Client:
        """A new client."""
        return Client(self.port)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    @property
    def peak_memory(self) -> int:
        """The most resident bytes since the start."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def bug(self) -> str:
        """The end of the first traceback in the log; empty where there is none."""
        _, found, text = self.log.read_text(errors="replace").partition("Traceback")
        return text[-600:] if found else ""

    def stop(self, limit: float = 10.0) -> float:
        """Seconds from SIGTERM to the end of the process; `inf` where it does not end within `limit`."""
        began = perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return float("inf")
        return perf_counter() - began


@contextmanager
def running(
    *arguments: str,
    settings: str = "",
    memory: int = MAX_MEMORY,
    descriptors: int | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Target]:
    """A sora-mock command until the end of the block. settings: the text of its settings file.
    memory: bytes of address space. descriptors: how many it may have; None for as many as this process.

    Raises RuntimeError where it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="sora-mock-attack-") as name:
        folder = Path(name)
        (folder / "sora-mock.toml").write_text(settings, encoding="utf-8")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SORA_MOCK_")}
        # looks up no name outside
        variables["PYTHONPATH"] = str(Path(__file__).parent / "names")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sora_mock", *arguments],
                cwd=folder,
                env=variables | (environment or {}),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        # long before it has imported anything
        resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        if descriptors is not None:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().decode()
            if "ready" not in ready:
                raise RuntimeError(f"sora-mock did not start: {(folder / 'log').read_text()[:200]}")
            yield Target(process, int(re.findall(r":(\d+)", ready)[-1]), folder / "log", folder)
        finally:
            process.kill()
            process.communicate()


@contextmanager
def serving(*flags: str, settings: str = "", descriptors: int | None = None) -> Iterator[Target]:
    """A mock until the end of the block."""
    with running("serve", "--port", "0", "--seed", "1", *flags, settings=settings, descriptors=descriptors) as target:
        yield target


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition becomes true within real seconds."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        PAUSE.wait(0.02)
    return True


def raise_descriptor_limit() -> None:
    """Lets this process open as many connections as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
