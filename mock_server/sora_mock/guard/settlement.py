"""What a request cost, decided from its response."""

import json
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from sora_mock.domain.ledger import UNITS, to_credits
from sora_mock.guard.pricing import CHEAPEST, Priced, Uncertain
from sora_mock.guard.upstream import NoReply, UpstreamResponse

_MOST: Final = 10**9
"""Credits. A response that says more is wrong."""


LONGEST_TASK: Final = 1024 * 1024
"""Bytes of a response that is read as a task. Millions of values in a longer one would delay other requests."""


@dataclass(frozen=True)
class Settlement:
    """units: what to book. problem: why the budget must close, None if it need not."""

    units: int
    problem: str | None = None


def settlement(found: Priced | Uncertain, reserved: int, outcome: UpstreamResponse | NoReply) -> Settlement:
    """What a request cost. reserved: the units of its reservation.

    A request that did not leave, or got a 4xx except 408, cost nothing. A 2xx books `usage.credits_reserved`, but at
    least a lower limit: the list price for the main budget, the lowest price for the rejection budget. Where the
    response does not say it, all that was reserved stays booked.
    """
    status = outcome.status
    if isinstance(outcome, NoReply) and not outcome.sent:
        return Settlement(0)
    if status is not None and 400 <= status < 500 and status != 408:
        return Settlement(0)
    if isinstance(outcome, NoReply) or not 200 <= outcome.status < 300:
        return Settlement(reserved)
    said = _said(outcome.body)
    if said is None:
        return Settlement(reserved)
    amount = _units(said)
    if amount is None:
        return Settlement(reserved, f"a response reserves {str(said)[:40]!r} credits, which is not an amount")
    units = max(amount, found.units if found.budget == "main" else min(CHEAPEST, reserved))
    if units > reserved:
        return Settlement(units, f"a task cost {to_credits(units)} instead of {to_credits(reserved)} credits")
    return Settlement(units)


def _said(body: bytes) -> Any:
    """`usage.credits_reserved` of a response. None if it does not have it, or is longer than a task can be."""
    if len(body) > LONGEST_TASK:
        return None
    try:
        return json.loads(body, parse_int=Decimal, parse_float=Decimal, parse_constant=Decimal)["usage"][
            "credits_reserved"
        ]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def _units(said: Any) -> int | None:
    """An amount in units, rounded up. None if it is not an amount: text, negative, not finite, or beyond reason."""
    try:
        amount = said if isinstance(said, Decimal) else Decimal(said if isinstance(said, str) else "NaN")
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= _MOST:
        return None
    return int((amount * UNITS).to_integral_value(ROUND_CEILING))
