"""`/__mock/deliveries`, `/__mock/deliveries/{delivery_id}/redeliver` and `/__mock/callback-routes`."""

from collections.abc import Iterator
from heapq import heappush, heapreplace
from itertools import count
from math import inf

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sora_mock.config.readers import callback_routes
from sora_mock.control.errors import ControlError, bad_body, json_response
from sora_mock.control.lists import lists_of
from sora_mock.control.reading import Fields, account_key, query_limit, read_fields, read_object, service_of
from sora_mock.domain import lifecycle
from sora_mock.domain.delivery import MAX_ATTEMPTS, Delivery, delivery_id, next_attempt_at, state
from sora_mock.domain.text import redacted, redacted_value
from sora_mock.service import callbacks, control
from sora_mock.service.context import Service
from sora_mock.storage.memory import MemoryAccount


async def show(request: Request) -> Response:
    """GET: the newest `?limit=` callbacks, newest first, of one task with `?task_id=`."""
    key, service, limit = account_key(request), service_of(request), query_limit(request)
    accounts, task_id = service.storage.accounts(key), request.query_params.get("task_id")
    # only what is shown is built; the others cost a comparison. Of two with the same time, the one found first counts.
    newest: list[tuple[float, int, MemoryAccount, Delivery]] = []
    order = count(0, -1)
    async with lists_of(request).build(request, key) as builder:
        for account in accounts:
            for delivery in list(account.deliveries if task_id is None else _of_task(account, task_id)):
                await builder.pause()
                entry = (delivery.first_at, next(order), account, delivery)
                if len(newest) < limit:
                    heappush(newest, entry)
                elif entry > newest[0]:
                    heapreplace(newest, entry)
        newest.sort(reverse=True)
        return await builder.response("deliveries", newest, lambda each: _view(service, each[2], each[3]))


def _of_task(account: MemoryAccount, task_id: str) -> Iterator[Delivery]:
    delivery = account.deliveries.get(delivery_id(task_id))
    if delivery is not None and delivery.task_id == task_id:
        yield delivery


async def redeliver(request: Request) -> Response:
    """POST: sends a callback once more; responds when that attempt is over."""
    key, service, wanted = account_key(request), service_of(request), request.path_params["delivery_id"]
    await read_fields(request)
    for owner in service.storage.accounts(key):
        delivery = owner.deliveries.get(wanted)
        if delivery is not None:
            break
    else:
        raise ControlError(404, "delivery_not_found", f"there is no delivery {wanted[:80]!r} in this account")
    task = owner.task(delivery.task_id)
    if task is None or not lifecycle.has_ended(task.plan, service.now(owner)):
        raise ControlError(409, "task_not_over", "its task has not ended: there is nothing to deliver yet")
    if len(delivery.attempts) >= MAX_ATTEMPTS:
        raise ControlError(409, "too_many_attempts", f"a delivery has at most {MAX_ATTEMPTS} attempts")
    await request.app.state.scheduler.redeliver(owner, delivery)
    return json_response(_view(service, owner, owner.deliveries.get(wanted) or delivery))


async def set_routes(request: Request) -> Response:
    """PUT: sends callbacks to these origins to other URLs instead."""
    key, body = account_key(request), await read_object(request)
    try:
        routes = callback_routes(body)
    except ValueError as problem:
        raise bad_body(f'{problem}, as in {{"https://hooks.example.com": "http://127.0.0.1:9000"}}') from None
    control.set_callback_routes(service_of(request), key, routes)
    return json_response({"callback_routes": redacted_value(routes)})


def _view(service: Service, account: MemoryAccount, delivery: Delivery) -> Fields:
    now, task = service.now(account), account.task(delivery.task_id)
    ended = task is not None and lifecycle.has_ended(task.plan, now)
    body = callbacks.body(service, delivery, now) if ended else None
    next_at = next_attempt_at(delivery)
    return {
        "id": delivery.id,
        "task_id": delivery.task_id,
        "url": redacted(delivery.url),
        "state": state(delivery),
        "note": redacted_value(delivery.note),
        "first_at": None if delivery.first_at == inf else delivery.first_at,
        "next_at": None if next_at == inf else next_at,
        "attempts": [redacted_value(msgspec.structs.asdict(attempt)) for attempt in delivery.attempts],
        "body": None if body is None else redacted_value(msgspec.json.decode(body)),
    }
