"""Runs the tests of schemathesis in a second pytest process beside the others, and takes its reports over.

schemathesis makes its cases when its tests are collected, which takes seconds; xdist would do that in each worker.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

FLAG: Final = "--contract-reports-to"
"""The flag of the second process: the file for its reports, one JSON object in each line."""

_FINISHED: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class ReportWriter:
    """In the second process: writes each report into a file."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Appends one line."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")


class SecondProcess:
    """In the first process: starts the second one before its own tests, and takes over the reports after them."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """`arguments`: of pytest, for the second process."""
        self._arguments = arguments

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Raises RuntimeError if the second process ends without running its tests."""
        with tempfile.TemporaryDirectory(prefix="sora-mock-verify-") as folder:
            reports = Path(folder, "reports")
            reports.touch()
            command = [sys.executable, "-m", "pytest", *self._arguments, f"{FLAG}={reports}"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                found = yield
                output, _ = process.communicate()
            finally:
                if process.poll() is None:
                    # an interrupt: the reports that it has written count
                    process.kill()
                    process.communicate()
                _take_over(session.config, reports)
            if process.returncode not in _FINISHED:
                raise RuntimeError(f"the process of schemathesis ended with {process.returncode}: {output[-2000:]}")
            return found


def _take_over(config: pytest.Config, reports: Path) -> None:
    for line in reports.read_text(encoding="utf-8").splitlines():
        try:
            data: Any = json.loads(line)
        except ValueError:
            # the last line of a process that was killed
            break
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        config.hook.pytest_runtest_logreport(report=report)
