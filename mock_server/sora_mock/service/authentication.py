"""Whose request it is: API keys, the keys with a special meaning, and the time at which a request arrives."""

import hmac
from functools import lru_cache
from typing import Final

import msgspec

from sora_mock.domain import ids
from sora_mock.domain.errors import ApiError
from sora_mock.domain.events import CallbackPlanned
from sora_mock.domain.exchange import Exchange
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.token_bucket import TokenBucket
from sora_mock.service.context import Service
from sora_mock.storage.facts import AccountDefaults, AccountFacts
from sora_mock.storage.memory import MAX_ACCOUNTS, MemoryAccount

EXPIRED: Final = "sk-mock-expired"
NO_ACCESS: Final = "sk-mock-no-access"
NO_CREDIT: Final = "sk-mock-no-credit"
RATE_LIMITED: Final = "sk-mock-rate-limited"
BROKEN: Final = "sk-mock-broken"
SPECIAL_KEYS: Final = (EXPIRED, NO_ACCESS, NO_CREDIT, RATE_LIMITED, BROKEN)
"""A key that begins with one of these has a special meaning (docs/reference.md, Order of checks)."""

MAX_KEY_LENGTH: Final = 4096

KEY_HINT: Final = "keys begin with sk-"


def new_facts(key: str, defaults: AccountDefaults, real_now: float) -> AccountFacts:
    """The facts of the account of a key that is used for the first time."""
    special = next((each for each in SPECIAL_KEYS if key.startswith(each)), None)
    limit = defaults.rate_limit
    return AccountFacts(
        name=ids.account_name(key),
        clock=defaults.clock,
        ledger=Ledger(0 if special == NO_CREDIT else defaults.remaining),
        bucket=None if limit is None else TokenBucket.full(limit, defaults.clock.at(real_now)),
        special_key=special,
        queue=defaults.queue,
        callback_routes=defaults.callback_routes,
    )


def accepts(service: Service, key: str) -> bool:
    """Whether a key is valid: it begins with `sk-`, and it is listed if the settings list keys."""
    keys = service.settings.keys
    if keys is not None:
        return any(hmac.compare_digest(key.encode(), known.encode()) for known in keys)
    return key.startswith("sk-") and len(key) <= MAX_KEY_LENGTH


def caller(service: Service, exchange: Exchange) -> MemoryAccount | None:
    """The account whose key a request carries; None without a valid key."""
    key = bearer_key(exchange.headers.get(b"authorization", b""))
    return service.storage.find(key) or (service.storage.account(key) if accepts(service, key) else None)


def authenticate(service: Service, exchange: Exchange) -> MemoryAccount:
    """The caller's account. Raises ApiError 401."""
    account = caller(service, exchange)
    if account is None:
        if service.settings.keys is None and _has_foreign_key(exchange):
            exchange.hint = KEY_HINT
        raise ApiError(401)
    if account.facts.special_key == EXPIRED:
        exchange.rule = f"key {EXPIRED}"
        raise ApiError(401)
    return account


def _has_foreign_key(exchange: Exchange) -> bool:
    """Whether there is a bearer key that belongs to another service."""
    key = bearer_key(exchange.headers.get(b"authorization", b""))
    return bool(key) and not key.startswith("sk-")


def arrive(service: Service, account: MemoryAccount, exchange: Exchange) -> float:
    """The time of a request on its account's clock; the request itself may advance that clock (`per_request`)."""
    facts, real = account.facts, service.real_now()
    clock = facts.clock
    if clock.per_request:
        clock = clock.advanced(real, clock.per_request)
        account.facts = msgspec.structs.replace(facts, clock=clock)
        if account.deliveries.next_due_at() is not None:
            service.events.publish(CallbackPlanned(facts.name))
    exchange.account, exchange.is_frozen = facts.name, clock.frozen
    exchange.at = now = clock.at(real)
    return now


def bearer_key(header: bytes) -> str:
    """The key of an Authorization header; empty where the header holds no bearer key."""
    # A long header is not cached: ten thousand of 60 KiB would stay in memory.
    return _short_bearer_key(header) if len(header) <= 256 else _bearer_key(header)


def _bearer_key(header: bytes) -> str:
    scheme, _, key = header.decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


_short_bearer_key = lru_cache(maxsize=MAX_ACCOUNTS)(_bearer_key)


def forget_keys() -> None:
    """Forgets the keys that were read, after all accounts are forgotten: each would pin memory around it."""
    _short_bearer_key.cache_clear()
