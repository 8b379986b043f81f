"""`sora-mock verify` as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sora_mock.verify.rule import Rule
from tests.guard.live import REAL, environment

RULES = """
import json, os, pytest
from sora_mock.verify import plugin
from sora_mock.verify.results import carried

class Collected:
    def pytest_collection_finish(self, session):
        rules = [item.stash[plugin.RULE] for item in session.items]
        print(json.dumps([carried(rule, "", is_claim=True)["rule"] for rule in rules]))

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
flags = ["-c", "contract_tests/pytest.ini", "-p", "no:terminal", "-p", "no:cacheprovider", "-s", "--contract-list"]
pytest.main([*flags, "contract_tests"], plugins=[Collected()])
"""
"""Prints every rule as JSON, in one line."""

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0


def start(*arguments: str, key: str = REAL, cwd: Path = ROOT, **more: str) -> "subprocess.Popen[str]":
    """The process of `sora-mock verify` with these arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", "sora_mock", "verify", *arguments],
        cwd=cwd,
        env=environment(EVOLINK_API_KEY=key, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, out, err


def verify(*arguments: str, key: str = REAL, cwd: Path = ROOT, **more: str) -> tuple[int, str, str]:
    """Runs `sora-mock verify` and returns exit code, standard output, standard error."""
    return ended(start(*arguments, key=key, cwd=cwd, **more))


def suite(*arguments: str, key: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs `pytest contract_tests` in the checkout."""
    command = [sys.executable, "-m", "pytest", "contract_tests", "-rs", *arguments]
    variables = environment(EVOLINK_API_KEY=key)
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def guards(url: str) -> list[int]:
    """The process ids of the guards in front of a target."""
    command = ["pgrep", "-f", f"sora_mock.cli.child guard --target {url}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


def killing_guards(url: str) -> Callable[[Any], None]:
    """The guard ends after it has sent the first create request."""

    def kill(scope: Any) -> None:
        if scope["method"] == "POST" and scope["path"] == "/v1/videos/generations":
            for pid in guards(url):
                os.kill(pid, signal.SIGKILL)

    return kill


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule of the suite, collected in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RULES], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[{")))
    return tuple(Rule(**{**each, "needs": frozenset(each["needs"])}) for each in found)
