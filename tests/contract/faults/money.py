"""Faults in money: prices, what is reserved, charged and released, and replays."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.errors import ApiError
from sora_mock.domain.ledger import Ledger
from sora_mock.service import admission, authentication, credits, tasks, videos
from sora_mock.storage.memory import MemoryAccount
from tests.contract.faults.planting import (
    Table,
    around,
    change_facts,
    first,
    ids,
    key_schema,
    part,
    responses,
    then,
    wrapped,
)
from tests.contract.faults.responses import CREDITS, TASKS, body, error, status, without

ORDERED = ("model", "prompt", "callback_url")


def _portrait_dearer(view: Any, task: Any, behaviour: Any) -> None:
    if task.order.aspect_ratio == "9:16":
        view["usage"]["credits_reserved"] += 1


def _spend_at_once(ledger: Ledger, units: int) -> Ledger:
    return Ledger(None if ledger.remaining is None else ledger.remaining - units, 0, ledger.used + units)


def _charge_twice(ledger: Any, before: Ledger, units: int) -> Any:
    return msgspec.structs.replace(ledger, used=ledger.used + units)


def _return_twice(ledger: Any, before: Ledger, units: int) -> Any:
    return msgspec.structs.replace(ledger, remaining=(ledger.remaining or 0) + units)


def _return_half(release: Any, ledger: Ledger, units: int) -> Any:
    return release(ledger, units // 2)


def _charge_rejected(read: Any, service: Any, account: Any, exchange: Any) -> Any:
    try:
        return read(service, account, exchange)
    except ApiError:
        change_facts(account, ledger=account.facts.ledger.reserve(100).charge(100))
        raise


def _reserve_for_moderation(service: Any, scenario: Any, headers: Any = ()) -> None:
    for account in service.storage.accounts():
        change_facts(account, ledger=account.facts.ledger.reserve(100))


def _charge_query(show: Any, service: Any, exchange: Any) -> Any:
    show(service, exchange)
    account = service.storage.account_by_name(exchange.account)
    change_facts(account, ledger=account.facts.ledger.reserve(100).charge(100))
    return show(service, exchange)


def _charge_cancelled(settle: Any, account: Any, now: float) -> None:
    before = account.facts.ledger
    settle(account, now)
    after = account.facts.ledger
    if before.reserved and not after.reserved and after.used == before.used:
        change_facts(account, ledger=before.charge(before.reserved))


def _affords_reserved(ledger: Ledger, price: int) -> bool:
    return ledger.remaining is None or ledger.remaining + ledger.reserved >= price


def _more_than(rest: int) -> Callable[[Any, int], bool]:
    return lambda ledger, price: ledger.remaining - price > rest


def _balance_first(service: Any, exchange: Any) -> None:
    account = service.storage.find(authentication.bearer_key(exchange.headers.get(b"authorization", b"")))
    if account is not None and account.facts.ledger.remaining == 0:
        raise ApiError(402)


def _create_anyway(create: Any, service: Any, exchange: Any) -> Any:
    try:
        return create(service, exchange)
    except ApiError as error:
        try:
            ordered = json.loads(exchange.body or b"")
        except ValueError:
            raise error from None
        if error.status == 400 and isinstance(ordered, dict):
            exchange.body = json.dumps({name: ordered[name] for name in ORDERED if name in ordered}).encode()
            create(service, exchange)
        raise


def _show_reserved(view: Any) -> None:
    view["data"]["token"]["remaining_credits"] = 1000 - view["data"]["token"]["used_credits"]


CREDIT: Table = {
    "402 as 400": ("money.402.below_1? money.402.nothing", responses(status(402, 400))),
    "402 of the query": ("money.query.402", responses(error(402, TASKS, code="insufficient_quota"))),
    "a credits query costs": ("money.start money.reading", wrapped(credits.show, _charge_query)),
    "portrait is dearer": ("money.price.options", around(videos, "created_view", then(_portrait_dearer))),
    "balance with the reserved": (
        "money.price.1? money.completed.1? money.failed",
        responses(body(CREDITS, _show_reserved)),
    ),
    "amounts drift": (
        "money.decimals",
        around(credits, "to_credits", lambda amount, units: float(amount(units)) * 1.0000001),
    ),
    "spent when created": ("money.completed.* money.failed", part(Ledger, "reserve", _spend_at_once)),
    "never charged": (
        "money.completed.* money.sum money.decimals money.charged callback.billing",
        part(Ledger, "charge", lambda ledger, units: ledger.release(units)),
    ),
    "charged twice": ("money.completed.* money.sum money.charged", around(Ledger, "charge", then(_charge_twice))),
    "no refund": (
        "money.failed money.moderated money.cancelled money.402.reserved",
        part(Ledger, "release", lambda ledger, units: ledger.charge(units)),
    ),
    "returned twice": ("money.sum money.failed money.cancelled", around(Ledger, "release", then(_return_twice))),
    "half returned": ("money.failed money.moderated", around(Ledger, "release", _return_half)),
    "cancelling costs": ("money.cancelled", wrapped(tasks.settle, _charge_cancelled)),
    "rejected requests cost": ("money.refusals money.rejections", wrapped(videos._read, _charge_rejected)),
    "rejected and yet created": (
        "money.refusals callback.refused_creation",
        wrapped(videos.create, _create_anyway),
    ),
    "moderation costs": ("money.refusals.moderation", wrapped(admission.rejection, first(_reserve_for_moderation))),
    "spends more than it has": (
        "money.402.nothing money.402.below_1? money.402.reserved money.402.key",
        part(Ledger, "affords", lambda ledger, price: True),
    ),
    "never the last": ("money.402.exact_1?", part(Ledger, "affords", _more_than(0))),
    "a little must be left": ("money.402.exact_1? money.402.above_10", part(Ledger, "affords", _more_than(100))),
    "one price to afford": ("money.402.below_15", part(Ledger, "affords", lambda ledger, _: ledger.remaining >= 57600)),
    "spends what is reserved": ("money.402.reserved", part(Ledger, "affords", _affords_reserved)),
    "balance before fields": ("money.402.order", wrapped(videos.create, first(_balance_first))),
    "keys without credit spend": ("money.402.key", part(authentication, "NO_CREDIT", "sk-mock-never")),
}


def _replay_while_unended(replay: Any, service: Any, account: Any, exchange: Any, fingerprint: bytes) -> Any:
    response = replay(service, account, exchange, fingerprint)
    if response is None:
        return None
    task = service.storage.tasks[json.loads(response.body)["id"]]
    return None if lifecycle.has_ended(task.plan, exchange.at) else response


def _replay_any_body(replay: Any, service: Any, account: Any, exchange: Any, fingerprint: bytes) -> Any:
    stored = account.stored_reply(videos._idempotency_key(exchange))
    return replay(service, account, exchange, fingerprint if stored is None else stored.fingerprint)


def _replay_of_all_accounts(replay: Any, service: Any, account: Any, exchange: Any, fingerprint: bytes) -> Any:
    for other in service.storage.accounts():
        if other.stored_reply(videos._idempotency_key(exchange)) is not None:
            return replay(service, other, exchange, fingerprint)
    return None


def _replays_errors() -> Callable[..., Any]:
    seen: dict[bytes, ApiError] = {}

    def create(original: Any, service: Any, exchange: Any) -> Any:
        key = exchange.headers.get(b"idempotency-key", b"")
        if key in seen:
            raise seen[key]
        try:
            return original(service, exchange)
        except ApiError as error:
            if key:
                seen[key] = error
            raise

    return create


REPLAYS: Table = {
    "replay unmarked": ("idempotency.replay", responses(without("idempotency-replayed"))),
    "nothing remembered": (
        "idempotency.replay idempotency.replay.later idempotency.conflict",
        part(MemoryAccount, "store_reply", lambda self, key, response: None),
    ),
    "forgotten at the end": ("idempotency.replay.later", wrapped(videos._replay, _replay_while_unended)),
    "any body": ("idempotency.conflict", wrapped(videos._replay, _replay_any_body)),
    "keys of all accounts": ("idempotency.accounts", wrapped(videos._replay, _replay_of_all_accounts)),
    "errors remembered": ("idempotency.refusal", wrapped(videos.create, _replays_errors())),
    "16 letters count": (
        "idempotency.other",
        wrapped(videos._idempotency_key, lambda key, exchange: key(exchange)[:16]),
    ),
    "key of 15": ("idempotency.key.15", key_schema(minLength=15)),
    "key above 16": ("idempotency.key.16", key_schema(minLength=17)),
    "key of 97": ("idempotency.key.97", key_schema(maxLength=97)),
    "key below 96": ("idempotency.key.96", key_schema(maxLength=95)),
    "key of anything": ("idempotency.key.letters", key_schema(pattern=".*")),
    "key of letters": (ids("idempotency", "replay", "key.letters"), key_schema(pattern="^[A-Za-z]*$")),
}
