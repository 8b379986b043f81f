"""`/__mock/inbox/{name}`: a receiver of callbacks; what arrived, what it replies, and waiting for messages."""

import asyncio
from collections.abc import Iterator
from heapq import merge
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sora_mock.control.errors import ControlError, bad_body, json_response
from sora_mock.control.lists import lists_of
from sora_mock.control.reading import Fields, account_key, query_number, read_data, read_fields, service_of
from sora_mock.domain.events import MessageArrived
from sora_mock.domain.values import JSON_ERRORS
from sora_mock.runtime.connections import waiting_limit
from sora_mock.runtime.events import TooManySubscribers
from sora_mock.service import callbacks, control
from sora_mock.service.context import Service
from sora_mock.storage.inboxes import MAX_MESSAGES, Inboxes, InboxMessage, InboxReply

MAX_WAIT: Final = 60.0
"""Real seconds that a request may wait for messages, and that a reply may be delayed."""

MAX_REPLIES: Final = 1_000

SHARED_KEY: Final = "sk-mock-shared-inbox"
"""The account of messages that are sent without a key."""


async def receive(request: Request) -> Response:
    """POST: keeps the message and replies as the inbox is configured."""
    key, service, name = account_key(request), service_of(request), request.path_params["name"]
    data = await read_data(request)
    with service.storage.account(key or SHARED_KEY) as account:
        message = InboxMessage(service.now(account), dict(request.headers), data)
        reply = callbacks.receive(service, account, name, message)
    if reply.delay:
        # real seconds; nothing ends the wait early
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=reply.delay)
    return Response(status_code=reply.status)


async def show(request: Request) -> Response:
    """GET: what arrived, oldest first; with `?wait=` after so many seconds or `?count=` messages."""
    key, service, name = account_key(request), service_of(request), request.path_params["name"]
    wait = query_number(request, "wait", 0.0, 0.0, MAX_WAIT)
    count = int(query_number(request, "count", 1, 1, MAX_MESSAGES))
    if wait:
        await _wait_for_messages(service, key, name, count, wait)
    async with lists_of(request).build(request, key) as builder:
        newest = _newest_messages(service, key, name)
        return await builder.response("messages", newest, _view, oldest_first=True)


async def set_replies(request: Request) -> Response:
    """PUT: what the inbox replies next; the last reply is used for ever."""
    key, name = account_key(request), request.path_params["name"]
    replies = (await read_fields(request, replies=_replies)).get("replies")
    if replies is None:
        raise bad_body('replies is required, as in {"replies": [{"status": 500}]}')
    control.set_inbox_replies(service_of(request), key, name, replies)
    return json_response({"replies": [msgspec.structs.asdict(reply) for reply in replies]})


def _inboxes(service: Service, key: str | None, name: str) -> list[Inboxes]:
    """The inboxes of an account; without a key those of all accounts that have an inbox of that name."""
    return [account.inboxes for account in service.storage.accounts(key) if key is not None or name in account.inboxes]


def _newest_messages(service: Service, key: str | None, name: str) -> Iterator[InboxMessage]:
    """What an inbox received, newest first; without a key the inboxes of that name of all accounts."""
    # of two messages with the same time, the one of the later account is the newer one
    each = [reversed(inboxes.messages(name)) for inboxes in reversed(_inboxes(service, key, name))]
    return merge(*each, key=lambda message: message.at, reverse=True)


async def _wait_for_messages(service: Service, key: str | None, name: str, count: int, seconds: float) -> None:
    """Returns after so many messages or seconds. Raises ControlError 503 where too many requests wait already."""
    arrived = asyncio.Event()

    def notice(event: MessageArrived) -> None:
        if event.inbox == name:
            arrived.set()

    try:
        unsubscribe = service.events.subscribe(MessageArrived, notice, waiting_limit())
    except TooManySubscribers as problem:
        raise ControlError(503, "too_many_waiting", str(problem)) from None
    try:
        async with asyncio.timeout(seconds):
            while sum(each.count(name) for each in _inboxes(service, key, name)) < count:
                arrived.clear()
                await arrived.wait()
    except TimeoutError:
        pass
    finally:
        unsubscribe()


def _view(message: InboxMessage) -> Fields:
    try:
        value = msgspec.json.decode(message.body)
    except JSON_ERRORS:
        value = None
    body = message.body.decode("utf-8", "replace")
    return {"at": message.at, "headers": message.headers, "body": body, "json": value}


def _replies(value: Any) -> tuple[InboxReply, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REPLIES:
        raise ValueError('expected a list such as [{"status": 500}, {"status": 204, "delay": 11}]')
    return tuple(_reply(each) for each in value)


def _reply(value: Any) -> InboxReply:
    if not isinstance(value, dict) or not set(value) <= {"status", "delay"}:
        raise ValueError('expected objects such as {"status": 204, "delay": 11}')
    status, delay = value.get("status", 200), value.get("delay", 0)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError("status: expected a whole number from 200 to 599")
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= MAX_WAIT:
        raise ValueError(f"delay: expected seconds from 0 to {MAX_WAIT:g}")
    return InboxReply(status, float(delay))
