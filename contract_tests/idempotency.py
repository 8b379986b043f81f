"""Idempotency-Key: the same request twice creates one task and one charge."""

from sora_mock.verify.rule import TEN_SECONDS, equal, rule
from sora_mock.verify.target import GENERATION, Target

SOURCE = "clients of the service, idempotency (C)"
KEY = {"Idempotency-Key": "verify-0123456789-abcdef"}


@rule(
    id="idempotency.replay",
    claim="a repeated create request gets the first response again, marked idempotency-replayed",
    source=SOURCE,
    needs={"mock"},
)
def replay(target: Target) -> None:
    """One task, one price."""
    first = target.create(headers=KEY)
    first.must_be(200)
    equal("idempotency-replayed", first.headers.get("idempotency-replayed"), None)
    second = target.create(headers=KEY)
    second.must_be(200)
    equal("body", second.body, first.body)
    equal("idempotency-replayed", second.headers.get("idempotency-replayed"), "true")
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 1)
    equal("reserved", target.control("GET", "/account")["reserved_credits"], TEN_SECONDS)


@rule(
    id="idempotency.replay.later",
    claim="the first reply is repeated after the task has ended",
    source=SOURCE,
    needs={"clock"},
)
def later(target: Target) -> None:
    """Still pending in it."""
    first = target.create(headers=KEY)
    target.advance(GENERATION + 60)
    equal("body", target.create(headers=KEY).body, first.body)


@rule(
    id="idempotency.conflict",
    claim="the same key with another body is idempotency_conflict, and makes no task",
    source=SOURCE,
    needs={"mock"},
)
def conflict(target: Target) -> None:
    """409 (an assumption)."""
    target.create(headers=KEY).must_be(200)
    target.create(headers=KEY, duration=15).error(409, "idempotency_conflict", "invalid_request_error")
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 1)


@rule(id="idempotency.other", claim="another key makes another task", source=SOURCE, needs={"mock"})
def other(target: Target) -> None:
    """Two tasks."""
    target.create(headers=KEY).must_be(200)
    target.create(headers={"Idempotency-Key": "verify-0123456789-abcdeg"}).must_be(200)
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 2)


@rule(id="idempotency.accounts", claim="each account has its own keys", source=SOURCE, needs={"mock", "keys"})
def accounts(target: Target) -> None:
    """The other account makes its own task."""
    other_key = target.other_account()
    first = target.create(headers=KEY).must_be(200)
    second = target.create(headers=KEY, key=other_key).must_be(200)
    equal("same id", first["id"] == second["id"], False)


@rule(
    id="idempotency.refusal",
    claim="a refused create request is not remembered",
    source="docs/reference.md, order of checks",
    needs={"mock"},
)
def refusal(target: Target) -> None:
    """400, then 200; 402, then 200."""
    target.create(headers=KEY, duration=11).error(400, "invalid_request")
    target.control("PATCH", "/account", {"remaining_credits": 0})
    target.create(headers=KEY).error(402, "insufficient_quota")
    target.control("PATCH", "/account", {"remaining_credits": 10})
    reply = target.create(headers=KEY)
    reply.must_be(200)
    equal("idempotency-replayed", reply.headers.get("idempotency-replayed"), None)


def _length(length: int, right: bool) -> None:
    @rule(
        id=f"idempotency.key.{length}",
        claim=f"a key of {length} characters is {'accepted' if right else 'rejected with 400'}",
        source=SOURCE,
        needs={"mock"},
    )
    def check(target: Target) -> None:
        reply = target.create(headers={"Idempotency-Key": "k" * length})
        if right:
            reply.must_be(200)
        else:
            reply.error(400, "invalid_request", "invalid_request_error", None, "Idempotency-Key")


for _count, _right in ((15, False), (16, True), (96, True), (97, False)):
    _length(_count, _right)


@rule(
    id="idempotency.key.letters",
    claim="a key has letters, digits, dot, underscore and hyphen alone",
    source=SOURCE,
    needs={"mock"},
)
def letters(target: Target) -> None:
    """16 of each."""
    target.create(headers={"Idempotency-Key": "aZ09._-aZ09._-aZ09._-"}).must_be(200)
    for wrong in ("a b c d e f g h i", "key/with/slashes/0", "key:with:colons:0"):
        target.create(headers={"Idempotency-Key": wrong}).error(400, "invalid_request")
