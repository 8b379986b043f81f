"""A rule of the contract suite: a test with the marker `contract`, which has an id, a source, a price and needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import getdoc
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

MARKER: Final = "contract"

REJECTION_BUDGET: Final = "surprise"
"""The need of rules that the rejection budget pays for. JSON reports show this value, so it must not change."""

SOLE_USER: Final = "sole_user"
"""The need of rules that compare balances."""

NEEDS: Final[Mapping[str, str]] = {
    "clock": "needs a clock that can be moved",
    "receiver": "needs a receiver of callbacks that the target can reach",
    "ledger": "needs a balance that no other client changes",
    "keys": "needs keys of several accounts",
    "mock": "is for mocks only",
    SOLE_USER: "needs a balance that no other client changes: needs --sole-user",
    REJECTION_BUDGET: "sends a body that a lax service might accept and charge: needs --surprise-credits",
}
"""What a rule can need, and the reason that a report shows for a target without it."""

TEN_SECONDS: Final = 5.76
FIFTEEN_SECONDS: Final = 8.64
"""Credits for one video (docs/fidelity.md, prices)."""

SHARED: Final[Mapping[str, float]] = {
    "usual": TEN_SECONDS,
    "explicit": TEN_SECONDS,
    "combined": FIFTEEN_SECONDS,
}
"""The create requests that several rules use on the live service, by name, with their prices in credits."""


@dataclass(frozen=True)
class Rule:
    """One claim about the service.

    id: dotted, the area first. claim: one sentence. source: where the service says so. price: the most credits that the
    rule reserves on the live service, 0 if it can create no task. needs: keys of `NEEDS`. shared: a key of `SHARED`: on
    the live service, this create request, whose price is a part of `price`, is sent once for all rules that name it.
    greedy: on the live service, the rule runs last and may spend the rest of the budget; `price` is what it needs.
    """

    id: str
    claim: str
    source: str
    price: float = 0.0
    needs: frozenset[str] = frozenset()
    shared: str | None = None
    greedy: bool = False

    @property
    def area(self) -> str:
        """The first part of the id."""
        return self.id.partition(".")[0]


def rule_of(item: "pytest.Item") -> Rule | None:
    """The rule that a test states; None for a test without the marker. Raises ValueError for a marker with a mistake.

    A row of `parametrize` may have a marker of its own, which overrides that of the function. In the id and the claim,
    the id of the row replaces `*`.
    """
    values: dict[str, Any] = {}
    # from the module to the row: the nearest marker wins
    for marker in (each for node in item.listchain() for each in node.own_markers if each.name == MARKER):
        if marker.args:
            raise ValueError(f"{item.nodeid}: the marker contract takes keywords, such as id=, got {marker.args!r}")
        values |= marker.kwargs
    if not values:
        return None
    row = getattr(item, "callspec", None)
    try:
        rule = Rule(**{"claim": _claim(item), **values, "needs": frozenset(values.get("needs", ()))})
    except TypeError as problem:
        raise ValueError(f"{item.nodeid}: {problem}") from None
    if row is not None and "*" not in rule.id:
        raise ValueError(f"{item.nodeid}: each row is a rule of its own: the id needs a *, as in {rule.id}.*")
    if not rule.needs <= NEEDS.keys():
        raise ValueError(f"{item.nodeid}: unknown needs {sorted(rule.needs - NEEDS.keys())}; known are {sorted(NEEDS)}")
    if rule.shared is not None and SHARED.get(rule.shared, rule.price + 1) > rule.price:
        raise ValueError(f"{item.nodeid}: shared is one of {', '.join(SHARED)}, and the price includes it")
    name = "" if row is None else row.id
    return Rule(**{**vars(rule), "id": rule.id.replace("*", name), "claim": rule.claim.replace("*", name)})


def _claim(item: "pytest.Item") -> str:
    """The first sentence of the docstring; without one, the name of the test."""
    function = getattr(item, "function", None)
    described = (getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
    return described or getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
