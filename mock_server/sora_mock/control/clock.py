"""`/__mock/clock` and `/__mock/clock/advance`: read, set and advance clocks."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from sora_mock.callbacks.scheduler import Scheduler
from sora_mock.control.errors import ControlError, bad_body, json_response
from sora_mock.control.reading import Fields, account_key, boolean, read_fields, service_of
from sora_mock.domain.clock import MAX_SPEED, MAX_TIME
from sora_mock.domain.values import json_number
from sora_mock.runtime.batches import Batches
from sora_mock.service import clocks
from sora_mock.service.context import Service

ACCOUNTS: Final = 100
"""Accounts whose clocks begin to advance in one iteration of the event loop."""


async def show(request: Request) -> Response:
    """GET: the clock."""
    return json_response(_view(service_of(request), account_key(request)))


async def change(request: Request) -> Response:
    """PATCH: sets time, speed, whether the clock is frozen, and how far each request advances it."""
    key, service = account_key(request), service_of(request)
    fields = await read_fields(
        request,
        now=json_number(0, MAX_TIME),
        speed=json_number(0.001, MAX_SPEED),
        frozen=boolean,
        per_request=json_number(0, MAX_TIME),
    )
    now = fields.pop("now", None)
    if now is not None:
        latest = clocks.latest_time(service, key)
        if now < latest:
            raise ControlError(400, "clock_backwards", f"now must not be before the clock's {latest!r}")
    given = {"speed": None, "frozen": None, "per_request": None, **fields}
    clocks.change(service, key, **given)
    if now is not None:
        await _advance(request, key, lambda time: max(time, now))
    return json_response(_view(service, key))


async def advance(request: Request) -> Response:
    """POST: advances the clock; responds when everything that fell due has happened, callback attempts included."""
    key = account_key(request)
    fields = await read_fields(request, seconds=json_number(0, MAX_TIME))
    if "seconds" not in fields:
        raise bad_body('seconds is required, as in {"seconds": 300}')
    await _advance(request, key, lambda time: time + fields["seconds"])
    return json_response(_view(service_of(request), key))


async def _advance(request: Request, key: str | None, target_time: Callable[[float], float]) -> None:
    """Advances clocks to `target_time(now)`, and makes each account's callbacks on the way."""
    service, scheduler = service_of(request), _scheduler(request)
    if key is None:
        clocks.move_defaults(service, target_time)
    advances, batches = [], Batches(ACCOUNTS)
    for account in service.storage.accounts(key):
        await batches.take()
        if len(account.deliveries):
            advances.append(asyncio.ensure_future(scheduler.advance(account, target_time)))
        else:
            clocks.move(service, account, target_time(service.now(account)))
    await asyncio.gather(*advances)


def _scheduler(request: Request) -> Scheduler:
    scheduler: Scheduler = request.app.state.scheduler
    return scheduler


def _view(service: Service, key: str | None) -> Fields:
    clock = clocks.clock(service, key)
    return {
        "now": clock.at(service.real_now()),
        "speed": clock.speed,
        "frozen": clock.frozen,
        "per_request": clock.per_request,
    }
