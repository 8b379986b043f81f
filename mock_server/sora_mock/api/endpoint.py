"""One operation of the service as an ASGI endpoint: the exchange in, an `ApiResponse` out."""

from collections.abc import Callable
from typing import Concatenate, Final

from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.service.context import Service

EXCHANGE: Final = "sora_mock.exchange"
"""Where the scope of a request to the service holds its `Exchange`; `ExchangeMiddleware` puts it there."""

Handler = Callable[Concatenate[Service, Exchange, ...], ApiResponse]


class Operation:
    """Raw ASGI, because these are the hot endpoints (bench/): `handler(service, exchange, **path_parameters)`."""

    def __init__(self, service: Service, handler: Handler, operation_id: str | None = None) -> None:
        """operation_id: operationId in the contract, whose table of errors is used; None for the result files."""
        self._service = service
        self._handler = handler
        self.operation_id = operation_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response. Raises ApiError, which an exception handler turns into a response."""
        exchange: Exchange = scope[EXCHANGE]
        await send_response(send, exchange, self._handler(self._service, exchange, **scope["path_params"]))


class ServiceRoute(Route):
    """A route with exactly this path and these methods.

    Starlette adds HEAD to GET, which the service does not have, and its `$` accepts a newline at the end of a path.
    """

    def __init__(self, path: str, endpoint: Operation, *, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.methods = set(methods)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the whole path matches; its parameters are texts."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        found = self.path_regex.fullmatch(path) if scope["type"] == "http" else None
        if found is None:
            return Match.NONE, {}
        match = Match.FULL if scope["method"] in (self.methods or ()) else Match.PARTIAL
        return match, {"endpoint": self.endpoint, "path_params": found.groupdict()}


async def send_response(send: Send, exchange: Exchange, response: ApiResponse) -> None:
    """Writes a response into its exchange, then sends it as two ASGI messages."""
    exchange.response_body, exchange.media_type = response.body, response.media_type
    headers = [*response.headers]
    if response.status != 304:
        headers.append((b"content-type", response.media_type))
        headers.append((b"content-length", b"%d" % len(response.body)))
    if exchange.has_unread_body:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    # server and transport drop the body of a response to HEAD
    await send({"type": "http.response.body", "body": response.body})
