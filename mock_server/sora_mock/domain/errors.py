"""Errors of the emulated service, and the defaults for those that no operation's own table has."""

from collections.abc import Iterable
from typing import Any, Final

Envelope = dict[str, dict[str, Any]]


class ApiError(Exception):
    """An error response of the emulated service.

    status: HTTP status.
    message: text for a person; None uses the message of the operation's table (`Contract.error_body`).
    code: error code; None uses the code of the operation's table.
    param: the invalid part of the request, such as `image_urls[0]`; None where there is none.
    headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers


DEFAULT_ERRORS: Final[dict[int, tuple[str, str, str]]] = {
    400: ("invalid_request", "The request is not valid HTTP", "invalid_request_error"),
    401: ("unauthorized", "Authentication required", "authentication_error"),
    402: ("quota_exceeded", "Insufficient quota. Please top up your account.", "insufficient_quota"),
    403: ("permission_denied", "You don't have permission to access this file", "invalid_request_error"),
    404: ("not_found", "Not found", "invalid_request_error"),
    405: ("method_not_allowed", "Method not allowed", "invalid_request_error"),
    408: ("request_timeout", "The request body did not arrive in time", "invalid_request_error"),
    413: ("request_too_large", "The request body is larger than 1 MiB", "invalid_request_error"),
    416: ("range_not_satisfiable", "The requested range is not satisfiable", "invalid_request_error"),
    429: ("rate_limit_exceeded", "Rate limit exceeded", "evo_api_error"),
    500: ("internal_error", "Internal server error", "api_error"),
    502: ("upstream_error", "The upstream service did not answer", "api_error"),
    503: ("service_unavailable", "Service temporarily unavailable", "api_error"),
}
"""(code, message, type) by HTTP status, for responses that no operation's table describes.

The type of 404 is seen in client code. Result files have no table: 401, 402, 403 and 429 are those of the query.
Assumption: the other rows follow the same style (docs/fidelity.md).
"""

OTHER_CLIENT_ERROR: Final = ("invalid_request", "Invalid request", "invalid_request_error")
"""(code, message, type) of a status below 500 that is in no table. A scenario can choose such a status."""


def envelope(error: ApiError, row: dict[str, Any] | None = None) -> Envelope:
    """The error body of the published contract for `error`.

    row: code, message, type and perhaps param of the operation for this status; None uses `DEFAULT_ERRORS`.
    """
    if row is None:
        fallback = DEFAULT_ERRORS[500] if error.status >= 500 else OTHER_CLIENT_ERROR
        code, message, kind = DEFAULT_ERRORS.get(error.status, fallback)
        row = {"code": code, "message": message, "type": kind}
    filled = {"code": error.code or row["code"], "message": error.message or row["message"]}
    param = error.param or (row.get("param") if error.message is None else None)
    if param is not None:
        filled["param"] = param
    return {"error": {**filled, "type": row["type"]}}


def unknown_route(method: str, path: str) -> ApiError:
    """The error for a route that does not exist. Source: docs/fidelity.md; clients look for `Invalid URL (`."""
    return ApiError(404, f"Invalid URL ({method} {path})", code="invalid_url")


def wrong_method(method: str, path: str, allowed: str) -> ApiError:
    """The error for a known route with a wrong method. allowed: the value of the Allow header."""
    message = f"Method {method} is not allowed for {path}; allowed: {allowed}"
    return ApiError(405, message, headers=((b"allow", allowed.encode()),))


def near_names(name: str, known: Iterable[str]) -> str:
    """A phrase to append to an error about an unknown name: up to three similar names; empty where there is none."""
    # imported only when a name is wrong: difflib costs 4 ms at each start
    from difflib import get_close_matches

    near = get_close_matches(name[:80], list(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
