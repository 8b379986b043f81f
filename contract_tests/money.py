"""Credits: what is reserved, charged and returned."""

from typing import Any

from sora_mock.verify.rule import FIFTEEN_SECONDS, TEN_SECONDS, equal, rule
from sora_mock.verify.target import CREATE, CREDITS, GENERATION, Target

SOURCE = "service documentation, credits (D)"
START = 1000.0
PRICES = {10: TEN_SECONDS, 15: FIFTEEN_SECONDS}


def has(target: Target, remaining: float, reserved: float, used: float) -> None:
    """Raises Broken unless the account has this; it also reads remaining and used credits from /v1/credits."""
    account = target.control("GET", "/account")
    found = tuple(account[f"{name}_credits"] for name in ("remaining", "reserved", "used"))
    wanted = tuple(round(each, 4) for each in (remaining, reserved, used))
    equal("remaining, reserved and used credits", found, wanted)
    equal("remaining and used credits of /v1/credits", target.balance(), (wanted[0], wanted[2]))


@rule(id="money.start", claim="an account without tasks has used nothing", source=SOURCE, needs={"mock"})
def start(target: Target) -> None:
    """1000, 0, 0."""
    has(target, START, 0, 0)


def _price(seconds: int, price: float) -> None:
    @rule(
        id=f"money.price.{seconds}",
        claim=f"a video of {seconds} seconds reserves {price} credits, and the reply says so",
        source=f"{SOURCE}, price page",
        price=price,
    )
    def check(target: Target) -> None:
        reply = target.created(duration=seconds)
        equal("usage.credits_reserved", reply["usage"]["credits_reserved"], price)
        if target.is_mock:
            has(target, START - price, price, 0)


for _seconds, _credits in PRICES.items():
    _price(_seconds, _credits)


@rule(
    id="money.price.options",
    claim="only the duration changes the price",
    source="published contract, prose of duration",
    needs={"mock"},
)
def options(target: Target) -> None:
    """Watermark, ratio, picture, callback and a long prompt are free."""
    for fields in (
        {"remove_watermark": False},
        {"aspect_ratio": "9:16"},
        {"image_urls": ["http://example.com/image1.jpg"]},
        {"callback_url": "https://inbox.sora-mock.test/free"},
        {"prompt": "x" * 5000},
    ):
        equal(f"price with {list(fields)}", target.created(**fields)["usage"]["credits_reserved"], TEN_SECONDS)


def _settled(name: str, scenario: str, seconds: int, claim: str, **override: Any) -> None:
    price = PRICES[seconds]

    @rule(
        id=f"money.{name}",
        claim=claim,
        source=f"{SOURCE}: reserved at the create request, settled on completion, returned on failure",
        needs={"clock", "ledger"},
    )
    def check(target: Target) -> None:
        target.scenario(scenario, generation_time=GENERATION, **override)
        task_id = target.created(duration=seconds)["id"]
        has(target, START - price, price, 0)
        target.advance(GENERATION - 0.5)
        has(target, START - price, price, 0)
        charged = price if scenario == "completed" else 0
        target.advance(0.5)
        has(target, START - charged, 0, charged)
        target.task(task_id)
        target.advance(86_400)
        has(target, START - charged, 0, charged)


for _seconds in PRICES:
    _claim = f"a completed task of {_seconds} s is charged {PRICES[_seconds]}, at its completion and once"
    _settled(f"completed.{_seconds}", "completed", _seconds, _claim)
_settled("failed", "failed", 15, "a failed task returns the whole reservation, when it fails and once")
_settled("moderated", "moderation_nudity", 10, "a task that moderation fails returns the whole reservation", at=1)


@rule(
    id="money.cancelled",
    claim="a cancelled task returns the whole reservation",
    source=f"{SOURCE}: returned on failure",
    needs={"clock", "ledger"},
)
def cancelled(target: Target) -> None:
    """At once."""
    task_id = target.created()["id"]
    target.control("POST", f"/tasks/{task_id}/finish", {"outcome": "cancelled"})
    has(target, START, 0, 0)


@rule(id="money.sum", claim="remaining, reserved and used always add up", source=SOURCE, needs={"clock", "ledger"})
def adds_up(target: Target) -> None:
    """Completed, failed and running tasks together, at every second."""
    target.created()
    target.scenario("failed", generation_time=GENERATION / 2)
    target.created(duration=15)
    for _ in range(int(GENERATION) + 2):
        account = target.control("GET", "/account")
        total = sum(account[f"{name}_credits"] for name in ("remaining", "reserved", "used"))
        equal("sum", round(total, 4), START)
        target.advance(1)
    has(target, START - TEN_SECONDS, 0, TEN_SECONDS)


@rule(id="money.refusals", claim="a refusal costs nothing", source=SOURCE, needs={"mock", "ledger"})
def refusals(target: Target) -> None:
    """400, 401, 404, 405."""
    target.send("POST", CREATE, content=b"{").error(400, "invalid_request")
    target.create(duration=11).error(400, "invalid_request")
    target.create(model="other").error(400, "invalid_request")
    target.create(callback_url="http://example.com/").error(400, "invalid_request")
    target.send("PUT", CREATE, body={})
    target.get("/v1/nonsense")
    has(target, START, 0, 0)
    equal("tasks", target.control("GET", "/tasks")["tasks"], [])


@rule(
    id="money.refusals.moderation",
    claim="an order that moderation refuses at once costs nothing",
    source="clients of the service, synchronous 400 for content (C)",
    needs={"mock", "ledger"},
)
def refused_by_moderation(target: Target) -> None:
    """400 content_policy_violation."""
    target.scenario("moderation_nudity_input")
    target.create().error(400, "content_policy_violation", "invalid_request_error", "nudity detected")
    has(target, START, 0, 0)


POOR = "Insufficient quota. Please top up your account."


def _short(name: str, balance: float, seconds: int, enough: bool) -> None:
    @rule(
        id=f"money.402.{name}",
        claim=f"{balance} credits are {'enough' if enough else 'too little: 402 insufficient_quota'} for {seconds} s",
        source="published contract, responses 402 of the create request; clients of the service, credits (C)",
        needs={"mock", "ledger"},
    )
    def check(target: Target) -> None:
        target.control("PATCH", "/account", {"remaining_credits": balance})
        reply = target.create(duration=seconds)
        if enough:
            reply.must_be(200)
            has(target, balance - PRICES[seconds], PRICES[seconds], 0)
        else:
            reply.error(402, "insufficient_quota", "insufficient_quota", POOR)
            has(target, balance, 0, 0)
            equal("tasks", target.control("GET", "/tasks")["tasks"], [])


for _name, _balance, _seconds, _enough in (
    ("below_10", 5.7599, 10, False),
    ("exact_10", 5.76, 10, True),
    ("above_10", 5.7601, 10, True),
    ("below_15", 8.6399, 15, False),
    ("exact_15", 8.64, 15, True),
    ("nothing", 0, 10, False),
):
    _short(_name, _balance, _seconds, _enough)


@rule(id="money.402.reserved", claim="what is reserved cannot be spent again", source=SOURCE, needs={"mock", "ledger"})
def reserved(target: Target) -> None:
    """Ten credits, two orders; after a failure there is enough again."""
    target.control("PATCH", "/account", {"remaining_credits": 10})
    target.scenario("failed", generation_time=GENERATION)
    target.created()
    target.create().error(402, "insufficient_quota")
    target.advance(GENERATION)
    target.created()


@rule(
    id="money.402.key",
    claim="a key without credit is refused with 402 and can still read",
    source="docs/reference.md, order of checks",
    needs={"mock", "keys"},
)
def no_credit(target: Target) -> None:
    """A balance of 0 never blocks a query."""
    key = target.other_key("poor").replace("sk-verify-", "sk-mock-no-credit-")
    target.create(key=key).error(402, "insufficient_quota", "insufficient_quota", POOR)
    equal("remaining", target.balance(key)[0], 0)
    target.get("/v1/tasks/task-unified-1000000000-00000000", key=key).error(404, "task_not_found")


@rule(
    id="money.402.order",
    claim="a bad field is refused before the balance is",
    source="docs/reference.md, order of checks",
    needs={"mock", "ledger"},
)
def bad_field_first(target: Target) -> None:
    """400, not 402."""
    target.control("PATCH", "/account", {"remaining_credits": 0})
    target.create(duration=11).error(400, "invalid_request")


@rule(
    id="money.query.402",
    claim="the query's own 402 is quota_exceeded",
    source="service documentation, errors of the task query (D)",
    needs={"mock"},
)
def query_402(target: Target) -> None:
    """Of type insufficient_quota."""
    target.get(CREDITS, headers={"X-Mock-Scenario": "insufficient_quota"}).error(
        402, "quota_exceeded", "insufficient_quota"
    )
    task = "/v1/tasks/task-unified-1000000000-00000000"
    target.get(task, headers={"X-Mock-Scenario": "insufficient_quota"}).error(
        402, "quota_exceeded", "insufficient_quota", POOR
    )


@rule(id="money.decimals", claim="amounts are numbers with at most four decimals", source=SOURCE, needs={"mock"})
def decimals(target: Target) -> None:
    """After a hundred orders nothing has drifted."""
    for _ in range(100):
        target.created()
    has(target, START - 576, 576, 0)
    target.advance(GENERATION)
    has(target, START - 576, 0, 576)
