"""The middleware of the service: every request becomes an `Exchange`, is journaled, and gets its response sent."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sora_mock.api import errors, faults
from sora_mock.api.endpoint import EXCHANGE, send_response
from sora_mock.api.reading import ClientLeft, origin, read_body
from sora_mock.domain.errors import ApiError
from sora_mock.domain.events import MalformedRequest
from sora_mock.domain.exchange import CONTROL_PREFIX, Exchange
from sora_mock.runtime.clock import stopwatch
from sora_mock.service.authentication import caller
from sora_mock.service.context import Service


class ExchangeMiddleware:
    """Reads each request to the service into an `Exchange`, journals it when its response begins, applies faults."""

    def __init__(
        self, app: ASGIApp, service: Service, wait_for_callback: Callable[[Exchange], Awaitable[None]]
    ) -> None:
        """wait_for_callback: returns when the running callback attempt of the exchange's task is over."""
        self._app = app
        self._service = service
        self._wait_for_callback = wait_for_callback
        service.events.subscribe(MalformedRequest, self._record_malformed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; requests to the control API are not journaled."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        exchange = scope[EXCHANGE] = Exchange(method, path, headers, started=stopwatch())
        start: Message = {}

        async def respond(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                exchange.status, start = message["status"], message
                try:
                    self._record(exchange)
                except Exception:
                    # a bug of the journal or of a subscriber must not cost the client its response
                    errors.report_bug(self._service.events)
            if exchange.fault is None and not exchange.latency:
                await send(message)
            elif message["type"] == "http.response.body":
                if exchange.fault == "reply_after_callback":
                    await self._wait_for_callback(exchange)
                await faults.send_with_fault(scope, receive, send, exchange, start, message["body"])

        if method != "GET" and method != "HEAD":
            exchange.origin = origin(self._service.settings.public_url, scope.get("server"), headers)
            try:
                exchange.body, exchange.has_unread_body = await read_body(receive)
            except ClientLeft:
                return
            except TimeoutError:
                exchange.has_unread_body = True
                timeout = errors.error_response(self._service.contract, exchange, ApiError(408))
                await send_response(respond, exchange, timeout)
                return
        await self._app(scope, receive, respond)

    def _record(self, exchange: Exchange) -> None:
        service, name = self._service, exchange.account
        if name is None:
            # a request that was rejected before its key was read is still its account's
            account = caller(service, exchange)
            clock = service.storage.defaults.clock if account is None else account.facts.clock
            exchange.at, exchange.is_frozen = clock.at(service.real_now()), clock.frozen
            exchange.account = None if account is None else account.facts.name
        else:
            account = service.storage.account_by_name(name)
        exchange.duration = stopwatch() - exchange.started
        service.storage.append(exchange, account)
        service.events.publish(exchange)

    def _record_malformed(self, event: MalformedRequest) -> None:
        """A malformed request has no account, so it is written into the anonymous journal."""
        exchange = Exchange("-", "-", {}, started=stopwatch(), status=event.status, response_body=event.response_body)
        self._record(exchange)
