"""Runs the suite against each planted fault, the fault's own rule first, until one turns red."""

import argparse
import multiprocessing
import sys
import time  # noqa: TID251  # measures real seconds
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import pytest

from sora_mock import data
from sora_mock.domain.contract import Contract
from sora_mock.server import MockServer
from sora_mock.verify import live, runner
from sora_mock.verify.rule import Rule
from sora_mock.verify.target import Session
from tests.contract.faults_more import FAULTS, GAPS, Fault

LONGEST = 180.0
"""Real seconds that the whole matrix may take."""


@dataclass(frozen=True)
class Kill:
    """What came of a fault. by: the id of the first red rule, None where all were kept; why: what it said."""

    name: str
    own: str
    by: str | None
    why: str
    seconds: float
    tried: int


def rules() -> dict[str, Rule]:
    """All rules by id."""
    return {rule.id: rule for rule in runner.load_rules()}


def hunt(number: int, own_alone: bool) -> Kill:
    """Plants one fault and looks for a red rule. Raises KeyError where the fault names no rule."""
    fault, began = [*FAULTS, *GAPS][number], time.monotonic()
    known = rules()
    # the slow rule of ten real seconds comes last
    others = sorted((each for each in known.values() if each.id != fault.rule), key=lambda r: _likeness(r, fault))
    chosen = [known[fault.rule], *([] if own_alone else others)]
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        with MockServer(port=0, seed=1) as server:
            session = Session(server.url, live.connect(), Contract(data.contract_document()), True, 0, 60.0)
            with session.http:
                for tried, rule in enumerate(chosen, 1):
                    result = runner.check(session, rule)
                    if result.outcome == runner.FAILED:
                        return Kill(fault.name, fault.rule, rule.id, result.reason, time.monotonic() - began, tried)
    return Kill(fault.name, fault.rule, None, "", time.monotonic() - began, len(chosen))


def _likeness(rule: Rule, fault: Fault) -> tuple[bool, bool]:
    return rule.id == "callback.timeout", rule.area != fault.area


def hunt_all(numbers: Sequence[int], own_alone: bool, at_once: int) -> Iterator[Kill]:
    """One outcome for each, in their order."""
    # spawned, because a fork would inherit threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context) as pool:
        yield from pool.map(hunt, numbers, [own_alone] * len(numbers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where every fault was caught in time, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="kill-matrix", description=__doc__)
    parser.add_argument("--own", action="store_true", help="each fault's own rule alone")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name or rule contains it")
    parser.add_argument("--jobs", type=int, default=4, metavar="N", help="processes at once (4)")
    parser.add_argument("--gaps", action="store_true", help="the known gaps instead: all are expected to survive")
    options = parser.parse_args(arguments)
    chosen = range(len(FAULTS), len(FAULTS) + len(GAPS)) if options.gaps else range(len(FAULTS))
    known = [*FAULTS, *GAPS]
    numbers = [n for n in chosen if options.only in known[n].name or options.only in known[n].rule]
    if not numbers:
        parser.error(f"no fault has {options.only!r} in its name or rule")
    began = time.monotonic()
    kills = []
    for kill in hunt_all(numbers, options.own, options.jobs):
        kills.append(kill)
        print(row(kill), flush=True)
    seconds = time.monotonic() - began
    print(summary(kills, seconds))
    return 0 if all(kill.by for kill in kills) and seconds <= LONGEST else 1


def row(kill: Kill) -> str:
    """One line: fault, the rule that caught it, how."""
    mark = "SURVIVED" if kill.by is None else "killed" if kill.by == kill.own else "by another"
    return f"{mark:10} {kill.name:28} {kill.by or kill.own:36} {kill.seconds:5.1f} s  {kill.why[:90]}".rstrip()


def summary(kills: Sequence[Kill], seconds: float) -> str:
    """Areas, the share killed, and what the figure leaves out."""
    killed = [kill for kill in kills if kill.by]
    own = [kill for kill in killed if kill.by == kill.own]
    areas = Counter(kill.own.partition(".")[0] for kill in kills)
    by_area = Counter(kill.own.partition(".")[0] for kill in killed)
    named = {kill.own for kill in kills}
    lines = ["", *(f"{area:12} {by_area[area]:3} of {count:3}" for area, count in areas.items()), ""]
    lines.append(f"{len(killed)} of {len(kills)} faults killed ({100 * len(killed) / len(kills):.1f} %)")
    lines.append(f"{len(own)} by their own rule; {len(named)} of {len(rules())} rules have a fault of their own")
    lines.append(f"{seconds:.1f} s (at most {LONGEST:g} s)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
