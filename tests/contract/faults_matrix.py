"""Plants each fault into a mock and runs the rules that have to catch it: which rule turned red under which fault."""

import argparse
import multiprocessing
import sys
import time  # noqa: TID251  # measures real seconds
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from sora_mock.domain.contract import Contract
from sora_mock.guard import probe
from sora_mock.runtime import package_data as data
from sora_mock.server import MockServer
from sora_mock.verify import runner
from sora_mock.verify.rule import Rule
from sora_mock.verify.session import VerifySession
from tests.contract.faults import FAULTS

LONGEST = 180.0
"""Real seconds that the whole matrix may take."""

PATIENCE = 180.0
"""Real seconds that one rule may take: generated requests end with them, and the machine may be busy."""

SLOWEST = "callback.timeout"
"""The rule that waits ten real seconds: it is tried last where any rule would do."""


@dataclass(frozen=True)
class Kill:
    """The result of one fault.

    red: the ids of its own rules that turned red, with what they said.
    kept: the ids of those that stayed green.
    tripped: the red ones that met a response which they cannot read, instead of stating their claim.
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


def rules() -> dict[str, Rule]:
    """All rules by id."""
    return {rule.id: rule for rule in runner.load_rules()}


def hunt(number: int) -> Kill:
    """Plants one fault and runs its own rules; where none of them turns red, it runs the others until one does.

    Raises LookupError where the fault names an unknown rule.
    """
    fault, known, began = FAULTS[number], rules(), time.monotonic()
    own = fault.own(known)
    others = sorted(known.keys() - set(own), key=lambda id: id == SLOWEST)
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        with MockServer(port=0, seed=1) as server:
            session = VerifySession(server.url, probe.connect(), Contract(data.contract_document()), True, 0, PATIENCE)
            with session.http:
                results = [runner.check(session, known[id]) for id in own]
                red = {each.rule.id: each.reason for each in results if each.outcome == runner.FAILED}
                found = None if red else _first_red(session, [known[id] for id in others])
    kept = tuple(id for id in own if id not in red)
    tripped = tuple(each.rule.id for each in results if each.tripped)
    return Kill(fault.name, red, kept, tripped, found, time.monotonic() - began)


def _first_red(session: VerifySession, others: Sequence[Rule]) -> str | None:
    results = (runner.check(session, rule) for rule in others)
    return next((each.rule.id for each in results if each.outcome == runner.FAILED), None)


def hunt_all(numbers: Sequence[int], at_once: int) -> Iterator[Kill]:
    """The result of each fault, in the order of `numbers`."""
    # spawned, because a fork would inherit threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context) as pool:
        yield from pool.map(hunt, numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where its rules catch every fault, every rule catches one, and the time is kept; else 1."""
    parser = argparse.ArgumentParser(prog="kill-matrix", description=__doc__)
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="faults with such a name, or a rule of such an id"
    )
    parser.add_argument("--jobs", type=int, default=4, metavar="N", help="processes at once (4)")
    parser.add_argument("--reasons", action="store_true", help="print what each rule said of each fault")
    options = parser.parse_args(arguments)
    known = rules()
    numbers = [n for n, fault in enumerate(FAULTS) if _fits([fault.name, *fault.own(known)], options.only)]
    if not numbers:
        parser.error(f"no fault has such a name, and none a rule of such an id: {options.only}")
    began, kills = time.monotonic(), []
    for kill in hunt_all(numbers, options.jobs):
        kills.append(kill)
        print(fault_lines(kill, options.reasons), flush=True)
    seconds = time.monotonic() - began
    wanted = list(known) if len(numbers) == len(FAULTS) else sorted({id for kill in kills for id in kill.red})
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
