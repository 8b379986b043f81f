"""Money of one account: what is left, what is reserved, what was spent; exact integers, never floats."""

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

UNITS: Final = 10_000
"""Units in one credit; credits have up to 4 decimal places (service-facts, Credits)."""

UNLIMITED_SHOWN: Final = 999_999_999 * UNITS
"""Assumption: what an unlimited account shows as remaining, so that a client's own check of it passes."""

MOST: Final = 10**11 * UNITS
"""The largest balance that is accepted: below it every amount is exact as a JSON number too."""


class Ledger(msgspec.Struct, frozen=True, gc=False):
    """Amounts in units of 1/10,000 credit; `remaining` and `used` both exclude `reserved`.

    remaining: None means unlimited.
    """

    remaining: int | None
    reserved: int = 0
    used: int = 0

    def affords(self, price: int) -> bool:
        """Whether `price` can be reserved."""
        return self.remaining is None or self.remaining >= price

    def reserve(self, price: int) -> "Ledger":
        """At creation. The caller has asked `affords`."""
        return Ledger(self._less(price), self.reserved + price, self.used)

    def charge(self, price: int) -> "Ledger":
        """On completion: what was reserved is spent."""
        return Ledger(self.remaining, self.reserved - price, self.used + price)

    def release(self, price: int) -> "Ledger":
        """On failure: what was reserved comes back."""
        return Ledger(self._less(-price), self.reserved - price, self.used)

    def _less(self, amount: int) -> int | None:
        return None if self.remaining is None else self.remaining - amount


def to_units(credits: str | int | float) -> int:
    """Units of an amount of credits, as it is written: 5.76 -> 57600.

    Raises ValueError for what is no number, is negative, above 10^11, or has more than 4 decimal places.
    """
    if isinstance(credits, bool):
        raise ValueError("not a number of credits")
    try:
        units = Decimal(str(credits)) * UNITS
    except InvalidOperation:
        raise ValueError("not a number of credits") from None
    if not units.is_finite() or units < 0 or units > MOST:
        raise ValueError("credits must be between 0 and 100000000000")
    if units != units.to_integral_value():
        raise ValueError("credits have at most 4 decimal places")
    return int(units)


def to_credits(units: int) -> int | float:
    """The JSON number of an amount: 57600 -> 5.76, 10000 -> 1. Exact below `MOST`."""
    whole, rest = divmod(units, UNITS)
    return units / UNITS if rest else whole
