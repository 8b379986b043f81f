"""Time from the start of the process to the ready line: sora-mock against a bare ASGI application."""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import BARE, MOCK, running

TARGET = 1.6
UNWANTED = ("pytest", "hypothesis", "schemathesis", "jsonschema", "httpx", "requests", "email.mime", "difflib")
SERVE = (*MOCK, "--port", "0", "--quiet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    bare, mock = [], []
    seconds(BARE), seconds(SERVE)  # the first start compiles, and fills the cache of the disk
    for _ in range(rounds):
        bare.append(seconds(BARE))
        mock.append(seconds(SERVE))
    yard, ours = statistics.median(bare), statistics.median(mock)
    ratio = statistics.median(b / a for a, b in zip(bare, mock, strict=True))
    print(f"bare median {yard * 1000:.0f} ms, fastest {min(bare) * 1000:.0f} ms")
    print(f"mock median {ours * 1000:.0f} ms, fastest {min(mock) * 1000:.0f} ms")
    print(f"median ratio {ratio:.2f}, of the fastest {min(mock) / min(bare):.2f}; target at most {TARGET:.1f}")
    print(f"unwanted modules at the ready line: {', '.join(unwanted()) or 'none'}; target none")


def seconds(command: tuple[str, ...]) -> float:
    with running(command, subprocess.DEVNULL) as server:
        return server.seconds


def unwanted() -> list[str]:
    """Which of UNWANTED the mock has imported when it is ready."""
    traced = (sys.executable, "-X", "importtime", *SERVE[1:])
    with tempfile.TemporaryFile("w+") as trace, running(traced, trace.fileno()):
        # opened again: the child process and `trace` use one file position
        lines = Path(f"/proc/self/fd/{trace.fileno()}").read_text().splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return [name for name in UNWANTED if any(each == name or each.startswith(f"{name}.") for each in imported)]


if __name__ == "__main__":
    main()
