"""What a run shows: a progress bar, a line for each area, the rules that were not checked, the totals."""

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TextIO

import pytest

from sora_mock.verify.results import FAILED, OUTCOMES, PASSED, UNVERIFIED, Result, Results, by_area, counts

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

WIDTH: Final = 24
CLEAR: Final = "\r\x1b[K"


class Terminal:
    """Keeps the results in the process that reports, and shows them.

    has_bar: whether a bar replaces pytest's letters.
    """

    def __init__(self, results: Results, *, has_bar: bool, watched: TextIO = sys.stderr) -> None:
        self.results = results
        self.has_bar = has_bar
        self._watched = watched if has_bar and watched.isatty() else None
        self._began = time.monotonic()
        self._total = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The number of rules, where this process collects them."""
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """The number of rules, where workers collect them: each worker collects all."""
        self._total = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the result of a phase of a test."""
        self.results.add(report)
        if report.when == "teardown" and self._watched is not None:
            self._show(self.bar())

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """No letter beside a bar for a test that passed or was skipped."""
        if not self.has_bar or report.failed:
            return None
        counted = report.when == "call" or (report.skipped and report.when == "setup")
        return (report.outcome if counted else "", "", "")

    def bar(self) -> str:
        """The bar, such as `[######------] 120 of 337, 1 failed, 4 s`."""
        done, failed = len(self.results), self.results.counts[FAILED]
        full = WIDTH * done // max(1, self._total)
        shown = f", {failed} failed" if failed else ""
        seconds = time.monotonic() - self._began
        return f"\r[{'#' * full}{'-' * (WIDTH - full)}] {done} of {self._total}{shown}, {seconds:.0f} s"

    def _show(self, text: str) -> None:
        if self._watched is not None:
            self._watched.write(text)
            self._watched.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Removes the bar before anything else is printed."""
        self._show(CLEAR)

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter") -> None:
        """The areas and the reasons why rules were not checked."""
        found = list(self.results.by_id.values())
        if found:
            terminalreporter.write_line("")
        for line in [*area_lines(found), *unverified_lines(found)]:
            terminalreporter.write_line(line)


def area_lines(results: list[Result]) -> list[str]:
    """A line for each area: how many passed, failed and were not checked, and their seconds."""
    return [
        f"{area:16} {_counted(found):44} {sum(each.seconds for each in found):7.2f} s"
        for area, found in by_area(results).items()
    ]


def _counted(results: list[Result]) -> str:
    found = counts(results)
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES if found[outcome] or outcome == PASSED)


def unverified_lines(results: list[Result]) -> list[str]:
    """A line for each reason why rules were not checked: an unverified rule is not proved."""
    reasons = Counter(each.reason for each in results if each.outcome == UNVERIFIED)
    return [f"unverified: {count} rules: {reason}" for reason, count in reasons.most_common()]
