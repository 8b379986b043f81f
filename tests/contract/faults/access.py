"""Faults in who may do what: keys, tasks of other accounts, the rate limit."""

from collections.abc import Callable
from typing import Any

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse
from sora_mock.domain.token_bucket import TokenBucket
from sora_mock.service import admission, authentication, tasks, videos
from tests.contract.faults.planting import (
    Table,
    around,
    change_facts,
    first,
    ids,
    instead_of,
    part,
    replaced,
    responses,
    then,
    wrapped,
)
from tests.contract.faults.responses import CREATE, CREDITS, TASKS, envelope, error, status, without

OPERATIONS = "auth.create.* auth.query.* auth.credits.*"


def _strict_scheme(key: Any, header: bytes) -> Any:
    return key(header) if header.startswith(b"Bearer ") else ""


def _any_scheme(key: Any, header: bytes) -> Any:
    return key(header) or header.decode("latin-1").rpartition(" ")[2]


def _reject_all(service: Any, exchange: Any) -> None:
    raise ApiError(401)


def _check_id(service: Any, exchange: Any, task_id: str) -> None:
    service.contract.check_task_id(task_id)


def _check_body(service: Any, exchange: Any) -> None:
    service.contract.read_create_request(None, exchange.body or b"")


def _accept_valid_body(service: Any, exchange: Any) -> Any:
    try:
        service.contract.read_create_request(None, exchange.body or b"")
    except ApiError:
        return None
    return ApiResponse(200, b"{}")


KEYS: Table = {
    "401 as 403": (f"{OPERATIONS} auth.before.*", responses(status(401, 403))),
    "one code for all": (
        f"{OPERATIONS} query.id.* money.402.below_1? rate.query foreign.query",
        responses(envelope(lambda view: view.update(code="error"))),
    ),
    "401 of the create request": ("auth.create.*", responses(error(401, CREATE, type="invalid_request_error"))),
    "401 of the query": ("auth.query.*", responses(error(401, TASKS, message="Invalid or expired token"))),
    "401 of the balance": ("auth.credits.*", responses(error(401, CREDITS, message="Invalid or expired token"))),
    "every key is good": (f"{OPERATIONS} auth.before.*", replaced(authentication.accepts, lambda service, key: True)),
    "no key is good": ("auth.key.works", wrapped(authentication.authenticate, first(_reject_all))),
    "no key is a key": (
        ids("auth.credits", "none", "empty", "basic", "bare"),
        wrapped(authentication.bearer_key, lambda key, header: key(header) or "sk-no-key"),
    ),
    "a good key under another scheme": (
        "auth.*.good_basic auth.*.good_bare",
        wrapped(authentication.bearer_key, _any_scheme),
    ),
    "scheme in capitals": ("auth.scheme.case", wrapped(authentication.bearer_key, _strict_scheme)),
    "id before the key": ("auth.before.task_id", wrapped(tasks.query, first(_check_id))),
    "fields before the key": ("auth.before.fields", wrapped(videos.create, first(_check_body))),
    "a valid order needs no key": (
        "auth.before.valid_body",
        wrapped(videos.create, instead_of(401, _accept_valid_body)),
    ),
    "expired keys work": ("auth.expired", part(authentication, "EXPIRED", "sk-mock-never")),
    "keys without access work": ("auth.no_access", part(admission, "NO_ACCESS", "sk-mock-never")),
}


def _ended_for(clock: Callable[[Any, Any, Any], float]) -> Callable[..., Any]:
    """A task of another account is shown once it has ended at the time that `clock` gives."""

    def show(service: Any, exchange: Any, task_id: str) -> Any:
        task = service.storage.tasks[task_id]
        return ApiResponse(200, b"{}") if lifecycle.has_ended(task.plan, clock(service, exchange, task)) else None

    return instead_of(403, show)


def _owners_time(service: Any, exchange: Any, task: Any) -> float:
    return float(service.now(service.storage.owner(task)))


def _readers_time(service: Any, exchange: Any, task: Any) -> float:
    return float(exchange.at)


def _newest_alone(response: Any, service: Any, exchange: Any, task_id: str) -> None:
    if task_id != list(service.storage.tasks)[-1]:
        raise ApiError(403)


def _all_pay(response: Any, service: Any, exchange: Any) -> None:
    for account in service.storage.accounts():
        if account.facts.name != exchange.account:
            change_facts(account, ledger=account.facts.ledger.reserve(100))


FOREIGN: Table = {
    "403 as 404": ("foreign.query foreign.own", responses(status(403, 404))),
    "ended tasks are public": ("foreign.query", wrapped(tasks.query, _ended_for(_owners_time))),
    "ended tasks are public to late clocks": ("foreign.query", wrapped(tasks.query, _ended_for(_readers_time))),
    "the newest alone": ("foreign.own", wrapped(tasks.query, then(_newest_alone))),
    "all accounts pay": ("foreign.money", wrapped(videos.create, then(_all_pay))),
}


def _unlimited(path: str) -> Callable[..., Any]:
    def take(original: Any, service: Any, account: Any, exchange: Any, now: float, **more: Any) -> None:
        if exchange.path != path:
            original(service, account, exchange, now, **more)

    return take


def _one_bucket() -> Callable[..., Any]:
    seen: list[Any] = []

    def take(service: Any, account: Any, exchange: Any, now: float, **more: Any) -> None:
        if account.facts.bucket is not None:
            seen.append(account)
        elif seen:
            bucket, wait = seen[-1].facts.bucket.take(now)
            change_facts(seen[-1], bucket=bucket)
            if wait:
                raise ApiError(429, headers=admission.retry_after(service, 1))

    return first(take)


def _overflow(take: Any, bucket: Any, now: float) -> Any:
    seconds_each = bucket.rate.period / bucket.rate.limit
    tokens = bucket.tokens + (now - bucket.at) / seconds_each
    if tokens < 1 - 1e-6:
        return take(bucket, now)
    return TokenBucket(bucket.rate, tokens - 1, now), 0.0


def _count_rejected(found: Any, bucket: Any, now: float) -> Any:
    after, wait = found
    return (msgspec.structs.replace(after, tokens=after.tokens - 1) if wait else after), wait


def _check_body_first(service: Any, account: Any, exchange: Any, *args: Any, **more: Any) -> None:
    if exchange.path == CREATE:
        service.contract.read_create_request(None, exchange.body or b"")


LIMITS: Table = {
    "429 as 503": ("rate.create rate.query rate.shared rate.full rate.order rate.key", responses(status(429, 503))),
    "429 of the query": ("rate.query", responses(error(429, TASKS, type="rate_limit_error"))),
    "no Retry-After": ("rate.refill rate.key", responses(without("retry-after"))),
    "create requests unlimited": ("rate.create rate.order", wrapped(admission.take_token, _unlimited(CREATE))),
    "balance unlimited": ("rate.shared rate.query", wrapped(admission.take_token, _unlimited(CREDITS))),
    "one bucket for all": ("rate.apart", wrapped(admission.take_token, _one_bucket())),
    "body before the limit": ("rate.order", wrapped(admission.take_token, first(_check_body_first))),
    "bucket overflows": ("rate.full", around(TokenBucket, "take", _overflow)),
    "rejected requests take tokens": ("rate.refill", around(TokenBucket, "take", then(_count_rejected))),
    "limited keys pass": ("rate.key", part(admission, "RATE_LIMITED", "sk-mock-never")),
}
