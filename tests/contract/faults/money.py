"""Faults in money: prices, what is reserved, charged and given back, and replays."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.errors import ApiError
from sora_mock.domain.ledger import Ledger
from sora_mock.service import emulator
from sora_mock.service.emulator import Emulator
from sora_mock.storage.memory import Store
from tests.contract.faults.answering import CREDITS, TASKS, body, error, status, without
from tests.contract.faults.planting import Table, answers, around, first, ids, key_schema, part, then

ORDERED = ("model", "prompt", "callback_url")


def _portrait_dearer(view: Any, of: Any, behaviour: Any) -> None:
    if of.video.aspect_ratio == "9:16":
        view["usage"]["credits_reserved"] += 1


def _spent_at_once(ledger: Ledger, units: int) -> Ledger:
    return Ledger(None if ledger.remaining is None else ledger.remaining - units, 0, ledger.used + units)


def _charged_twice(ledger: Any, before: Ledger, units: int) -> Any:
    return msgspec.structs.replace(ledger, used=ledger.used + units)


def _returned_twice(ledger: Any, before: Ledger, units: int) -> Any:
    return msgspec.structs.replace(ledger, remaining=(ledger.remaining or 0) + units)


def _half_returned(release: Any, ledger: Ledger, units: int) -> Any:
    return release(ledger, units // 2)


def _refusal_costs(read: Any, self: Any, call: Any, account: Any) -> Any:
    try:
        return read(self, call, account)
    except ApiError:
        account.ledger = account.ledger.reserve(100).charge(100)
        raise


def _moderation_costs(self: Any, scenario: Any, headers: Any = ()) -> None:
    for account in self.store.by_name.values():
        account.ledger = account.ledger.reserve(100)


def _asking_costs(credits: Any, self: Any, call: Any) -> Any:
    credits(self, call)
    call.account.ledger = call.account.ledger.reserve(100).charge(100)
    return credits(self, call)


def _cancelled_costs(settle: Any, self: Any, account: Any, now: float) -> None:
    before = account.ledger
    settle(self, account, now)
    if before.reserved and not account.ledger.reserved and account.ledger.used == before.used:
        account.ledger = before.charge(before.reserved)


def _spends_reserved(ledger: Ledger, price: int) -> bool:
    return ledger.remaining is None or ledger.remaining + ledger.reserved >= price


def _more_than(rest: int) -> Callable[[Any, int], bool]:
    return lambda ledger, price: ledger.remaining - price > rest


def _money_first(self: Any, call: Any) -> None:
    account = self.store.find(emulator.bearer_key(call.headers.get(b"authorization", b"")))
    if account is not None and account.ledger.remaining == 0:
        raise ApiError(402)


def _made_anyway(create: Any, self: Any, call: Any) -> Any:
    try:
        return create(self, call)
    except ApiError as refusal:
        try:
            ordered = json.loads(call.body or b"")
        except ValueError:
            raise refusal from None
        if refusal.status == 400 and isinstance(ordered, dict):
            call.body = json.dumps({name: ordered[name] for name in ORDERED if name in ordered}).encode()
            create(self, call)
        raise


def _shows_reserved(said: Any) -> None:
    said["data"]["token"]["remaining_credits"] = 1000 - said["data"]["token"]["used_credits"]


CREDIT: Table = {
    "402 as 400": ("money.402.below_1? money.402.nothing", answers(status(402, 400))),
    "402 of the query": ("money.query.402", answers(error(402, TASKS, code="insufficient_quota"))),
    "asking costs": ("money.start", around(Emulator, "credits", _asking_costs)),
    "portrait is dearer": ("money.price.options", around(emulator, "created_view", then(_portrait_dearer))),
    "balance with the reserved": (
        "money.price.1? money.completed.1? money.failed",
        answers(body(CREDITS, _shows_reserved)),
    ),
    "amounts drift": (
        "money.decimals",
        around(emulator, "to_credits", lambda amount, units: float(amount(units)) * 1.0000001),
    ),
    "spent at creation": ("money.completed.* money.failed", part(Ledger, "reserve", _spent_at_once)),
    "never charged": (
        "money.completed.* money.sum money.decimals callback.billing",
        part(Ledger, "charge", lambda ledger, units: ledger.release(units)),
    ),
    "charged twice": ("money.completed.* money.sum", around(Ledger, "charge", then(_charged_twice))),
    "no refund": (
        "money.failed money.moderated money.cancelled money.402.reserved",
        part(Ledger, "release", lambda ledger, units: ledger.charge(units)),
    ),
    "returned twice": ("money.sum money.failed money.cancelled", around(Ledger, "release", then(_returned_twice))),
    "half returned": ("money.failed money.moderated", around(Ledger, "release", _half_returned)),
    "cancelling costs": ("money.cancelled", around(Emulator, "settle", _cancelled_costs)),
    "refusals cost": ("money.refusals", around(Emulator, "_read", _refusal_costs)),
    "refused and yet made": (
        "money.refusals callback.refused_creation",
        around(Emulator, "create", _made_anyway),
    ),
    "moderation costs": ("money.refusals.moderation", around(Emulator, "_refusal_of", first(_moderation_costs))),
    "spends what it has not": (
        "money.402.nothing money.402.below_1? money.402.reserved money.402.key",
        part(Ledger, "affords", lambda ledger, price: True),
    ),
    "never the last": ("money.402.exact_1?", part(Ledger, "affords", _more_than(0))),
    "a little must be left": ("money.402.exact_1? money.402.above_10", part(Ledger, "affords", _more_than(100))),
    "one price to afford": ("money.402.below_15", part(Ledger, "affords", lambda ledger, _: ledger.remaining >= 57600)),
    "spends what is reserved": ("money.402.reserved", part(Ledger, "affords", _spends_reserved)),
    "balance before fields": ("money.402.order", around(Emulator, "create", first(_money_first))),
    "poor keys spend": ("money.402.key", part(emulator, "NO_CREDIT", "sk-mock-never")),
}


def _while_unended(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    answer = replay(self, call, account, fingerprint)
    if answer is None or lifecycle.has_ended(self.store.tasks[json.loads(answer.body)["id"]].plan, call.at):
        return None
    return answer


def _any_body(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    reply = account.replies.get(emulator._idempotency_key(call))
    return replay(self, call, account, fingerprint if reply is None else reply.request)


def _shared_replies(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    for other in self.store.by_name.values():
        if emulator._idempotency_key(call) in other.replies:
            return replay(self, call, other, fingerprint)
    return None


def _remembers_refusals() -> Callable[..., Any]:
    seen: dict[bytes, ApiError] = {}

    def create(original: Any, self: Any, call: Any) -> Any:
        key = call.headers.get(b"idempotency-key", b"")
        if key in seen:
            raise seen[key]
        try:
            return original(self, call)
        except ApiError as refusal:
            if key:
                seen[key] = refusal
            raise

    return create


REPLAYS: Table = {
    "replay unmarked": ("idempotency.replay", answers(without("idempotency-replayed"))),
    "nothing remembered": (
        "idempotency.replay idempotency.replay.later idempotency.conflict",
        part(Store, "keep_reply", lambda self, account, key, reply: None),
    ),
    "forgotten at the end": ("idempotency.replay.later", around(Emulator, "_replay", _while_unended)),
    "any body": ("idempotency.conflict", around(Emulator, "_replay", _any_body)),
    "accounts share keys": ("idempotency.accounts", around(Emulator, "_replay", _shared_replies)),
    "refusals remembered": ("idempotency.refusal", around(Emulator, "create", _remembers_refusals())),
    "16 letters count": ("idempotency.other", around(emulator, "_idempotency_key", lambda key, call: key(call)[:16])),
    "key of 15": ("idempotency.key.15", key_schema(minLength=15)),
    "key above 16": ("idempotency.key.16", key_schema(minLength=17)),
    "key of 97": ("idempotency.key.97", key_schema(maxLength=97)),
    "key below 96": ("idempotency.key.96", key_schema(maxLength=95)),
    "key of anything": ("idempotency.key.letters", key_schema(pattern=".*")),
    "key of letters": (ids("idempotency", "replay", "key.letters"), key_schema(pattern="^[A-Za-z]*$")),
}
