"""Errors of the control API: `{"error": {"code", "message"}}`."""

from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response


class ControlError(Exception):
    """A control request that cannot be fulfilled.

    status: HTTP status. code: such as `invalid_body`. message: for the person who reads it.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def error_response(error: ControlError, headers: Mapping[str, str] | None = None) -> Response:
    """The response that reports an error."""
    return json_response({"error": {"code": error.code, "message": error.message}}, error.status, headers)


async def handle_control_error(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for ControlError."""
    assert isinstance(error, ControlError)
    # after an incomplete body no further request can begin
    return error_response(error, {"connection": "close"} if error.status == 408 else None)


def bad_body(message: str) -> ControlError:
    """The error for a body that cannot be used."""
    return ControlError(400, "invalid_body", message)
