"""Collects the contract suite once and runs it many times, each time in a forked child against a mock of its own.

A fork is quicker than a start and a collection. It needs a parent without threads, event loops and servers.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time  # noqa: TID251  # measures real seconds
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from sora_mock.verify import plugin
from sora_mock.verify.results import FAILED
from sora_mock.verify.rule import Rule
from sora_mock.verify.target import Target

ROOT: Final = Path(__file__).resolve().parents[2]

LONGEST: Final = 180
"""Real seconds for one run; then its child is ended."""


def positive(text: str) -> int:
    """A whole number above 0, for argparse. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


@dataclass(frozen=True)
class Job:
    """One run of the suite.

    start: called in the child, starts the mock and returns its URL; an exception of it is the result `problem`.
    own: ids of the rules that all run. others: ids of those that run until one is red, if no own rule was red.
    twice: whether a red rule has to be red twice.
    """

    name: str
    start: Callable[[], str]
    own: Sequence[str]
    others: Sequence[str] = ()
    twice: bool = False


@dataclass(frozen=True)
class Run:
    """What a job found.

    results: outcome, reason and `is_claim` of each rule that ran, by id, in their order. problem: why it did not start.
    """

    job: Job
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problem: str = ""
    seconds: float = 0.0
    hung: bool = False

    def red(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids whose rules failed."""
        return [id for id in ids if id in self.results and self.results[id]["outcome"] == FAILED]


def run_jobs(
    jobs: Callable[[Mapping[str, Rule]], Sequence[Job]],
    report: Callable[[Run], None],
    *,
    at_once: int,
    arguments: Sequence[str] = (),
) -> list[Run]:
    """The runs in the order of their jobs. `jobs` gets the collected rules by id; `report` gets each run that ends."""
    forks = _Forks(jobs, report, at_once)
    folder = ROOT / "contract_tests"
    flags = ["-c", str(folder / "pytest.ini"), "-p", "no:cacheprovider", "-p", "no:terminal"]
    # as `sora-mock verify` starts it
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    pytest.main([*flags, str(folder), *arguments], plugins=[forks])
    if forks.error is not None:
        raise forks.error
    return [forks.runs[job.name] for job in forks.jobs]


class _Forks:
    """The pytest plugin: instead of running the tests it forks."""

    def __init__(self, jobs: Any, report: Callable[[Run], None], at_once: int) -> None:
        self._make_jobs = jobs
        self._report = report
        self._at_once = at_once
        self.jobs: Sequence[Job] = ()
        self.runs: dict[str, Run] = {}
        self.error: Exception | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """No target: each child opens its own."""
        session.config.stash[plugin.TARGET] = Target("", True, "http://127.0.0.1:4010")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Makes the jobs of the collected rules and runs them."""
        items = {item.stash[plugin.RULE].id: item for item in session.items}
        try:
            self.jobs = self._make_jobs({id: item.stash[plugin.RULE] for id, item in items.items()})
            for run in self._runs(session, items):
                self.runs[run.job.name] = run
                self._report(run)
        except Exception as problem:
            self.error = problem
        return True

    def _runs(self, session: pytest.Session, items: Mapping[str, pytest.Item]) -> Iterator[Run]:
        waiting = list(reversed(self.jobs))
        running: dict[int, tuple[Job, Path, float]] = {}
        with tempfile.TemporaryDirectory(prefix="sora-mock-forks-") as folder:
            while waiting or running:
                while waiting and len(running) < self._at_once:
                    job = waiting.pop()
                    path = Path(folder, f"{len(waiting)}.json")
                    running[_fork(session, items, job, path)] = (job, path, time.monotonic())
                child, status = os.wait()
                job, path, began = running.pop(child)
                seconds = time.monotonic() - began
                if not path.exists():
                    hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
                    yield Run(job, {}, f"its process ended with {os.waitstatus_to_exitcode(status)}", seconds, hung)
                else:
                    yield Run(job, seconds=seconds, **json.loads(path.read_text(encoding="utf-8")))


def _fork(session: pytest.Session, items: Mapping[str, pytest.Item], job: Job, path: Path) -> int:
    """The process id of a child that runs a job and writes what it found."""
    if (threads := threading.enumerate()) != [threading.main_thread()]:
        # a lock that another thread holds stays locked in the child; Python 3.12 and later warn of it
        raise RuntimeError(f"a fork needs a process without other threads, got {threads}")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child:
        return child
    try:
        signal.alarm(LONGEST)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        text = json.dumps(_found(session, items, job))
        beside = path.with_suffix(".part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        # without the ends of the parent's fixtures, and although the mock's thread runs
        os._exit(0)


def _found(session: pytest.Session, items: Mapping[str, pytest.Item], job: Job) -> dict[str, Any]:
    try:
        url = job.start()
    except Exception as problem:
        return {"problem": f"{type(problem).__name__}: {problem}"[:200]}
    config = session.config
    config.stash[plugin.TARGET] = Target(url, True, url)
    results = config.stash[plugin.RESULTS].by_id
    order = [*job.own, *job.others]
    for number, id in enumerate(order):
        if number >= len(job.own) and any(each.outcome == FAILED for each in results.values()):
            break
        following = items[order[number + 1]] if number + 1 < len(order) else None
        _run(items[id], following, results)
        if job.twice and results[id].outcome == FAILED:
            # a machine under load may be late once
            del results[id]
            _run(items[id], following, results)
    return {
        "results": {
            id: {"outcome": each.outcome, "reason": each.reason[:300], "is_claim": each.is_claim}
            for id, each in results.items()
        }
    }


def _run(item: pytest.Item, following: pytest.Item | None, results: Mapping[str, Any]) -> None:
    with suppress(pytest.exit.Exception):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
