"""Credits: what is reserved, charged and returned."""

from collections.abc import Callable
from typing import Any

import pytest

from contract_tests.orders import CREATE, CREDITS, DAY, GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET, SOLE_USER, TEN_SECONDS

SOURCE = "service documentation, credits (D)"
SETTLED = f"{SOURCE}: reserved at the create request, settled on completion, returned on failure"
START = 1000.0
PRICES = {10: TEN_SECONDS, 15: FIFTEEN_SECONDS}
NO_TASK = "/v1/tasks/task-unified-1000000000-00000000"
INSUFFICIENT = (402, "insufficient_quota", "insufficient_quota", "Insufficient quota. Please top up your account.")
TOO_LITTLE = "published contract, responses 402 of the create request; clients of the service, credits (C)"


def account_of(mock: Account) -> tuple[float, ...]:
    """The account's remaining, reserved and used credits, all at one time."""
    account = mock.call("GET", "/account")
    return tuple(account[f"{name}_credits"] for name in ("remaining", "reserved", "used"))


def credits_of(service: Service, mock: Account) -> dict[str, tuple[float, ...]]:
    """The account's remaining, reserved and used credits, and the two of them that /v1/credits shows."""
    return {"account": account_of(mock), CREDITS: service.balance()}


def amounts(remaining: float, reserved: float, used: float) -> dict[str, tuple[float, ...]]:
    """`credits_of` of an account with these amounts."""
    rounded = tuple(round(each, 4) for each in (remaining, reserved, used))
    return {"account": rounded, CREDITS: rounded[::2]}


@pytest.mark.contract(id="money.start", source=SOURCE, needs={"mock"})
def test_an_account_without_tasks_has_used_nothing(service: Service, mock: Account) -> None:
    assert credits_of(service, mock) == amounts(START, 0, 0)


@pytest.mark.contract(id="money.price.*", source=f"{SOURCE}, price page")
@pytest.mark.parametrize(
    ("seconds", "price"),
    [
        pytest.param(
            seconds,
            price,
            id=f"{seconds}",
            marks=pytest.mark.contract(
                price=price,
                shared="usual" if seconds == 10 else "combined",
                claim=f"a video of {seconds} seconds reserves {price} credits, and the response says so",
            ),
        )
        for seconds, price in PRICES.items()
    ],
)
def test_a_video_reserves_its_price(
    service: Service, request: pytest.FixtureRequest, seconds: int, price: float
) -> None:
    created = service.created(duration=seconds) if service.is_mock else request.getfixturevalue("shared_task")
    assert created["usage"]["credits_reserved"] == price
    if service.is_mock:
        assert credits_of(service, request.getfixturevalue("mock")) == amounts(START - price, price, 0)


@pytest.mark.contract(id="money.price.options", source="published contract, prose of duration", needs={"mock"})
def test_only_the_duration_changes_the_price(service: Service) -> None:
    options: list[dict[str, Any]] = [
        {"remove_watermark": False},
        {"aspect_ratio": "9:16"},
        {"image_urls": ["http://example.com/image1.jpg"]},
        {"callback_url": "https://inbox.sora-mock.test/free"},
        {"prompt": "x" * 5000},
    ]
    prices = [(list(fields), service.created(**fields)["usage"]["credits_reserved"]) for fields in options]
    assert prices == [(list(fields), TEN_SECONDS) for fields in options]


@pytest.mark.contract(id="money.*", source=SETTLED, needs={"clock", "ledger"})
@pytest.mark.parametrize(
    ("scenario", "seconds", "override"),
    [
        *(
            pytest.param(
                "completed",
                seconds,
                {},
                id=f"completed.{seconds}",
                marks=pytest.mark.contract(
                    claim=f"a completed task of {seconds} s is charged {price}, at its completion and once"
                ),
            )
            for seconds, price in PRICES.items()
        ),
        pytest.param(
            "failed",
            15,
            {},
            id="failed",
            marks=pytest.mark.contract(claim="a failed task returns the whole reservation, when it fails and once"),
        ),
        pytest.param(
            "moderation_nudity",
            10,
            {"at": 1},
            id="moderated",
            marks=pytest.mark.contract(claim="a task that moderation fails returns the whole reservation"),
        ),
    ],
)
def test_a_task_is_settled_when_it_ends_and_once(
    service: Service,
    mock: Account,
    every_task: Callable[..., None],
    scenario: str,
    seconds: int,
    override: dict[str, Any],
) -> None:
    price = PRICES[seconds]
    charged = price if scenario == "completed" else 0
    every_task(scenario, generation_time=GENERATION, **override)
    task_id = service.created(duration=seconds)["id"]
    assert credits_of(service, mock) == amounts(START - price, price, 0)
    mock.clock.advance(GENERATION - 0.5)
    assert credits_of(service, mock) == amounts(START - price, price, 0)
    mock.clock.advance(0.5)
    assert credits_of(service, mock) == amounts(START - charged, 0, charged)
    service.task(task_id)
    mock.clock.advance(DAY)
    assert credits_of(service, mock) == amounts(START - charged, 0, charged)


@pytest.mark.contract(id="money.cancelled", source=f"{SOURCE}: returned on failure", needs={"clock", "ledger"})
def test_a_cancelled_task_returns_the_whole_reservation(service: Service, mock: Account) -> None:
    """A cancelled task returns the whole reservation, at once."""
    mock.task(service.created()["id"]).finish("cancelled")
    assert credits_of(service, mock) == amounts(START, 0, 0)


@pytest.mark.contract(id="money.charged", source=SETTLED, price=TEN_SECONDS, shared="usual", needs={SOLE_USER})
def test_what_is_charged_is_what_was_reserved(
    service: Service, request: pytest.FixtureRequest, sent_once: dict[str, Any]
) -> None:
    """A completed task is charged what was reserved, and a failed one nothing; polls cost nothing."""
    if sent_once:
        pytest.skip("an earlier rule has sent the create request")
    before = service.balance()
    price = request.getfixturevalue("shared_task")["usage"]["credits_reserved"]
    status = request.getfixturevalue("views")[-1]["status"]
    after = service.balance()
    charged = {"completed": price, "failed": 0}.get(status)
    assert [round(before[0] - after[0], 4), round(after[1] - before[1], 4)] == [charged, charged]


@pytest.mark.contract(id="money.reading", source=SOURCE, needs={SOLE_USER})
def test_queries_cost_nothing(service: Service) -> None:
    """Queries of a task and of the balance cost nothing, nor do unknown routes."""
    before = service.balance()
    for path in (NO_TASK, "/v1/tasks/nonsense", "/v1/nonsense", CREDITS):
        service.get(path)
    assert service.balance() == before


@pytest.mark.contract(id="money.rejections", source=SOURCE, needs={SOLE_USER, REJECTION_BUDGET})
def test_a_create_request_that_is_rejected_costs_nothing(service: Service) -> None:
    before = service.balance()
    for body in ({"content": b"{"}, {"duration": 11}):
        assert error_of(service.create(**body))[:2] == (400, "invalid_request"), body
    assert service.balance() == before


@pytest.mark.contract(id="money.sum", source=SOURCE, needs={"clock", "ledger"})
def test_remaining_reserved_and_used_always_add_up(
    service: Service, mock: Account, every_task: Callable[..., None]
) -> None:
    """Remaining, reserved and used credits always add up, while tasks run, complete and fail."""
    service.created()
    every_task("failed", generation_time=GENERATION / 2)
    service.created(duration=15)
    sums = []
    for _ in range(int(GENERATION) + 2):
        sums.append(round(sum(account_of(mock)), 4))
        mock.clock.advance(1)
    assert sums == [START] * len(sums)
    assert credits_of(service, mock) == amounts(START - TEN_SECONDS, 0, TEN_SECONDS)


@pytest.mark.contract(id="money.refusals", source=SOURCE, needs={"mock", "ledger"})
def test_a_rejected_request_costs_nothing(service: Service, mock: Account) -> None:
    """A rejected request costs nothing, for each of the statuses 400, 404 and 405."""
    bodies: list[dict[str, Any]] = [
        {"content": b"{"},
        {"duration": 11},
        {"model": "other"},
        {"callback_url": "http://example.com/"},
    ]
    for body in bodies:
        assert error_of(service.create(**body))[:2] == (400, "invalid_request"), body
    service.put(CREATE, json={})
    service.get("/v1/nonsense")
    assert credits_of(service, mock) == amounts(START, 0, 0)
    assert mock.tasks == []


@pytest.mark.contract(
    id="money.refusals.moderation",
    source="clients of the service, synchronous 400 for content (C)",
    needs={"mock", "ledger"},
)
def test_a_create_request_that_moderation_rejects_at_once_costs_nothing(
    service: Service, mock: Account, every_task: Callable[..., None]
) -> None:
    every_task("moderation_nudity_input")
    error = error_of(service.create())
    assert error[:4] == (400, "content_policy_violation", "invalid_request_error", "nudity detected")
    assert credits_of(service, mock) == amounts(START, 0, 0)


@pytest.mark.contract(
    id="money.402.*",
    source=TOO_LITTLE,
    needs={"mock", "ledger"},
)
@pytest.mark.parametrize(
    ("balance", "seconds"),
    [
        pytest.param(
            balance,
            seconds,
            id=name,
            marks=pytest.mark.contract(claim=f"{balance} credits are enough for {seconds} s"),
        )
        for name, balance, seconds in (
            ("exact_10", 5.76, 10),
            ("above_10", 5.7601, 10),
            ("exact_15", 8.64, 15),
        )
    ],
)
def test_a_balance_of_the_price_is_enough(service: Service, mock: Account, balance: float, seconds: int) -> None:
    mock.credits = balance
    assert accepted(service.create(duration=seconds))
    assert credits_of(service, mock) == amounts(balance - PRICES[seconds], PRICES[seconds], 0)


@pytest.mark.contract(
    id="money.402.*",
    source=TOO_LITTLE,
    needs={"mock", "ledger"},
)
@pytest.mark.parametrize(
    ("balance", "seconds"),
    [
        pytest.param(
            balance,
            seconds,
            id=name,
            marks=pytest.mark.contract(
                claim=f"{balance} credits are too little: 402 insufficient_quota for {seconds} s"
            ),
        )
        for name, balance, seconds in (
            ("below_10", 5.7599, 10),
            ("below_15", 8.6399, 15),
            ("nothing", 0, 10),
        )
    ],
)
def test_a_balance_below_the_price_gets_402(service: Service, mock: Account, balance: float, seconds: int) -> None:
    mock.credits = balance
    assert error_of(service.create(duration=seconds))[:4] == INSUFFICIENT
    assert credits_of(service, mock) == amounts(balance, 0, 0)
    assert mock.tasks == []


@pytest.mark.contract(id="money.402.reserved", source=SOURCE, needs={"mock", "ledger"})
def test_what_is_reserved_cannot_be_spent_again(
    service: Service, mock: Account, every_task: Callable[..., None]
) -> None:
    """What is reserved cannot be spent again; what a failure returns can."""
    mock.credits = 10
    every_task("failed", generation_time=GENERATION)
    service.created()
    assert error_of(service.create())[:2] == (402, "insufficient_quota")
    mock.clock.advance(GENERATION)
    assert service.create().status_code == 200


@pytest.mark.contract(id="money.402.key", source="docs/reference.md, order of checks", needs={"mock", "keys"})
def test_a_key_without_credit_gets_402_and_can_still_read(service: Service) -> None:
    poor = service.with_key(f"{service.key}".replace("sk-verify-", "sk-mock-no-credit-"))
    assert error_of(poor.create())[:4] == INSUFFICIENT
    assert poor.balance()[0] == 0
    assert error_of(poor.get(NO_TASK))[:2] == (404, "task_not_found")


@pytest.mark.contract(id="money.402.order", source="docs/reference.md, order of checks", needs={"mock", "ledger"})
def test_a_bad_field_is_rejected_before_the_balance_is(service: Service, mock: Account) -> None:
    mock.credits = 0
    assert error_of(service.create(duration=11))[:2] == (400, "invalid_request")


@pytest.mark.contract(
    id="money.query.402", source="service documentation, errors of the task query (D)", needs={"mock"}
)
def test_the_402_of_a_query_is_quota_exceeded(service: Service) -> None:
    """The query's own 402 is quota_exceeded."""
    scenario = {"X-Mock-Scenario": "insufficient_quota"}
    expected = (402, "quota_exceeded", "insufficient_quota")
    assert error_of(service.get(CREDITS, headers=scenario))[:3] == expected
    assert error_of(service.get(NO_TASK, headers=scenario))[:4] == (*expected, INSUFFICIENT[3])


@pytest.mark.contract(id="money.decimals", source=SOURCE, needs={"mock"})
def test_amounts_are_numbers_with_at_most_four_decimals(service: Service, mock: Account) -> None:
    """Amounts are numbers with at most four decimals, after a hundred create requests too."""
    for _ in range(100):
        service.created()
    assert credits_of(service, mock) == amounts(START - 576, 576, 0)
    mock.clock.advance(GENERATION)
    assert credits_of(service, mock) == amounts(START - 576, 0, 576)
