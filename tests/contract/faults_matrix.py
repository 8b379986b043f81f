"""Plants each fault into a mock and runs the rules that have to catch it: which rule turned red under which fault."""

import argparse
import sys
import time  # noqa: TID251  # measures real seconds
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from sora_mock.verify.rule import Rule
from tests.contract import forked
from tests.contract.faults import FAULTS
from tests.contract.faults.planting import Fault
from tests.contract.forked import Job, Run, positive

LONGEST = 180.0
"""Real seconds that the whole matrix may take on two processors."""

SLOWEST = "callback.timeout"
"""The rule that waits ten real seconds: it is tried last where any rule would do."""


@dataclass(frozen=True)
class Kill:
    """The result of one fault.

    red: the ids of its own rules that turned red, with what they said.
    kept: the ids of those that stayed green.
    tripped: those of `red` that could not read a response, so no assertion failed.
    other: a rule that is not its own and turned red; tried only where all its own stayed green.
    """

    name: str
    red: Mapping[str, str]
    kept: tuple[str, ...] = ()
    tripped: tuple[str, ...] = ()
    other: str | None = None
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Every rule that had to catch it has done so, by its claim."""
        return bool(self.red) and not self.kept and not self.tripped


def job_of(fault: Fault, known: Sequence[str]) -> Job:
    """The run that plants one fault. Raises LookupError where the fault names an unknown rule."""
    own = fault.own(known)
    others = sorted(set(known) - set(own), key=lambda id: id == SLOWEST)

    def start() -> str:
        # in the child alone: the parent must not start a thread
        from sora_mock.server import MockServer

        fault.plant(pytest.MonkeyPatch())
        return MockServer(port=0, seed=1).__enter__().url

    return Job(fault.name, start, own, others)


def kill_of(run: Run) -> Kill:
    """What a run says of its fault. Raises RuntimeError for a mock that did not start."""
    if run.problem:
        raise RuntimeError(f"{run.job.name}: {run.problem}")
    red = {id: run.results[id]["reason"] for id in run.red(run.job.own)}
    kept = tuple(id for id in run.job.own if id not in red)
    tripped = tuple(id for id in red if not run.results[id]["is_claim"])
    other = next(iter(run.red(run.job.others)), None)
    return Kill(run.job.name, red, kept, tripped, other, run.seconds)


def run_all(
    faults: Callable[[Sequence[str]], Sequence[Fault]], report: Callable[[Kill], None], at_once: int
) -> tuple[list[Kill], list[str]]:
    """The results of the faults that `faults` chooses, given the ids of all rules; and these ids."""
    known: list[str] = []

    def jobs(rules: Mapping[str, Rule]) -> list[Job]:
        known.extend(rules)
        return [job_of(fault, known) for fault in faults(known)]

    runs = forked.run_jobs(jobs, lambda run: report(kill_of(run)), at_once=at_once)
    return [kill_of(run) for run in runs], known


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where its rules catch every fault, every rule catches one, and the time is kept; else 1."""
    parser = argparse.ArgumentParser(prog="kill-matrix", description=__doc__)
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="faults with such a name, or a rule of such an id"
    )
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="processes at once (2)")
    parser.add_argument("--reasons", action="store_true", help="print what each rule said of each fault")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def chosen(known: Sequence[str]) -> list[Fault]:
        return [fault for fault in FAULTS if _fits([fault.name, *fault.own(known)], options.only)]

    def report(kill: Kill) -> None:
        print(fault_lines(kill, options.reasons), flush=True)

    kills, known = run_all(chosen, report, options.jobs)
    if not kills:
        parser.error(f"no fault has such a name, and none a rule of such an id: {options.only}")
    seconds = time.monotonic() - began
    wanted = known if len(kills) == len(FAULTS) else sorted({id for kill in kills for id in kill.red})
    print(rule_lines(kills, wanted))
    print(summary(kills, wanted, seconds))
    return 0 if all(kill.killed for kill in kills) and not uncovered(kills, wanted) and seconds <= LONGEST else 1


def _fits(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def uncovered(kills: Sequence[Kill], wanted: Sequence[str]) -> list[str]:
    """The rules that no fault turned red by their claim."""
    covered = {id for kill in kills for id in kill.red if id not in kill.tripped}
    return [id for id in wanted if id not in covered]


def fault_lines(kill: Kill, reasons: bool) -> str:
    """A line for a fault and its red rules. reasons: one more line for each red rule."""
    lines = [f"{'killed' if kill.killed else 'SURVIVED':8} {kill.name:38} {' '.join(kill.red)}".rstrip()]
    lines += [f"    kept by {id}" for id in kill.kept]
    lines += [f"    weak: {id} did not state its claim: {kill.red[id]}" for id in kill.tripped]
    if not kill.red:
        lines.append(f"    turned red instead: {kill.other or 'no rule at all'}")
    if reasons:
        lines += [f"    {id}: {why[:160]}" for id, why in kill.red.items()]
    return "\n".join(lines)


def rule_lines(kills: Sequence[Kill], wanted: Sequence[str]) -> str:
    """A line for each rule with the faults that turned it red."""
    lines = ["", "rule: faults that turned it red"]
    for id in wanted:
        names = [kill.name + (" (weak)" if id in kill.tripped else "") for kill in kills if id in kill.red]
        lines.append(f"{id:38} {', '.join(names) or 'NOT COVERED'}")
    return "\n".join(lines)


def summary(kills: Sequence[Kill], wanted: Sequence[str], seconds: float) -> str:
    """Rules by area, and the totals."""
    missing = set(uncovered(kills, wanted))
    all_rules = Counter(id.partition(".")[0] for id in wanted)
    covered = Counter(id.partition(".")[0] for id in wanted if id not in missing)
    killed = sum(kill.killed for kill in kills)
    lines = ["", *(f"{area:12} {covered[area]:3} of {count:3} rules covered" for area, count in all_rules.items()), ""]
    lines.append(f"{killed} of {len(kills)} faults killed by all their rules ({_percent(killed, len(kills))})")
    count = len(wanted) - len(missing)
    lines.append(f"{count} of {len(wanted)} rules catch a fault ({_percent(count, len(wanted))})")
    lines.append(
        f"{sum(len(kill.red) for kill in kills)} pairs of fault and rule, of them "
        f"{sum(len(kill.tripped) for kill in kills)} weak; {seconds:.1f} s (at most {LONGEST:g} s)"
    )
    return "\n".join(lines)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


if __name__ == "__main__":
    sys.exit(main())
