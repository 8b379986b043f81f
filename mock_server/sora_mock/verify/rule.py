"""What a rule of the contract suite is: a small function with an id, a claim, a source, a price and its needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Check = Callable[[Any], None]
"""A function of a `Target`, which imports this module."""

NEEDS: Final[Mapping[str, str]] = {
    "clock": "needs a clock that can be moved",
    "receiver": "needs a receiver of callbacks that the target can reach",
    "ledger": "needs a balance that nobody else changes meanwhile",
    "keys": "needs keys of several accounts",
    "mock": "is for mocks only",
    "surprise": "sends a body that a lax service might take and charge: needs --surprise-credits for that case",
}
"""What a rule can need, and why it stays unverified on a target that has not got it."""

TEN_SECONDS: Final = 5.76
FIFTEEN_SECONDS: Final = 8.64
"""Credits for one video (service-facts, credits)."""


@dataclass(frozen=True)
class Rule:
    """One claim about the service.

    id: dotted, the area first. price: credits that a run on the live service reserves at most, 0 where no task can
    come of it. needs: keys of `NEEDS`. shared: on the live service one creation serves all such rules.
    greedy: there it comes last and may spend what is left of the budget; the price is the least it needs.
    """

    id: str
    claim: str
    source: str
    price: float
    needs: frozenset[str]
    shared: bool
    check: Check
    greedy: bool = False

    @property
    def area(self) -> str:
        """The first word of the id."""
        return self.id.partition(".")[0]


class Broken(Exception):
    """The target broke a rule. `what` was looked at; `got` and `expected` are JSON-like values or sentences."""

    def __init__(self, what: str, got: Any, expected: Any) -> None:
        super().__init__(f"{what}: got {_shown(got)}, expected {_shown(expected)}")
        self.what, self.got, self.expected = what, got, expected


class Unverified(Exception):
    """The rule could not be checked; the text says why. Never a success."""


class GuardEnded(Unverified):
    """The guard ended while the suite ran: nothing more can be checked, and nothing is known of the service."""


REGISTRY: dict[str, Rule] = {}
"""Every rule that was declared, in the order of the files."""


def rule(
    *,
    id: str,
    claim: str,
    source: str,
    price: float = 0,
    needs: set[str] | frozenset[str] = frozenset(),
    shared: bool = False,
    greedy: bool = False,
) -> Callable[[Check], Check]:
    """Declares a function as a rule. Raises ValueError for an id that is taken and a need that nobody knows."""

    def declare(check: Check) -> Check:
        if id in REGISTRY:
            raise ValueError(f"two rules are called {id}")
        if not needs <= NEEDS.keys():
            raise ValueError(f"{id} has unknown needs: {sorted(needs - NEEDS.keys())}")
        REGISTRY[id] = Rule(id, claim, source, price, frozenset(needs), shared, check, greedy)
        return check

    return declare


def equal(what: str, got: Any, expected: Any) -> None:
    """Raises Broken unless both are equal, and of the same JSON type."""
    if got != expected or isinstance(got, bool) != isinstance(expected, bool):
        raise Broken(what, got, expected)


def true(what: str, holds: object, got: Any, expected: Any) -> None:
    """Raises Broken unless `holds`."""
    if not holds:
        raise Broken(what, got, expected)


def _shown(value: Any) -> str:
    written = value if isinstance(value, str) else repr(value)
    return written if len(written) <= 300 else written[:300] + "..."
