"""Runs the suite against one blind change after the other, each in its own process, and says which ones it sees."""

import argparse
import ast
import importlib.util
import sys
import time  # noqa: TID251  # measures real seconds
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from sora_mock.verify.results import UNVERIFIED
from sora_mock.verify.rule import Rule
from sora_mock.verify.target import is_mock
from tests.contract import forked
from tests.contract.forked import LONGEST, Job, Run, positive
from tests.contract.mutation import Site, mutant, sample
from tests.contract.mutation_scope import SCOPES, SOURCES

BROAD: Final = (
    *("auth.key.works", "creation.shape", "creation.queried", "money.completed.10", "callback.body.completed"),
    *("link.video", "life.progress.bounds", "idempotency.replay", "callback.schedule", "hostile.size.above"),
)
"""Rules that need most of the server, tried first."""

CAUGHT, NO_START, NOT_LET_IN, HUNG, SURVIVED = "caught", "no start", "not let in", "hung", "survived"


@dataclass(frozen=True)
class Outcome:
    """The result of a change.

    rule: the first rule that was red twice. why: what it said. unverified: rules that came to no result.
    """

    outcome: str
    rule: str = ""
    why: str = ""
    unverified: int = 0
    seconds: float = 0.0


class NotLetIn(Exception):
    """The mock starts, but the suite cannot use it: here `sora-mock verify` ends with exit code 2 or 5."""


class Changed(MetaPathFinder, Loader):
    """An import hook that gives one module of the package another tree."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.name = "sora_mock." + file.removesuffix(".py").replace("/", ".")
        self.path = str(SOURCES / file)
        self.tree = tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """The changed module; None for every other one."""
        is_meant = fullname == self.name
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if is_meant else None

    def exec_module(self, module: ModuleType) -> None:
        """Runs the changed tree, never cached byte code."""
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


def job_of(site: Site, rules: Mapping[str, Rule], only: Sequence[str] = ()) -> Job:
    """The run of the rules of these patterns, of all without patterns, against a mock with the change."""
    areas = SCOPES[site.file].areas
    wanted = [rule for rule in rules.values() if not only or any(fnmatchcase(rule.id, each) for each in only)]
    order = [rule.id for rule in sorted(wanted, key=lambda rule: _rank(rule, areas))]
    return Job(repr(site), lambda: start_changed(site), (), order, twice=True)


def start_changed(site: Site) -> str:
    """Starts a mock of the changed source in this process, and returns its URL. Raises NotLetIn, and any error."""
    sys.meta_path.insert(0, Changed(site.file, mutant(site)[0]))
    # the suite keeps the modules that it has; the mock gets new ones
    for name in [name for name in sys.modules if name.startswith("sora_mock.")]:
        del sys.modules[name]
    from sora_mock.server import MockServer

    url = MockServer(port=0, seed=1).__enter__().url
    try:
        if not is_mock(url):
            raise NotLetIn("it does not look like a mock")
    except Exception as problem:
        raise NotLetIn(str(problem)) from None
    return url


def outcome_of(run: Run) -> Outcome:
    """What a run says of its change."""
    if run.hung:
        return Outcome(HUNG, why=f"no end within {LONGEST} s", seconds=run.seconds)
    if run.problem:
        outcome = NOT_LET_IN if run.problem.startswith(NotLetIn.__name__) else NO_START
        return Outcome(outcome, why=run.problem, seconds=run.seconds)
    unverified = sum(each["outcome"] == UNVERIFIED for each in run.results.values())
    red = run.red(run.job.others)
    if red:
        return Outcome(CAUGHT, red[0], run.results[red[0]]["reason"][:200], unverified, run.seconds)
    return Outcome(SURVIVED, unverified=unverified, seconds=run.seconds)


def _rank(rule: Rule, areas: Sequence[str]) -> tuple[bool, bool, int, int]:
    """The order of rules: `BROAD`, those of the areas, the others, generated ones, the one that takes ten seconds."""
    broad = BROAD.index(rule.id) if rule.id in BROAD else len(BROAD)
    return (
        rule.id == "callback.timeout",
        rule.area == "generated",
        broad,
        areas.index(rule.area) if rule.area in areas else len(areas),
    )


def run_all(
    chosen: Sequence[Site], report: Callable[[Site, Outcome], None], jobs: int, only: Sequence[str] = ()
) -> list[tuple[Site, Outcome]]:
    """The result of each change, in the order of `chosen`; `report` gets each as it ends."""
    sites = {repr(site): site for site in chosen}

    def make(rules: Mapping[str, Rule]) -> list[Job]:
        return [job_of(site, rules, only) for site in chosen]

    def ended(run: Run) -> None:
        report(sites[run.job.name], outcome_of(run))

    arguments = [f"--only={each}" for each in only]
    runs = forked.run_jobs(make, ended, at_once=jobs, arguments=arguments)
    return [(site, outcome_of(run)) for site, run in zip(chosen, runs, strict=True)]


def row(number: int, site: Site, outcome: Outcome) -> str:
    """One line: the change and its result."""
    seen = outcome.rule or (f"{outcome.unverified} unverified" if outcome.unverified else "")
    place = f"{site.file}:{site.line} {site.place}"
    change = f"{number:4} {site.name} {outcome.outcome:10} {place}  [{site.kind}]  {mutant(site)[1]}"
    return f"{change}  |  {seen} {outcome.why} ({outcome.seconds:.1f} s)"


def summary(outcomes: Sequence[tuple[Site, Outcome]], seconds: float) -> str:
    """How many changes the suite sees: by file, of all, and of those that start."""
    ends = Counter(outcome.outcome for _, outcome in outcomes)
    files = Counter(site.file for site, _ in outcomes)
    survived = Counter(site.file for site, outcome in outcomes if outcome.outcome == SURVIVED)
    total, left = len(outcomes), ends[SURVIVED]
    started = total - ends[NO_START]
    lines = ["", *(f"{file:26} {count - survived[file]:4} of {count:4}" for file, count in files.items()), ""]
    lines.append(", ".join(f"{count} {name}" for name, count in sorted(ends.items())))
    lines.append(f"{total - left} of {total} caught ({100 * (total - left) / total:.1f} %)")
    if started:
        lines.append(
            f"without those that do not start {started - left} of {started} ({100 * (started - left) / started:.1f} %)"
        )
    lines.append(f"{seconds:.0f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 for every result; 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the random choice (1)")
    parser.add_argument("--count", type=positive, default=200, metavar="N", help="changes (200)")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="of these, those in FILE")
    parser.add_argument("--number", action="append", default=[], metavar="NAME", help="of these, the one of that name")
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="processes at once (2)")
    parser.add_argument("--list", action="store_true", help="prints the changes and runs nothing")
    options = parser.parse_args(arguments)
    if any(file not in SCOPES for file in options.only):
        parser.error(f"--only: expected one of {', '.join(SCOPES)}")
    sampled = sample(options.seed, options.count)
    numbers = {site: number for number, site in enumerate(sampled, 1)}
    chosen = [site for site in sampled if _is_wanted(site, numbers[site], options)]
    if not chosen:
        parser.error("no change is left")
    if options.list:
        print("\n".join(f"{numbers[s]:4} {s.name} {s.file}:{s.line} [{s.kind}]  {mutant(s)[1]}" for s in chosen))
        return 0
    began = time.monotonic()

    def report(site: Site, outcome: Outcome) -> None:
        print(row(numbers[site], site, outcome), flush=True)

    outcomes = run_all(chosen, report, options.jobs)
    print(summary(outcomes, time.monotonic() - began))
    return 0


def _is_wanted(site: Site, number: int, options: argparse.Namespace) -> bool:
    named = not options.number or site.name in options.number or str(number) in options.number
    return named and (not options.only or site.file in options.only)


if __name__ == "__main__":
    sys.exit(main())
