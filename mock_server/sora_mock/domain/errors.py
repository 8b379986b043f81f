"""Refusals of the emulated service, and the few that belong to no operation's own table."""

from collections.abc import Iterable
from typing import Any, Final

Envelope = dict[str, dict[str, Any]]


class ApiError(Exception):
    """An answer of the emulated service other than success.

    What is left None is filled in from the table of the operation that was called (`Contract.refusal`).

    status: the HTTP status.
    param: the request field that was wrong, for example `image_urls[0]`.
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


OUTSIDE_THE_CONTRACT: Final[dict[int, tuple[str, str, str]]] = {
    # status: (code, message, type). Unknown routes answer 404 with this type (client code keys on the message);
    # the rest is an assumption in the same style, listed in docs/fidelity.md. Result files have no table of their own
    # and answer 401, 402, 403 and 429 as the query does.
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

ANY_OTHER: Final = ("invalid_request", "Invalid request", "invalid_request_error")
"""What a status below 500 says that is in no table, as a scenario can choose it."""


def envelope(error: ApiError, row: dict[str, Any] | None = None) -> Envelope:
    """The documented error body of `error`.

    row: the operation's own code, message, type and perhaps param for this status; None where it has none.
    """
    if row is None:
        fallback = OUTSIDE_THE_CONTRACT[500] if error.status >= 500 else ANY_OTHER
        code, message, kind = OUTSIDE_THE_CONTRACT.get(error.status, fallback)
        row = {"code": code, "message": message, "type": kind}
    filled = {"code": error.code or row["code"], "message": error.message or row["message"]}
    param = error.param or (row.get("param") if error.message is None else None)
    if param is not None:
        filled["param"] = param
    return {"error": {**filled, "type": row["type"]}}


def unknown_route(method: str, path: str) -> ApiError:
    """The refusal of a route that does not exist. Source: client code, which keys on `Invalid URL (`."""
    return ApiError(404, f"Invalid URL ({method} {path})", code="invalid_url")


def wrong_method(method: str, path: str, allowed: str) -> ApiError:
    """The refusal of a known route called with another method; `allowed` as in the Allow header."""
    message = f"Method {method} is not allowed for {path}; allowed: {allowed}"
    return ApiError(405, message, headers=((b"allow", allowed.encode()),))


def near_names(name: str, known: Iterable[str]) -> str:
    """What to append to the refusal of an unknown name: up to three names like it, or nothing."""
    # imported where a mistake was made: difflib costs every start 4 ms
    from difflib import get_close_matches

    near = get_close_matches(name[:80], list(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
