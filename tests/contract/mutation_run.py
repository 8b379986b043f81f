"""Runs the suite against one blind change after the other, each in its own process, and says which ones it sees."""

import argparse
import ast
import importlib.util
import json
import os
import subprocess
import sys
import time  # noqa: TID251  # measures real seconds
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from tests.contract.mutation import Site, mutant, sample
from tests.contract.mutation_scope import SCOPES, SOURCES

if TYPE_CHECKING:
    from sora_mock.verify.rule import Rule

LONGEST: Final = 180.0
"""Real seconds for one change; a server that does not respond by then counts as caught."""

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


def judge(site: Site, only: Sequence[str] = ()) -> Outcome:
    """Runs the suite, or the rules of these patterns, against a mock with the change, until one is red.

    The mock runs in this process, which must not have imported the package before.
    """
    sys.meta_path.insert(0, Changed(site.file, mutant(site)[0]))
    areas = SCOPES[site.file].areas
    try:
        from sora_mock.server import MockServer
        from sora_mock.verify import command, runner

        server = MockServer(port=0, seed=1).__enter__()
    except Exception as problem:
        return Outcome(NO_START, why=f"{type(problem).__name__}: {problem}"[:200])
    try:
        # kept in a variable, because its end closes the client
        opened = command.opened(server.url, argparse.Namespace(seed=0, api_key_env="NO_SUCH_KEY", max_examples=10))
        session = opened.__enter__()
    except Exception as problem:
        # here `sora-mock verify` ends with exit code 2 or 5
        return Outcome(NOT_LET_IN, why=f"{problem}"[:200])
    unverified = 0
    rules = runner.matching(runner.load_rules(), only, ())
    for rule in sorted(rules, key=lambda rule: _rank(rule, areas)):
        result = runner.check(session, rule)
        # a machine under load may be late once
        if result.outcome == runner.FAILED and runner.check(session, rule).outcome == runner.FAILED:
            return Outcome(CAUGHT, rule.id, result.reason[:200], unverified)
        unverified += result.outcome == runner.UNVERIFIED
    return Outcome(SURVIVED, unverified=unverified)


def _rank(rule: "Rule", areas: Sequence[str]) -> tuple[bool, bool, int, int]:
    """The order of rules: `BROAD`, those of the areas, the others, generated ones, the one that takes ten seconds."""
    broad = BROAD.index(rule.id) if rule.id in BROAD else len(BROAD)
    return (
        rule.id == "callback.timeout",
        rule.area == "generated",
        broad,
        areas.index(rule.area) if rule.area in areas else len(areas),
    )


def hunt(site: Site, only: Sequence[str] = ()) -> Outcome:
    """Judges one change in a process of its own."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.contract.mutation_run", "--judge", json.dumps([asdict(site), *only])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, cwd=Path(__file__).resolve().parents[2]
        )
    except subprocess.TimeoutExpired:
        return Outcome(HUNG, why=f"no end within {LONGEST:g} s", seconds=LONGEST)
    lines = done.stdout.splitlines()
    found = json.loads(lines[-1]) if lines else asdict(Outcome(NO_START, why=done.stderr[-200:]))
    return Outcome(**{**found, "seconds": time.monotonic() - began})


def hunt_all(chosen: Sequence[Site], jobs: int) -> Iterator[tuple[Site, Outcome]]:
    """The result of each change, in the order of `chosen`."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(chosen, pool.map(hunt, chosen), strict=True)


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
    parser.add_argument("--count", type=int, default=200, metavar="N", help="changes (200)")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="of these, those in FILE")
    parser.add_argument("--number", action="append", default=[], metavar="NAME", help="of these, the one of that name")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (2)")
    parser.add_argument("--list", action="store_true", help="prints the changes and runs nothing")
    parser.add_argument("--judge", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.judge:
        _judge_and_leave(*json.loads(options.judge))
    if any(file not in SCOPES for file in options.only):
        parser.error(f"--only: expected one of {', '.join(SCOPES)}")
    selected = sample(options.seed, options.count)
    numbers = {site: number for number, site in enumerate(selected, 1)}
    chosen = [site for site in selected if _is_wanted(site, numbers[site], options)]
    if not chosen:
        parser.error("no change is left")
    if options.list:
        print("\n".join(f"{numbers[s]:4} {s.name} {s.file}:{s.line} [{s.kind}]  {mutant(s)[1]}" for s in chosen))
        return 0
    began, outcomes = time.monotonic(), []
    for site, outcome in hunt_all(chosen, options.jobs):
        outcomes.append((site, outcome))
        print(row(numbers[site], site, outcome), flush=True)
    print(summary(outcomes, time.monotonic() - began))
    return 0


def _is_wanted(site: Site, number: int, options: argparse.Namespace) -> bool:
    named = not options.number or site.name in options.number or str(number) in options.number
    return named and (not options.only or site.file in options.only)


def _judge_and_leave(site: dict[str, Any], *only: str) -> None:
    print(json.dumps(asdict(judge(Site(**site), only))), flush=True)
    # at once, because a server that does not respond would not end either
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
