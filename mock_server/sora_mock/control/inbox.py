"""The built-in receiver of callbacks over HTTP: what came, what it answers, and waiting for what is to come."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from sora_mock.control.operations import ControlError
from sora_mock.storage.inbox import MOST_MESSAGES, Message, Reply

if TYPE_CHECKING:
    from sora_mock.control.routes import ControlCall

LONGEST_WAIT: Final = 60.0
"""Real seconds that a call may wait, and that a reply may be delayed."""

MOST_REPLIES: Final = 1_000


async def _post(call: "ControlCall") -> Response:
    reply = call.controls.receive(call.key, call.path["name"], dict(call.headers), call.data)
    if reply.delay:
        await _pass(reply.delay)
    return Response(status_code=reply.status)


async def _get(call: "ControlCall") -> dict[str, Any]:
    wait = call.number("wait", 0.0, 0.0, LONGEST_WAIT)
    count = int(call.number("count", 1, 1, MOST_MESSAGES))
    if wait:
        await _arrival(call, count, wait)
    return {"messages": [_shown(message) for message in call.controls.messages(call.key, call.path["name"])]}


def _put(call: "ControlCall") -> dict[str, Any]:
    replies = call.take(replies=_replies).get("replies")
    if replies is None:
        raise ControlError(400, "invalid_body", 'replies is required, as in {"replies": [{"status": 500}]}')
    call.controls.set_replies(call.key, call.path["name"], replies)
    return {"replies": [msgspec.structs.asdict(reply) for reply in replies]}


async def _pass(seconds: float) -> None:
    """Lets real seconds go by."""
    never = asyncio.get_running_loop().create_future()
    await asyncio.wait([never], timeout=seconds)


async def _arrival(call: "ControlCall", count: int, wait: float) -> None:
    """Returns when the inbox has got so many messages, or after so many real seconds."""
    name, arrived = call.path["name"], asyncio.Event()
    watchers = call.controls.emulator.callbacks.watchers
    watchers.add(arrived.set)
    try:
        async with asyncio.timeout(wait):
            while len(call.controls.messages(call.key, name)) < count:
                arrived.clear()
                await arrived.wait()
    except TimeoutError:
        pass
    finally:
        watchers.discard(arrived.set)


def _shown(message: Message) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(message.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = None
    body = message.body.decode("utf-8", "replace")
    return {"at": message.at, "headers": message.headers, "body": body, "json": value}


def _replies(value: Any) -> tuple[Reply, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_REPLIES:
        raise ValueError('expected a list such as [{"status": 500}, {"status": 204, "delay": 11}]')
    return tuple(_reply(each) for each in value)


def _reply(value: Any) -> Reply:
    if not isinstance(value, dict) or not set(value) <= {"status", "delay"}:
        raise ValueError('expected objects such as {"status": 204, "delay": 11}')
    status, delay = value.get("status", 200), value.get("delay", 0)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError("status: expected a whole number from 200 to 599")
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= LONGEST_WAIT:
        raise ValueError(f"delay: expected seconds from 0 to {LONGEST_WAIT:g}")
    return Reply(status, float(delay))


HANDLERS: Final[Mapping[str, "Callable[[ControlCall], Any]"]] = {"GET": _get, "POST": _post, "PUT": _put}
"""The methods of `/__mock/inbox/{name}`."""
