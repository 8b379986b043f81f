"""Harm to an answer on its way: held back, dripped, cut, broken, or lost with its connection."""

import asyncio
import socket
import struct
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from sora_mock.api.answers import head
from sora_mock.api.answers import respond as send_answer
from sora_mock.service.calls import Answer, Call

EXTENSION: Final = "sora_mock.transport"
"""Where the server's protocol leaves its transport in the scope; absent in process."""

PIECES: Final = 10
"""Parts of a slow body."""

HTML: Final = (
    "<!DOCTYPE html>\n<html><head><title>{0} | a timeout occurred</title></head>"
    "<body><h1>Error {0}</h1><p>The web server did not answer in time.</p></body></html>\n"
)


async def respond(scope: Scope, receive: Receive, send: Send, answer: Answer, call: Call) -> None:
    """Sends an answer as its latency and its fault say. In process a reset raises ConnectionResetError."""
    if answer.latency and answer.fault != "slow_body" and not await hold(receive, answer.latency):
        return
    if answer.after is not None:
        await answer.after()
    match answer.fault:
        case "reset_before" | "reset_after":
            await _reset(scope, receive)
        case "truncated_body":
            await _truncate(scope, receive, send, answer, call)
        case "slow_body":
            await _drip(receive, send, answer, call)
        case _:
            await send_answer(send, broken(answer), call)


def broken(answer: Answer) -> Answer:
    """The answer with the body that its fault gives it."""
    match answer.fault:
        case "malformed_json" if answer.body:
            return msgspec.structs.replace(answer, body=answer.body[:-1] + b",")
        case "empty_body":
            return msgspec.structs.replace(answer, body=b"")
        case "html_body":
            page = HTML.format(answer.status).encode()
            return msgspec.structs.replace(answer, body=page, media_type=b"text/html; charset=UTF-8")
        case _:
            return answer


async def hold(receive: Receive, seconds: float) -> bool:
    """Lets real seconds pass; False as soon as the client has left."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    except RuntimeError:
        # uvicorn asks a connection that is gone already to read on
        return False
    return False


async def _reset(scope: Scope, receive: Receive) -> None:
    transport = scope.get("extensions", {}).get(EXTENSION)
    if transport is None:
        raise ConnectionResetError("the connection was reset, as the scenario asked")
    # lingering for 0 s is what turns the close into a reset
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await hold(receive, 1.0)


async def _truncate(scope: Scope, receive: Receive, send: Send, answer: Answer, call: Call) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": head(answer, call)})
    half = answer.body[: len(answer.body) // 2]
    transport = scope.get("extensions", {}).get(EXTENSION)
    await send({"type": "http.response.body", "body": half, "more_body": transport is not None})
    if transport is not None:
        transport.close()
        await hold(receive, 1.0)


async def _drip(receive: Receive, send: Send, answer: Answer, call: Call) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": head(answer, call)})
    size = -(-len(answer.body) // PIECES)
    for start in range(0, len(answer.body), max(1, size)):
        if not await hold(receive, answer.latency / PIECES):
            return
        await send({"type": "http.response.body", "body": answer.body[start : start + size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
