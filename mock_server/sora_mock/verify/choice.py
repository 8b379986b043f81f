"""Which rules run: those that the flags select and, on the live service, those that the budget pays for. Pure."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sora_mock.verify.rule import FIFTEEN_SECONDS, NEEDS, REJECTION_BUDGET, SHARED, SOLE_USER, Rule


def selects(only: Sequence[str], skip: Sequence[str], id: str) -> bool:
    """Whether the id matches a pattern of `only` (any id if it is empty) and none of `skip`."""
    return (not only or any(fnmatchcase(id, each) for each in only)) and not any(fnmatchcase(id, each) for each in skip)


def keyword_may_select(expression: str, names: Sequence[str]) -> bool:
    """Whether pytest's `-k EXPRESSION` may select a test of which a name is one of `names`.

    False only where no word of the expression occurs in a name; an expression with `not` may select any test.
    """
    words = set(re.split(r"[^\w.\[\]:+-]+", expression.lower())) - {"and", "or", ""}
    return "not" in words or not words or any(word in name.lower() for word in words for name in names)


def rejection_budget(max_credits: float, given: float | None) -> float:
    """The credits for requests that the service should reject (docs/verify.md, targets and budget)."""
    if given is not None:
        return given
    return FIFTEEN_SECONDS if max_credits >= 14.40 else 0.0


def affordable(
    rules: Sequence[Rule], budget: float, available: frozenset[str]
) -> tuple[list[Rule], Mapping[str, str], float]:
    """For the live service: the rules that run, the reason for each other one by id, and the rest of the budget.

    budget: the main budget in credits. available: the needs that are met. The order: first the rules that compare
    balances, because nothing else may change these meanwhile, then those with a common create request, then the free
    ones, then the cheapest, and the greedy ones last.
    """
    chosen: list[Rule] = []
    reasons: dict[str, str] = {}
    paid: set[str] = set()
    for rule in sorted(rules, key=_place):
        missing = sorted(rule.needs - available)
        price = round(rule.price - SHARED[rule.shared], 4) if rule.shared in paid else rule.price
        if missing:
            reasons[rule.id] = "; ".join(NEEDS[each] for each in missing)
        elif price > budget + 1e-9:
            reasons[rule.id] = f"costs {price:g} credits, {budget:g} are left of the budget"
        else:
            budget = round(budget - price, 4)
            chosen.append(rule)
            if rule.shared is not None:
                paid.add(rule.shared)
    return chosen, reasons, budget


def _place(rule: Rule) -> tuple[Any, ...]:
    compares = SOLE_USER in rule.needs
    # a lost response to what should be rejected may use up the budget, and balances must not move meanwhile
    group = (REJECTION_BUDGET in rule.needs) if compares else 2 + (rule.shared is None)
    return rule.greedy, group, rule.price, [None, *SHARED].index(rule.shared)


def repeat_flags(rule: Rule, *, is_live: bool) -> str:
    """The flags of `sora-mock verify` that run only this rule, with the budget that it needs."""
    rejection = FIFTEEN_SECONDS if REJECTION_BUDGET in rule.needs else 0.0
    credits = round(rule.price + rejection, 4)
    budget = f" --max-credits {credits:g} --surprise-credits {rejection:g}" if is_live and credits else ""
    return f"--only '{rule.id}'{budget}"
