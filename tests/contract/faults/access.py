"""Faults in who may do what: keys, foreign tasks, the rate limit."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from sora_mock.service.emulator import Emulator

from sora_mock.domain import lifecycle
from sora_mock.domain.errors import ApiError
from sora_mock.domain.token_bucket import TokenBucket
from sora_mock.service import calls, emulator
from tests.contract.faults.answering import CREATE, CREDITS, TASKS, error, refusal, status, without
from tests.contract.faults.planting import Table, answers, around, first, ids, instead_of, part, then

OPERATIONS = "auth.create.* auth.query.* auth.credits.*"


def _strict_scheme(key: Any, header: bytes) -> Any:
    return key(header) if header.startswith(b"Bearer ") else ""


def _any_scheme(key: Any, header: bytes) -> Any:
    return key(header) or header.decode("latin-1").rpartition(" ")[2]


def _nobody(self: Any, call: Any) -> None:
    raise ApiError(401)


def _id_first(self: Any, call: Any, task_id: str) -> None:
    self.contract.check_task_id(task_id)


def _body_first(self: Any, call: Any) -> None:
    self.contract.read_create_request(None, call.body or b"")


def _valid_needs_no_key(self: Any, call: Any) -> Any:
    try:
        self.contract.read_create_request(None, call.body or b"")
    except ApiError:
        return None
    return calls.Answer(200, json.dumps({}).encode())


KEYS: Table = {
    "401 as 403": (f"{OPERATIONS} auth.before.*", answers(status(401, 403))),
    "one code for all": (
        f"{OPERATIONS} query.id.* money.402.below_1? rate.query foreign.query",
        answers(refusal(lambda said: said.update(code="error"))),
    ),
    "401 of the creation": ("auth.create.*", answers(error(401, CREATE, type="invalid_request_error"))),
    "401 of the query": ("auth.query.*", answers(error(401, TASKS, message="Invalid or expired token"))),
    "401 of the balance": ("auth.credits.*", answers(error(401, CREDITS, message="Invalid or expired token"))),
    "every key is good": (f"{OPERATIONS} auth.before.*", part(Emulator, "accepts", lambda self, key: True)),
    "no key is good": ("auth.key.works", around(Emulator, "_enter", first(_nobody))),
    "no key is a key": (
        ids("auth.credits", "none", "empty", "basic", "bare"),
        around(emulator, "bearer_key", lambda key, header: key(header) or "sk-nobody"),
    ),
    "a good key under another scheme": (
        "auth.*.good_basic auth.*.good_bare",
        around(emulator, "bearer_key", _any_scheme),
    ),
    "scheme in capitals": ("auth.scheme.case", around(emulator, "bearer_key", _strict_scheme)),
    "id before the key": ("auth.before.task_id", around(Emulator, "query", first(_id_first))),
    "fields before the key": ("auth.before.fields", around(Emulator, "create", first(_body_first))),
    "a valid order needs no key": (
        "auth.before.valid_body",
        around(Emulator, "create", instead_of(401, _valid_needs_no_key)),
    ),
    "expired keys work": ("auth.expired", part(emulator, "EXPIRED", "sk-mock-never")),
    "access is not asked": ("auth.no_access", part(emulator, "NO_ACCESS", "sk-mock-never")),
}


def _ended_for(whose: Callable[[Any, Any, Any], float]) -> Callable[..., Any]:
    """A foreign task is shown once it has ended at the moment that `whose` gives."""

    def show(self: Any, call: Any, task_id: str) -> Any:
        found = self.store.tasks[task_id]
        return calls.Answer(200, b"{}") if lifecycle.has_ended(found.plan, whose(self, call, found)) else None

    return instead_of(403, show)


def _by_owner(self: Any, call: Any, found: Any) -> float:
    return float(self.store.by_name[found.account].clock.at(self.real_now()))


def _by_reader(self: Any, call: Any, found: Any) -> float:
    return float(call.at)


def _newest_alone(answer: Any, self: Any, call: Any, task_id: str) -> None:
    if task_id != list(self.store.tasks)[-1]:
        raise ApiError(403)


def _all_pay(answer: Any, self: Any, call: Any) -> None:
    for account in self.store.by_name.values():
        if account is not call.account:
            account.ledger = account.ledger.reserve(100)


FOREIGN: Table = {
    "403 as 404": ("foreign.query foreign.own", answers(status(403, 404))),
    "ended tasks are public": ("foreign.query", around(Emulator, "query", _ended_for(_by_owner))),
    "ended tasks are public to late clocks": ("foreign.query", around(Emulator, "query", _ended_for(_by_reader))),
    "the newest alone": ("foreign.own", around(Emulator, "query", then(_newest_alone))),
    "all accounts pay": ("foreign.money", around(Emulator, "create", then(_all_pay))),
}


def _spares(path: str) -> Callable[..., Any]:
    def take(original: Any, self: Any, call: Any, account: Any, now: float, **more: Any) -> None:
        if call.path != path:
            original(self, call, account, now, **more)

    return take


def _one_bucket() -> Callable[..., Any]:
    seen: list[Any] = []

    def take(self: Any, call: Any, account: Any, now: float, **more: Any) -> None:
        if account.bucket is not None:
            seen.append(account)
        elif seen:
            seen[-1].bucket, wait = seen[-1].bucket.take(now)
            if wait:
                raise ApiError(429, headers=self._retry_after(1))

    return first(take)


def _overflows(take: Any, bucket: Any, now: float) -> Any:
    seconds_each = bucket.rate.period / bucket.rate.limit
    tokens = bucket.tokens + (now - bucket.at) / seconds_each
    if tokens < 1 - 1e-6:
        return take(bucket, now)
    return TokenBucket(bucket.rate, tokens - 1, now), 0.0


def _refusals_count(found: Any, bucket: Any, now: float) -> Any:
    after, wait = found
    return (msgspec.structs.replace(after, tokens=after.tokens - 1) if wait else after), wait


def _body_before_rate(self: Any, call: Any, *args: Any, **more: Any) -> None:
    if call.path == CREATE:
        self.contract.read_create_request(None, call.body or b"")


LIMITS: Table = {
    "429 as 503": ("rate.create rate.query rate.shared rate.full rate.order rate.key", answers(status(429, 503))),
    "429 of the query": ("rate.query", answers(error(429, TASKS, type="rate_limit_error"))),
    "no Retry-After": ("rate.refill rate.key", answers(without("retry-after"))),
    "creations unlimited": ("rate.create rate.order", around(Emulator, "_take_token", _spares(CREATE))),
    "balance unlimited": ("rate.shared rate.query", around(Emulator, "_take_token", _spares(CREDITS))),
    "one bucket for all": ("rate.apart", around(Emulator, "_take_token", _one_bucket())),
    "body before the limit": ("rate.order", around(Emulator, "_take_token", first(_body_before_rate))),
    "bucket overflows": ("rate.full", around(TokenBucket, "take", _overflows)),
    "refusals take tokens": ("rate.refill", around(TokenBucket, "take", then(_refusals_count))),
    "limited keys pass": ("rate.key", part(emulator, "RATE_LIMITED", "sk-mock-never")),
}
