"""Which rules run: flags, budget, needs."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract_tests.orders import SHARED_ORDERS
from sora_mock.guard.pricing import PRICES
from sora_mock.verify.choice import affordable, keyword_may_select, rejection_budget, repeat_flags, selects
from sora_mock.verify.rule import FIFTEEN_SECONDS, NEEDS, REJECTION_BUDGET, SHARED, SOLE_USER, TEN_SECONDS, Rule

FREE = Rule("a.free", "claim", "source")
CHEAP = Rule("a.cheap", "claim", "source", TEN_SECONDS)
DEAR = Rule("a.dear", "claim", "source", FIFTEEN_SECONDS)
USUAL = [Rule(f"a.usual.{number}", "claim", "source", TEN_SECONDS, shared="usual") for number in range(3)]
EXPLICIT = Rule("a.explicit", "claim", "source", TEN_SECONDS, shared="explicit")
COMBINED = [Rule(f"a.combined.{number}", "claim", "source", FIFTEEN_SECONDS, shared="combined") for number in range(2)]
TWICE = Rule("a.twice", "claim", "source", 2 * TEN_SECONDS, shared="explicit")
CHARGED = Rule("a.charged", "claim", "source", TEN_SECONDS, frozenset({SOLE_USER}), shared="usual")
READING = Rule("a.reading", "claim", "source", needs=frozenset({SOLE_USER}))
REJECTED = Rule("a.refused", "claim", "source", needs=frozenset({SOLE_USER, REJECTION_BUDGET}))
ALL_SHARED = [*USUAL, EXPLICIT, *COMBINED, TWICE, CHARGED]
GREEDY = Rule("a.greedy", "claim", "source", TEN_SECONDS, greedy=True)
MOCK = Rule("a.mock", "claim", "source", needs=frozenset({"mock", "clock"}))
LAX = Rule("a.lax", "claim", "source", needs=frozenset({REJECTION_BUDGET}))


@pytest.mark.parametrize(
    ("only", "skip", "selected"),
    [
        ((), (), True),
        (("auth.*",), (), True),
        (("money.*",), (), False),
        (("money.*", "auth.create.none"), (), True),
        ((), ("auth.*",), False),
        (("auth.*",), ("*.none",), False),
    ],
)
def test_an_id_is_selected_by_only_and_left_out_by_skip(
    only: tuple[str, ...], skip: tuple[str, ...], selected: bool
) -> None:
    assert selects(only, skip, "auth.create.none") is selected


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("openapi", True),
        ("callbacks", False),
        ("callbacks or generated", True),
        ("not callbacks", True),
        ("GENERATED.link", True),
        ("test_fields and model", False),
    ],
)
def test_a_keyword_expression_selects_the_tests_of_schemathesis_only_by_their_names(expression: str, may: bool) -> None:
    assert keyword_may_select(expression, ["test_openapi.py", "generated.link"]) is may


def test_a_budget_of_14_40_pays_for_rejections_and_a_given_one_wins() -> None:
    assert [rejection_budget(credits, None) for credits in (0.0, 14.39, 14.40)] == [0.0, 0.0, FIFTEEN_SECONDS]
    assert rejection_budget(50.0, 0.0) == 0.0


def test_shared_rules_come_first_and_are_paid_once_then_free_ones_then_the_cheapest_then_greedy_ones() -> None:
    rules = [GREEDY, DEAR, CHEAP, FREE, *COMBINED, EXPLICIT, *USUAL]
    chosen, reasons, left = affordable(rules, 4 * TEN_SECONDS + 2 * FIFTEEN_SECONDS + 1, frozenset())
    assert chosen == [*USUAL, EXPLICIT, *COMBINED, FREE, CHEAP, DEAR, GREEDY]
    assert reasons == {}
    assert left == pytest.approx(1.0)


def test_rules_that_compare_balances_come_before_everything_that_is_charged() -> None:
    chosen, _, left = affordable([*USUAL, EXPLICIT, FREE, REJECTED, CHARGED, READING], 12.0, frozenset(NEEDS))
    assert chosen == [READING, CHARGED, REJECTED, *USUAL, EXPLICIT, FREE]
    assert left == pytest.approx(12 - 2 * TEN_SECONDS)


def test_a_rule_that_repeats_a_shared_create_request_costs_one_price_more() -> None:
    assert affordable([EXPLICIT, TWICE], 2 * TEN_SECONDS, frozenset())[0] == [EXPLICIT, TWICE]
    chosen, reasons, _ = affordable([EXPLICIT, TWICE], 11.0, frozenset())
    assert chosen == [EXPLICIT]
    assert reasons == {"a.twice": "costs 5.76 credits, 5.24 are left of the budget"}


def test_what_the_budget_cannot_buy_or_the_target_cannot_offer_has_a_reason() -> None:
    chosen, reasons, _ = affordable([FREE, CHEAP, DEAR, MOCK, LAX], 6.0, frozenset())
    assert chosen == [FREE, CHEAP]
    assert reasons == {
        "a.dear": "costs 8.64 credits, 0.24 are left of the budget",
        "a.mock": f"{NEEDS['clock']}; {NEEDS['mock']}",
        "a.lax": NEEDS[REJECTION_BUDGET],
    }
    assert affordable([LAX], 0.0, frozenset({REJECTION_BUDGET}))[0] == [LAX]


@given(
    rules=st.lists(
        st.sampled_from([FREE, CHEAP, DEAR, *ALL_SHARED, GREEDY, MOCK, LAX]), unique_by=lambda rule: rule.id
    ),
    budget=st.floats(0, 100),
)
def test_the_chosen_rules_never_cost_more_than_the_budget(rules: list[Rule], budget: float) -> None:
    chosen, reasons, left = affordable(rules, budget, frozenset())
    orders = {rule.shared for rule in chosen if rule.shared}
    own = [rule.price - (SHARED[rule.shared] if rule.shared else 0) for rule in chosen]
    paid = sum(SHARED[name] for name in orders) + sum(own)
    assert paid <= budget + 1e-6
    assert left == pytest.approx(budget - paid, abs=1e-3)
    assert {rule.id for rule in chosen} | reasons.keys() == {rule.id for rule in rules}


def test_the_shared_create_requests_cost_what_their_durations_cost_and_hold_what_their_rules_claim() -> None:
    prices = {name: PRICES[order.get("duration", 10)] for name, order in SHARED_ORDERS.items()}
    assert {name: units / 10_000 for name, units in prices.items()} == SHARED
    with warnings.catch_warnings():
        # only the suite knows its marker
        warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
        from contract_tests.test_fields import ACCEPTED
    for row in ACCEPTED:
        (marker,) = row.marks
        # a prompt of 5000 characters of four bytes is one of 5000 characters
        if (name := marker.kwargs.get("shared")) and row.id != "prompt.5000":
            assert row.values[0].items() <= SHARED_ORDERS[name].items(), row.id


def test_the_command_that_repeats_a_rule_can_pay_for_it() -> None:
    assert repeat_flags(CHEAP, is_live=False) == "--only 'a.cheap'"
    assert repeat_flags(FREE, is_live=True) == "--only 'a.free'"
    assert repeat_flags(CHEAP, is_live=True) == "--only 'a.cheap' --max-credits 5.76 --surprise-credits 0"
    assert repeat_flags(LAX, is_live=True) == "--only 'a.lax' --max-credits 8.64 --surprise-credits 8.64"
