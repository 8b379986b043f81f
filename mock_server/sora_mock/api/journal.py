"""Writes every request to the service and its response into the journal, and publishes it on the event bus."""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sora_mock.api import errors
from sora_mock.api.endpoint import CONTROL_PREFIX, EXCHANGE, send_response
from sora_mock.domain.errors import ApiError
from sora_mock.domain.events import MalformedRequest
from sora_mock.domain.exchange import Exchange
from sora_mock.runtime.clock import stopwatch
from sora_mock.service.authentication import caller
from sora_mock.service.context import Service

MAX_BODY_BYTES: Final = 1024 * 1024
"""Bytes of a request's body that are accepted."""

MAX_DRAINED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of a larger body that are read all the same, so that the client can read the response."""

BODY_TIMEOUT: Final = 30.0
"""Real seconds in which a body has to arrive."""

_HOST: Final = re.compile(rb"[A-Za-z0-9._~-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


class JournalMiddleware:
    """Reads each request to the service into an `Exchange`, and journals it when its response begins."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        service.events.subscribe(MalformedRequest, self._record_malformed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; the control API's requests are not journaled."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(scope["method"], scope["path"], headers, started=stopwatch())
        exchange.origin = origin(self._service.settings.public_url, scope.get("server"), headers)
        scope[EXCHANGE] = exchange

        async def record(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(exchange)
            await send(message)

        if exchange.method not in ("GET", "HEAD"):
            try:
                exchange.body, exchange.is_unread = await read_body(receive)
            except ClientLeft:
                return
            except TimeoutError:
                exchange.is_unread = True
                timeout = errors.response(self._service.contract, exchange, ApiError(408))
                await send_response(record, exchange, timeout)
                return
        await self._app(scope, receive, record)

    def _record(self, exchange: Exchange) -> None:
        service = self._service
        name = exchange.account
        # a request that was rejected before its key was read is still its account's
        account = caller(service, exchange) if name is None else service.storage.named(name)
        if not exchange.at:
            clock = service.storage.defaults.clock if account is None else account.facts.clock
            exchange.at, exchange.is_frozen = clock.at(service.real_now()), clock.frozen
        if account is not None:
            exchange.account = account.facts.name
        exchange.duration = stopwatch() - exchange.started
        service.storage.append(exchange, account)
        service.events.publish(exchange)

    def _record_malformed(self, event: MalformedRequest) -> None:
        """A malformed request has no account; it belongs into the anonymous journal."""
        exchange = Exchange("-", "-", {}, started=stopwatch(), status=event.status, response_body=event.response_body)
        self._record(exchange)


def origin(public_url: str | None, server: tuple[str, int | None] | None, headers: Mapping[bytes, bytes]) -> str:
    """What result links begin with: `--public-url`, otherwise the request's Host, otherwise the server's address."""
    if public_url is not None:
        return public_url
    called = _origin_of(headers.get(b"host", b""))
    if called is not None:
        return called
    name, port = server or ("127.0.0.1", 80)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


@lru_cache(maxsize=256)
def _origin_of(host: bytes) -> str | None:
    return f"http://{host.decode()}" if _HOST.fullmatch(host) else None


async def read_body(receive: Receive) -> tuple[bytes | None, bool]:
    """The whole body, None where it is over 1 MiB; and whether a part of it was left unread.

    Raises ClientLeft, and TimeoutError where it does not arrive in time.
    """
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        return (body, False) if len(body) <= MAX_BODY_BYTES else (None, False)
    async with asyncio.timeout(BODY_TIMEOUT):
        return await _read_on(receive, message)


async def _read_on(receive: Receive, message: Message) -> tuple[bytes | None, bool]:
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        more = message.get("more_body", False)
        if not more or size > MAX_DRAINED_BYTES:
            return (b"".join(chunks), False) if size <= MAX_BODY_BYTES else (None, more)
        message = await receive()
