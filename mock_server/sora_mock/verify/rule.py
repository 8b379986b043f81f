"""A rule of the contract suite: a function with an id, a claim, a source, a price and needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Check = Callable[[Any], None]
"""A function of a `Target`, which imports this module."""

REJECTION_BUDGET: Final = "surprise"
"""The need of rules that the rejection budget pays for. JSON reports show this name, so it stays."""

NEEDS: Final[Mapping[str, str]] = {
    "clock": "needs a clock that can be moved",
    "receiver": "needs a receiver of callbacks that the target can reach",
    "ledger": "needs a balance that no other client changes",
    "keys": "needs keys of several accounts",
    "mock": "is for mocks only",
    REJECTION_BUDGET: "sends a body that a lax service might accept and charge: needs --surprise-credits",
}
"""What a rule can need, and the reason that a report shows for a target without it."""

TEN_SECONDS: Final = 5.76
FIFTEEN_SECONDS: Final = 8.64
"""Credits for one video (docs/fidelity.md, prices)."""


@dataclass(frozen=True)
class Rule:
    """One claim about the service.

    id: dotted, the area first. price: the most credits that the rule reserves on the live service, 0 if it can create
    no task. needs: keys of `NEEDS`. shared: on the live service, one create request serves all rules with this flag.
    greedy: on the live service, the rule runs last and may spend the rest of the budget; `price` is what it needs.
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
        """The first part of the id."""
        return self.id.partition(".")[0]


class Broken(Exception):
    """The target broke a rule. what: what was checked. got, expected: JSON-like values or sentences."""

    def __init__(self, what: str, got: Any, expected: Any) -> None:
        super().__init__(f"{what}: got {_shown(got)}, expected {_shown(expected)}")
        self.what, self.got, self.expected = what, got, expected


class Unverified(Exception):
    """The rule could not be checked. The text is the reason. This is never a success."""


class GuardEnded(Unverified):
    """The guard ended while the suite ran, so no further rule can be checked."""


REGISTRY: dict[str, Rule] = {}
"""All declared rules by id, in the order of the files."""


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
    """Declares a function as a rule. Raises ValueError for an id that is in use and for an unknown need."""

    def declare(check: Check) -> Check:
        if id in REGISTRY:
            raise ValueError(f"two rules have the id {id}")
        if not needs <= NEEDS.keys():
            raise ValueError(f"{id} has unknown needs: {sorted(needs - NEEDS.keys())}")
        REGISTRY[id] = Rule(id, claim, source, price, frozenset(needs), shared, check, greedy)
        return check

    return declare


def equal(what: str, got: Any, expected: Any) -> None:
    """Raises Broken unless both values are equal and have the same JSON type."""
    if got != expected or isinstance(got, bool) != isinstance(expected, bool):
        raise Broken(what, got, expected)


def true(what: str, holds: object, got: Any, expected: Any) -> None:
    """Raises Broken unless `holds` is true."""
    if not holds:
        raise Broken(what, got, expected)


def _shown(value: Any) -> str:
    written = value if isinstance(value, str) else repr(value)
    return written if len(written) <= 300 else written[:300] + "..."
