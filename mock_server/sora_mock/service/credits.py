"""`GET /v1/credits`, and how the control API changes balances and rate limits."""

from typing import Any

import msgspec

from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.domain.ledger import UNLIMITED_SHOWN, Ledger, to_credits
from sora_mock.domain.shape import shaped
from sora_mock.domain.token_bucket import RateLimit, TokenBucket
from sora_mock.service.admission import admit
from sora_mock.service.authentication import NO_CREDIT, arrive, authenticate
from sora_mock.service.context import Service, encode
from sora_mock.service.tasks import settle


def show(service: Service, exchange: Exchange) -> ApiResponse:
    """The balance. Assumption: the key's and the user's figures are the same, one user has one key."""
    with authenticate(service, exchange) as account:
        now = arrive(service, account, exchange)
        admit(service, account, exchange, now, "credits")
        settle(account, now)
        body = _view(account.facts.ledger)
        return ApiResponse(200, encode(shaped(body, exchange.shape)))


def _view(ledger: Ledger) -> dict[str, Any]:
    """Keys in alphabetical order, as the service sends them (recorded)."""
    remaining = to_credits(UNLIMITED_SHOWN if ledger.remaining is None else ledger.remaining)
    used = to_credits(ledger.used)
    token = {"remaining_credits": remaining, "unlimited_credits": ledger.remaining is None, "used_credits": used}
    user = {"remaining_credits": remaining, "used_credits": used}
    return {"data": {"token": token, "user": user}, "message": "", "success": True}


def set_balance(service: Service, key: str | None, remaining: int | None) -> None:
    """Sets what remains, in units; None is unlimited. What is reserved or used stays.

    key: None for all accounts, and new ones, except those whose key means an empty balance.
    """
    storage = service.storage
    if key is None:
        storage.defaults = msgspec.structs.replace(storage.defaults, remaining=remaining)
    for account in storage.accounts(key):
        if key is None and account.key.startswith(NO_CREDIT):
            continue
        with account:
            settle(account, service.now(account))
            ledger = msgspec.structs.replace(account.facts.ledger, remaining=remaining)
            account.facts = msgspec.structs.replace(account.facts, ledger=ledger)


def set_rate_limit(service: Service, key: str | None, limit: RateLimit | None) -> None:
    """Sets the rate limit, with a full bucket; None removes it. key: None for all accounts and new ones."""
    storage = service.storage
    if key is None:
        storage.defaults = msgspec.structs.replace(storage.defaults, rate_limit=limit)
    for account in storage.accounts(key):
        with account:
            bucket = None if limit is None else TokenBucket.full(limit, service.now(account))
            account.facts = msgspec.structs.replace(account.facts, bucket=bucket, retry_at=0.0)
