"""Errors of the emulated service as responses: the documented envelope for ApiError, 404, 405 and bugs."""

import contextlib
import sys
import traceback
from typing import Final
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sora_mock.api.endpoint import EXCHANGE, send_response
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError, unknown_route, wrong_method
from sora_mock.domain.events import BugFound
from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.domain.shape import shaped
from sora_mock.domain.text import redacted
from sora_mock.runtime.events import EventBus
from sora_mock.service.context import Service, encode

MAX_PATH_LENGTH: Final = 1_000
"""Characters of a path that an error message quotes."""

PATH_HINT: Final = "the base URL may lack /v1: --env 'EVOLINK_BASE_URL={url}/v1'"


def error_response(
    contract: Contract, exchange: Exchange, error: ApiError, operation: str | None = None
) -> ApiResponse:
    """The response for an error. operation: whose table of errors is used; None for no operation."""
    body = contract.error_body(operation, error)
    if exchange.shape == "numeric_error_code":
        body = shaped(body, exchange.shape, error.status)
    return ApiResponse(error.status, encode(body), error.headers)


class ErrorResponse(Response):
    """An error of the service as Starlette's handlers return it."""

    def __init__(self, contract: Contract, error: ApiError) -> None:
        super().__init__(status_code=error.status)
        self._contract = contract
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it with the code, message and type of the operation that was called."""
        exchange: Exchange = scope[EXCHANGE]
        operation = getattr(scope.get("endpoint"), "operation_id", None)
        await send_response(send, exchange, error_response(self._contract, exchange, self._error, operation))


def _error_response(request: Request, error: ApiError) -> Response:
    service: Service = request.app.state.service
    return ErrorResponse(service.contract, error)


async def handle_api_error(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for ApiError."""
    assert isinstance(error, ApiError)
    return _error_response(request, error)


def not_found(request: Request) -> Response:
    """The response for a path that the service does not have."""
    path: str = request.scope["path"]
    exchange: Exchange = request.scope[EXCHANGE]
    if _exists_below_v1(path):
        exchange.hint = PATH_HINT
    return _error_response(
        request, unknown_route(request.method, quote(path, safe="/:@!$&'()*+,;=~-._")[:MAX_PATH_LENGTH])
    )


def _exists_below_v1(path: str) -> bool:
    return path in ("/videos/generations", "/credits") or path.startswith("/tasks/")


def method_not_allowed(request: Request, allowed: list[str]) -> Response:
    """The response for a path that the service has, called with another method."""
    return _error_response(request, wrong_method(request.method, request.scope["path"], ", ".join(allowed)))


class BugMiddleware:
    """The innermost middleware: turns any other exception into the documented 500, and publishes its traceback.

    It is no handler for `Exception`: Starlette runs that one outside CORS and journal, and raises the exception again.
    """

    def __init__(self, app: ASGIApp, service: Service, control_response: Response) -> None:
        """control_response: what the control API responds to a bug."""
        self._app = app
        self._service = service
        self._control_response = control_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on. Raises the exception again where the response has begun already."""
        try:
            await self._app(scope, receive, send)
        except ConnectionResetError:
            # in process, a scenario resets the connection like this
            raise
        except ClientDisconnect:
            # the client of a control request left within its body: this is no bug, and nothing can read a response
            return
        except Exception:
            report_bug(self._service.events)
            exchange: Exchange | None = scope.get(EXCHANGE)
            if exchange is None:
                await self._control_response(scope, receive, send)
            elif exchange.status:
                # the response has begun: only the end of the connection can say that it is not complete
                raise
            else:
                await ErrorResponse(self._service.contract, ApiError(500))(scope, receive, send)


def report_bug(events: EventBus) -> None:
    """Publishes the traceback of the current exception; prints it where no log subscribes, as in a test's server."""
    text = redacted(traceback.format_exc())
    if events.has_subscribers(BugFound):
        events.publish(BugFound(text))
    elif sys.stderr is not None:
        # an output that cannot be written must not cost the response
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr)
