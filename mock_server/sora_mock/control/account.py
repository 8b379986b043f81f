"""`/__mock/account`: balance and rate limit. `/__mock/reset`: forget everything. `/__mock/health`."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sora_mock.control.errors import json_response
from sora_mock.control.reading import Fields, account_key, read_fields, service_of
from sora_mock.domain.ledger import to_credits, to_units
from sora_mock.domain.token_bucket import RateLimit, parse_rate_limit
from sora_mock.service import control, credits
from sora_mock.service.context import Service
from sora_mock.service.tasks import settle
from sora_mock.version import VERSION


async def health(request: Request) -> Response:
    """GET: whether the server is alive."""
    account_key(request)
    return json_response({"status": "ok", "version": VERSION})


async def show(request: Request) -> Response:
    """GET: the account; without a key what new accounts begin with."""
    return json_response(_view(service_of(request), account_key(request)))


async def change(request: Request) -> Response:
    """PATCH: sets the balance or the rate limit."""
    key, service = account_key(request), service_of(request)
    fields = await read_fields(request, remaining_credits=_balance, rate_limit=_rate_limit)
    if "remaining_credits" in fields:
        credits.set_balance(service, key, fields["remaining_credits"])
    if "rate_limit" in fields:
        credits.set_rate_limit(service, key, fields["rate_limit"])
    return json_response(_view(service, key))


async def reset(request: Request) -> Response:
    """POST: forgets the account; without a key everything."""
    key = account_key(request)
    await read_fields(request)
    control.reset(service_of(request), key)
    return json_response({"status": "ok"})


def _view(service: Service, key: str | None) -> Fields:
    if key is None:
        defaults = service.storage.defaults
        remaining, reserved, used, limit = defaults.remaining, 0, 0, defaults.rate_limit
    else:
        with service.storage.account(key) as account:
            settle(account, service.now(account))
            ledger, bucket = account.facts.ledger, account.facts.bucket
        remaining, reserved, used = ledger.remaining, ledger.reserved, ledger.used
        limit = None if bucket is None else bucket.rate
    return {
        "remaining_credits": "unlimited" if remaining is None else to_credits(remaining),
        "reserved_credits": to_credits(reserved),
        "used_credits": to_credits(used),
        "rate_limit": None if limit is None else limit.text,
    }


def _balance(value: Any) -> int | None:
    if value == "unlimited":
        return None
    if isinstance(value, str):
        raise ValueError("expected a number of credits or unlimited")
    return to_units(value)


def _rate_limit(value: Any) -> RateLimit | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("expected a rate such as 60/minute, or null")
    return None if value is None else parse_rate_limit(value)
