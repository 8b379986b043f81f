"""What a request passes before its operation: the rate limit, the keys that reject, and scenarios that reject."""

import math
from email.utils import formatdate
from typing import Final

import msgspec

from sora_mock.domain import token_bucket
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import Exchange, Headers
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import TOKEN_START
from sora_mock.domain.values import JSON_ERRORS
from sora_mock.service.authentication import BROKEN, NO_ACCESS, RATE_LIMITED
from sora_mock.service.context import Service
from sora_mock.storage.memory import MemoryAccount

LONG_WAIT: Final = 60
"""Seconds in Retry-After where neither a rate limit nor a parameter says how long."""

IMPATIENT_HINT: Final = "the client does not wait as long as Retry-After says"


def take_token(service: Service, account: MemoryAccount, exchange: Exchange, now: float, *, overridden: bool) -> None:
    """Counts one request against the rate limit. A rejected request changes nothing except this.

    overridden: a scenario was chosen for this very request, so that a key with a special meaning does not reject it.
    Raises ApiError 429 beyond the rate limit; 429 and 500 for the keys that mean it.
    """
    facts = account.facts
    if facts.bucket is not None:
        bucket, wait = facts.bucket.take(now)
        if wait:
            account.facts = msgspec.structs.replace(facts, bucket=bucket)
            note_wait(account, exchange, now, wait)
            # A client waits in real seconds. A frozen clock has none, so that the wait itself is sent.
            seconds = wait if facts.clock.frozen else wait / facts.clock.speed
            raise ApiError(429, headers=retry_after(service, token_bucket.retry_after(seconds)))
        account.facts = msgspec.structs.replace(facts, bucket=bucket)
    if facts.special_key is not None and not overridden and not _has_token(exchange.body):
        reject_by_key(service, account, exchange, access=False)


def note_wait(account: MemoryAccount, exchange: Exchange, now: float, seconds: float) -> None:
    """Remembers how long a client has to wait after a 429. One that comes back earlier gets a hint."""
    facts = account.facts
    if now < facts.retry_at:
        exchange.hint = IMPATIENT_HINT
    account.facts = msgspec.structs.replace(facts, retry_at=now + seconds)


def reject_by_key(service: Service, account: MemoryAccount, exchange: Exchange, *, access: bool = True) -> None:
    """Raises the ApiError that the caller's key means: 429, 500 and, where `access` is true, 403."""
    meaning = account.facts.special_key
    if meaning is None:
        return
    errors = {RATE_LIMITED: ApiError(429, headers=retry_after(service, LONG_WAIT)), BROKEN: ApiError(500)}
    if access:
        errors[NO_ACCESS] = ApiError(403)
    if meaning in errors:
        exchange.rule = f"key {meaning}"
        if meaning == RATE_LIMITED:
            note_wait(account, exchange, exchange.at, LONG_WAIT * account.facts.clock.speed)
        raise errors[meaning]


def admit(service: Service, account: MemoryAccount, exchange: Exchange, now: float, operation: str) -> None:
    """Everything before the response to a task query or a credits query. Raises ApiError."""
    named = service.selector.from_header(exchange)
    take_token(service, account, exchange, now, overridden=named is not None and named.affects(operation))
    choose_effect(service, account, exchange, operation, named)


def choose_effect(
    service: Service, account: MemoryAccount | None, exchange: Exchange, operation: str, named: Scenario | None
) -> None:
    """Chooses the scenario that changes this response. Raises the ApiError with which it rejects the request.

    named: the scenario that the header X-Mock-Scenario names; None without the header.
    """
    scenario = service.selector.for_response(exchange, account, operation, named)
    if scenario is not None and scenario.rejects:
        raise rejection(service, account, exchange, scenario)


def rejection(
    service: Service, account: MemoryAccount | None, exchange: Exchange, scenario: Scenario, headers: Headers = ()
) -> ApiError:
    """The error with which a scenario rejects a request. account: None for a result file that no task has."""
    status = scenario.status or 500
    wait = LONG_WAIT if scenario.retry_after is None and status == 429 else scenario.retry_after
    if wait is not None:
        if account is not None and status == 429:
            note_wait(account, exchange, exchange.at, wait * account.facts.clock.speed)
        headers = (*headers, *retry_after(service, wait))
    return ApiError(status, scenario.message, code=scenario.code, headers=headers)


def retry_after(service: Service, seconds: int) -> Headers:
    """The Retry-After header in the form that the settings ask for; empty where they ask for none."""
    form = service.settings.behaviour.retry_after
    if not form:
        return ()
    # A client compares a date with the real time, not with the account's clock.
    value = formatdate(math.ceil(service.real_now()) + seconds, usegmt=True) if form == "date" else str(seconds)
    return ((b"retry-after", value.encode()),)


def _has_token(body: bytes | None) -> bool:
    """Whether a body has a prompt with a scenario token, which overrides what the key means."""
    try:
        request = msgspec.json.decode(body or b"")
    except JSON_ERRORS:
        return False
    return isinstance(request, dict) and TOKEN_START in str(request.get("prompt"))
