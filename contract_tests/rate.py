"""The rate limit: the 429 of each operation, and when it ends."""

from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import equal, rule, true
from sora_mock.verify.target import CREATE, CREDITS, Target

SOURCE = "published contract, responses 429; service documentation, errors of the task query (D)"
TASK = "/v1/tasks/task-unified-1000000000-00000000"


def limit(target: Target, text: str) -> None:
    """Sets the account's limit."""
    target.control("PATCH", "/account", {"rate_limit": text})


def spend(target: Target, count: int) -> TargetResponse:
    """Reads the balance `count` times, then returns the first 429. Raises Broken for an earlier or later one."""
    for _ in range(count):
        target.get(CREDITS).must_be(200)
    rejection = target.get(CREDITS)
    rejection.error(429, "rate_limit_exceeded")
    return rejection


@rule(
    id="rate.create",
    claim="beyond the limit a create request gets 429 rate_limit_error, and makes no task",
    source=SOURCE,
    needs={"mock"},
)
def create_request(target: Target) -> None:
    """Nothing is charged."""
    limit(target, "2/minute")
    target.created()
    target.created()
    message = "Too many requests, please try again later"
    target.create().error(429, "rate_limit_exceeded", "rate_limit_error", message)
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 2)


@rule(id="rate.query", claim="beyond the limit a query gets 429 evo_api_error", source=SOURCE, needs={"mock"})
def query(target: Target) -> None:
    """Another type and message than the create request's."""
    limit(target, "1/minute")
    target.get(TASK).error(404, "task_not_found")
    target.get(TASK).error(429, "rate_limit_exceeded", "evo_api_error", "Rate limit exceeded")
    target.get(CREDITS).error(429, "rate_limit_exceeded", "evo_api_error")


@rule(
    id="rate.shared",
    claim="the three operations have one common limit",
    source="docs/reference.md, settings, --rate-limit",
    needs={"mock"},
)
def shared(target: Target) -> None:
    """One bucket."""
    limit(target, "3/minute")
    target.created()
    target.get(CREDITS).must_be(200)
    target.get(TASK).error(404, "task_not_found")
    target.create().error(429, "rate_limit_exceeded")


@rule(
    id="rate.refill",
    claim="after the time that Retry-After names the request is let through",
    source=f"{SOURCE}; Retry-After (C)",
    needs={"clock"},
)
def refill(target: Target) -> None:
    """And not a second request."""
    limit(target, "6/minute")
    after = spend(target, 6).headers.get("retry-after", "")
    true("Retry-After", after.isdigit() and 0 < int(after) <= 10, after, "whole seconds, 10 at most")
    target.advance(9.9 if int(after) == 10 else 0)
    target.get(CREDITS).error(429, "rate_limit_exceeded")
    target.advance(10)
    spend(target, 1)


@rule(
    id="rate.full",
    claim="a rest fills the bucket to its capacity and not beyond",
    source="docs/reference.md, settings, --rate-limit",
    needs={"clock"},
)
def full(target: Target) -> None:
    """An hour gives three."""
    limit(target, "3/minute")
    target.advance(3600)
    spend(target, 3)


@rule(
    id="rate.order",
    claim="the limit comes before the body is looked at, and after the key",
    source="docs/reference.md, order of checks",
    needs={"mock"},
)
def order(target: Target) -> None:
    """429 for broken JSON, 401 for a wrong key."""
    limit(target, "1/minute")
    target.get(CREDITS).must_be(200)
    target.send("POST", CREATE, content=b"{").error(429, "rate_limit_exceeded")
    target.send("POST", CREATE, content=b"{", key="wrong").error(401, "unauthorized")


@rule(
    id="rate.apart",
    claim="each account has its own limit",
    source="docs/reference.md, settings, --rate-limit",
    needs={"mock", "keys"},
)
def apart(target: Target) -> None:
    """The other one goes on."""
    other = target.other_account()
    limit(target, "1/minute")
    target.get(CREDITS).must_be(200)
    target.get(CREDITS).error(429, "rate_limit_exceeded")
    target.get(CREDITS, key=other).must_be(200)


@rule(
    id="rate.key",
    claim="a key that is limited is refused on every operation",
    source="docs/reference.md, order of checks",
    needs={"mock", "keys"},
)
def limited_key(target: Target) -> None:
    """With Retry-After."""
    key = "sk-mock-rate-limited-verify"
    for reply in (target.create(key=key), target.get(CREDITS, key=key), target.get(TASK, key=key)):
        reply.error(429, "rate_limit_exceeded")
        true("Retry-After", reply.headers.get("retry-after", "").isdigit(), reply.headers, "whole seconds")
