"""The bar is for terminals; the lines of the table are whole everywhere."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sora_mock.server import MockServer
from sora_mock.verify.progress import CLEAR

COMMAND = [sys.executable, "-m", "sora_mock", "verify"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with MockServer(port=0, seed=1) as server:
        yield server.url


def in_a_terminal(url: str) -> str:
    """What a person would see: both streams go to one terminal."""
    parent, child = pty.openpty()
    with subprocess.Popen([*COMMAND, url, "--only", "auth.*"], stdout=child, stderr=child) as process:
        os.close(child)
        seen = b""
        try:
            while part := os.read(parent, 65536):
                seen += part
        except OSError:
            # the terminal closes with its last user
            pass
        finally:
            os.close(parent)
        assert process.wait(60) == 0
    return seen.decode()


def test_a_terminal_sees_a_bar_under_whole_lines(url: str) -> None:
    seen = in_a_terminal(url)
    total = int(re.findall(r"of (\d+)", seen)[-1])
    assert f"[{'#' * 24}] {total} of {total}" in seen
    # only the text after the last clearing of each line stays visible
    lines = [line.rpartition(CLEAR)[2].rstrip("\r") for line in seen.split("\n")]
    rows = [line for line in lines if line.startswith("auth.")]
    assert len(rows) == total
    assert all(re.fullmatch(r"auth\.\S+ +passed +never verified +- +[0-9.]+ s", row) for row in rows)


def test_a_pipe_sees_no_bar(url: str) -> None:
    done = subprocess.run([*COMMAND, url, "--only", "auth.*"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "\r" not in done.stdout
    assert done.stdout.splitlines()[0].split() == ["rule", "mock", "live", "price", "time"]
