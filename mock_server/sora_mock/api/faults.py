"""Faults: a scenario holds a response back, sends it slowly, cuts it, breaks its body, or resets the connection."""

import asyncio
import socket
import struct
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from sora_mock.domain.exchange import Exchange
from sora_mock.domain.fault import TRANSPORT

SLOW_PIECES: Final = 10
"""Parts of a slow body."""

HTML: Final = (
    "<!DOCTYPE html>\n<html><head><title>{0} | a timeout occurred</title></head>"
    "<body><h1>Error {0}</h1><p>The web server did not answer in time.</p></body></html>\n"
)


async def send_with_fault(
    scope: Scope, receive: Receive, send: Send, exchange: Exchange, start: Message, body: bytes
) -> None:
    """Sends a response as the scenario of its exchange says. In process a reset raises ConnectionResetError.

    start, body: the response without any fault.
    """
    fault, latency = exchange.fault, exchange.latency
    if latency and fault != "slow_body" and not await delay(receive, latency):
        return
    if fault in ("reset_before", "reset_after"):
        await _reset(scope, receive)
    elif fault == "truncated_body":
        await _truncate(scope, receive, send, start, body)
    elif fault == "slow_body":
        await _drip(receive, send, start, body, latency)
    else:
        start, body = with_broken_body(exchange, start, body)
        await send(start)
        await send({"type": "http.response.body", "body": body})


def with_broken_body(exchange: Exchange, start: Message, body: bytes) -> tuple[Message, bytes]:
    """The first message and the body of a response, as the fault of its exchange changes them."""
    media_type = exchange.media_type
    match exchange.fault:
        case "malformed_json" if body:
            body = body[:-1] + b","
        case "empty_body":
            body = b""
        case "html_body":
            body, media_type = HTML.format(exchange.status).encode(), b"text/html; charset=UTF-8"
        case _:
            return start, body
    replaced = {b"content-type": media_type, b"content-length": b"%d" % len(body)}
    headers = [(name, replaced.get(name, value)) for name, value in start["headers"]]
    return {**start, "headers": headers}, body


async def delay(receive: Receive, seconds: float) -> bool:
    """Lets real seconds pass; False as soon as the client has left."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    except RuntimeError:
        # uvicorn cannot read on from a connection that is closed already
        return False
    return False


async def _reset(scope: Scope, receive: Receive) -> None:
    transport = scope.get("extensions", {}).get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the connection was reset, as the scenario asked")
    # lingering for 0 s turns the close into a reset
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await delay(receive, 1.0)


async def _truncate(scope: Scope, receive: Receive, send: Send, start: Message, body: bytes) -> None:
    transport = scope.get("extensions", {}).get(TRANSPORT)
    await send(start)
    half = body[: len(body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": transport is not None})
    if transport is not None:
        transport.close()
        await delay(receive, 1.0)


async def _drip(receive: Receive, send: Send, start: Message, body: bytes, latency: float) -> None:
    await send(start)
    size = -(-len(body) // SLOW_PIECES)
    for begin in range(0, len(body), max(1, size)):
        if not await delay(receive, latency / SLOW_PIECES):
            return
        await send({"type": "http.response.body", "body": body[begin : begin + size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
