"""What a control request says: the account that it is about, its body and its query, each value checked."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request

from sora_mock.control.errors import ControlError, bad_body
from sora_mock.domain.errors import near_names
from sora_mock.domain.values import JSON_ERRORS
from sora_mock.runtime import connections
from sora_mock.service.authentication import accepts
from sora_mock.service.context import Service

Fields = dict[str, Any]

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_LISTED: Final = 10_000
DEFAULT_LISTED: Final = 1_000
"""Items of a list, at most and by default (`?limit=`)."""


def service_of(request: Request) -> Service:
    """The service that this application controls."""
    service: Service = request.app.state.service
    return service


def account_key(request: Request) -> str | None:
    """The key of the account that a request is about; None for the whole server. Raises ControlError 401."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    service = service_of(request)
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not accepts(service, key.strip()):
        wanted = "a bearer key that begins with sk-"
        if service.settings.keys is not None:
            wanted = "one of those in the setting `keys`"
        raise ControlError(401, "unauthorized", f"the key must be {wanted}")
    return key.strip()


async def read_data(request: Request) -> bytes:
    """The body. Raises ControlError 413 beyond 1 MiB, 408 where it does not arrive in time, and ClientDisconnect."""
    data = bytearray()
    try:
        async with asyncio.timeout(connections.BODY_TIMEOUT):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise ControlError(413, "body_too_large", "the body is larger than 1 MiB")
    except TimeoutError:
        message = f"the body did not arrive within {connections.BODY_TIMEOUT:g} s"
        raise ControlError(408, "request_timeout", message) from None
    return bytes(data)


async def read_object(request: Request) -> Fields:
    """The body as a JSON object, empty without a body. Raises ControlError 400 and 413."""
    data = await read_data(request)
    if not data.strip():
        return {}
    try:
        body = msgspec.json.decode(data)
    except JSON_ERRORS as problem:
        raise bad_body(f"the body is not JSON: {problem}") from None
    if not isinstance(body, dict):
        raise bad_body("the body must be a JSON object")
    return body


async def read_fields(request: Request, **readers: Callable[[Any], Any]) -> Fields:
    """The fields of the body, each read by its reader. Raises ControlError 400 for an unknown or wrong field."""
    found = {}
    for name, value in (await read_object(request)).items():
        if name not in readers:
            raise bad_body(f"unknown field {name[:80]!r}{near_names(name, readers) or _known(readers)}")
        try:
            found[name] = readers[name](value)
        except ValueError as problem:
            raise bad_body(f"{name}: {problem}") from None
    return found


def _known(names: Mapping[str, Any]) -> str:
    return f"; known are {', '.join(names)}" if names else "; no field is expected"


def query_limit(request: Request) -> int:
    """`?limit=`. Raises ControlError 400."""
    return int(query_number(request, "limit", DEFAULT_LISTED, 1, MAX_LISTED))


def query_number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the query. Raises ControlError 400."""
    written = request.query_params.get(name, str(default))
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", written) or not low <= float(written) <= high:
        raise ControlError(400, "invalid_query", f"{name} must be a number from {low:g} to {high:g}")
    return float(written)


def boolean(value: Any) -> bool:
    """A reader of true and false."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value
