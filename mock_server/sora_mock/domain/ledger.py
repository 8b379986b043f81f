"""Money of one account: what is left, what is reserved, what was spent; exact integers, never floats."""

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

UNITS: Final = 10_000
"""Units in one credit. Source: published contract, credits have up to 4 decimal places."""

UNLIMITED_SHOWN: Final = 999_999_999 * UNITS
"""Units that an unlimited account shows as remaining.

Assumption: with so many credits a client's own check of the balance passes.
"""

MAX_UNITS: Final = 10**11 * UNITS
"""The largest balance that is accepted. Up to it every amount is also exact as a JSON number."""


class Ledger(msgspec.Struct, frozen=True, gc=False):
    """The amounts of one account, in units of 1/10,000 credit.

    remaining: what can be reserved, without `reserved`; None is unlimited.
    reserved: what running tasks will cost if they complete, at least 0.
    used: what completed tasks cost, without `reserved`; at least 0.
    """

    remaining: int | None
    reserved: int = 0
    used: int = 0

    def affords(self, price: int) -> bool:
        """Whether `price` can be reserved."""
        return self.remaining is None or self.remaining >= price

    def reserve(self, price: int) -> "Ledger":
        """The ledger after a task was created. The caller checks `affords` first."""
        return Ledger(self._less(price), self.reserved + price, self.used)

    def charge(self, price: int) -> "Ledger":
        """The ledger after a task completed: its reservation is spent."""
        return Ledger(self.remaining, self.reserved - price, self.used + price)

    def release(self, price: int) -> "Ledger":
        """The ledger after a task failed: its reservation is returned."""
        return Ledger(self._less(-price), self.reserved - price, self.used)

    def _less(self, amount: int) -> int | None:
        return None if self.remaining is None else self.remaining - amount


def to_units(credits: str | int | float) -> int:
    """The units of an amount of credits, as a person writes it: 5.76 -> 57600.

    Raises ValueError for what is not a number, is negative, is above 10^11, or has more than 4 decimal places.
    """
    if isinstance(credits, bool):
        raise ValueError("not a number of credits")
    try:
        units = Decimal(str(credits)) * UNITS
    except InvalidOperation:
        raise ValueError("not a number of credits") from None
    if not units.is_finite() or units < 0 or units > MAX_UNITS:
        raise ValueError("credits must be between 0 and 100000000000")
    if units != units.to_integral_value():
        raise ValueError("credits have at most 4 decimal places")
    return int(units)


def to_credits(units: int) -> int | float:
    """The JSON number of an amount: 57600 -> 5.76, 10000 -> 1. Exact up to `MAX_UNITS`."""
    whole, rest = divmod(units, UNITS)
    return units / UNITS if rest else whole
