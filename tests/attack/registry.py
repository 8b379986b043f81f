"""What an attack is: a function with a bounded number of tries, a seed, and what sora-mock promises."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

MAX_FAILURES = 10
"""Failures after which an attack ends early: each of them can have cost its whole time limit."""


class Enough(Exception):
    """An attack has failed so often, or takes so long, that more tries say nothing new."""


@dataclass
class Run:
    """One run of an attack.

    tries: how many tries it has. random: its own random numbers, from the seed. seconds: real time that it may take.
    tried: checks so far. failures: what went wrong, in order. measured: what the attack
    measured, by its name, for the table.
    """

    tries: int
    random: Random
    seconds: float = 300.0
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    measured: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=monotonic)

    def check(self, holds: bool, failure: str) -> bool:
        """Counts a try and returns whether it holds; `failure` says what happened where it does not."""
        self.tried += 1
        if not holds:
            self.failures.append(failure[:300])
            if len(self.failures) >= MAX_FAILURES:
                raise Enough
        if monotonic() - self.began > self.seconds:
            self.failures.append(f"the attack did not end within {self.seconds:.0f} s")
            raise Enough
        return holds

    def within(self, name: str, seconds: float, limit: float) -> None:
        """Counts a try, and keeps the largest time that was measured under this name."""
        known = float(self.measured.get(name, "0 s").removesuffix(" s"))
        self.measured[name] = f"{max(known, seconds):.3f} s"
        self.check(seconds <= limit, f"{name}: {seconds:.2f} s, at most {limit:g} s expected")


@dataclass(frozen=True)
class Attack:
    """An attack.

    name: of its function. what: what it tries. promise: what sora-mock promises. tries: at scale 1.
    short: tries in the short version; None leaves it out there. seconds: real time after which it is stopped,
    at scale 1.
    """

    name: str
    what: str
    promise: str
    tries: int
    short: int | None
    seconds: float
    function: Callable[[Run], None]


ATTACKS: dict[str, Attack] = {}


def attack(
    *, what: str, promise: str, tries: int, short: int | None, seconds: float = 120.0
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Registers a function as an attack. The parameters are those of `Attack`."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        name = function.__name__
        ATTACKS[name] = Attack(name, what, promise, tries, short, seconds, function)
        return function

    return register


def perform(name: str, tries: int, seed: int, seconds: float) -> dict[str, Any]:
    """Runs an attack in this process, for about `seconds` at most. An exception is a failure too."""
    run = Run(tries, Random(f"{name} {seed}"), seconds)
    try:
        ATTACKS[name].function(run)
    except Enough:
        pass
    except Exception as problem:
        run.failures.append(f"the attack ended early: {type(problem).__name__}: {problem}"[:300])
    return {
        "tried": run.tried,
        "failed": len(run.failures),
        "failures": run.failures[:3],
        "measured": run.measured,
        "seconds": monotonic() - run.began,
    }
