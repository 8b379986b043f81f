"""Money is exact: no order of events loses or adds credits."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.ledger import MAX_UNITS, UNITS, Ledger, to_credits, to_units

amounts = st.integers(0, MAX_UNITS)


@given(amounts, st.lists(st.tuples(st.sampled_from(["reserve", "charge", "release"]), st.integers(0, 10**6))))
def test_the_sum_of_remaining_reserved_and_used_is_constant(balance: int, events: list[tuple[str, int]]) -> None:
    ledger = Ledger(balance)
    open_prices: list[int] = []
    for event, price in events:
        if event == "reserve" and ledger.affords(price):
            ledger = ledger.reserve(price)
            open_prices.append(price)
        elif event != "reserve" and open_prices:
            ledger = getattr(ledger, event)(open_prices.pop())
        assert ledger.remaining is not None
        assert ledger.remaining + ledger.reserved + ledger.used == balance
        assert min(ledger.remaining, ledger.reserved, ledger.used) >= 0


def test_a_million_charges_of_5_76_add_up_to_the_last_digit() -> None:
    price = to_units(5.76)
    ledger = Ledger(to_units(10_000_000))
    for _ in range(1_000_000):
        ledger = ledger.reserve(price).charge(price)
    assert to_credits(ledger.used) == 5_760_000
    assert ledger.remaining is not None
    assert to_credits(ledger.remaining) == 4_240_000


@given(amounts)
def test_an_amount_is_exact_in_json(units: int) -> None:
    written = json.dumps(to_credits(units))
    assert Decimal(written) * UNITS == units
    assert to_units(json.loads(written)) == units


def test_an_unlimited_account_affords_every_price_and_counts_used_credits() -> None:
    ledger = Ledger(None).reserve(57_600).charge(57_600)
    assert ledger == Ledger(None, 0, 57_600)
    assert ledger.affords(MAX_UNITS)


@pytest.mark.parametrize("bad", [-1, "abc", True, float("nan"), float("inf"), 0.00001, 10**12, None, ""])
def test_an_invalid_amount_is_rejected(bad: object) -> None:
    with pytest.raises(ValueError, match="credits"):
        to_units(bad)  # type: ignore[arg-type]
