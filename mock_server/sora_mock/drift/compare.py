"""Compares two responses to the same request: status, headers, key paths, JSON types, values of enum-like keys."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from sora_mock.guard.recording import NOT_JSON

Severity = Literal["info", "failure"]

ENUMS: Final = {"object", "type", "model", "billing_rule"}
"""Keys whose values must be equal, at any depth. `error.code` is one more."""

HEADERS: Final = ("retry-after", "allow", "idempotency-replayed", "accept-ranges", "content-range", "location")
"""Headers that clients act on. Their presence is compared, their values are not."""

UNFINISHED: Final = {"pending", "processing"}
"""Statuses of a task that has not ended. They count as equal, because the timing of the service is its own."""


class Difference(NamedTuple):
    """One difference.

    what: such as `error.code: value`. recorded, mock: the two values as text. severity: `info` for an addition of the
    service, which clients ignore.
    """

    what: str
    recorded: str
    mock: str
    severity: Severity = "failure"


class ComparedResponse(NamedTuple):
    """What is compared of a response: headers by lower-case name, the body as JSON or `NOT_JSON`."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def media_type(self) -> str:
        """The content type without parameters, `none` where the header is missing."""
        return self.headers.get("content-type", "").partition(";")[0].strip() or "none"


def differences(recorded: ComparedResponse, mock: ComparedResponse) -> Iterator[Difference]:
    """The differences between two responses.

    Responses with different statuses have different headers and bodies anyway, so those are not compared then.
    """
    if recorded.status != mock.status:
        yield Difference("status", _status(recorded), _status(mock))
        return
    if recorded.media_type != mock.media_type:
        yield Difference("content-type", recorded.media_type, mock.media_type)
    for name in HEADERS:
        if (name in recorded.headers) != (name in mock.headers):
            yield _header(name, recorded, mock)
    if (recorded.body is NOT_JSON) != (mock.body is NOT_JSON):
        yield Difference("body", _kind(recorded.body), _kind(mock.body))
    elif recorded.body is not NOT_JSON:
        yield from _values(recorded.body, mock.body, "")


def _header(name: str, recorded: ComparedResponse, mock: ComparedResponse) -> Difference:
    """A header that only one of them sends. Only a header that the service does not send is a failure."""
    if name in recorded.headers:
        return Difference(f"header {name}: added", _shown(recorded.headers[name]), "absent", "info")
    return Difference(f"header {name}: missing", "absent", _shown(mock.headers[name]))


def _status(response: ComparedResponse) -> str:
    error = response.body.get("error") if isinstance(response.body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f"{response.status} {code}" if isinstance(code, str) else str(response.status)


def _values(recorded: Any, mock: Any, path: str) -> Iterator[Difference]:
    one, other = _type(recorded, path), _type(mock, path)
    if one != other:
        yield Difference(f"{path or 'body'}: type", one, other)
    elif isinstance(recorded, dict):
        yield from _objects(recorded, mock, path)
    elif isinstance(recorded, list):
        # an empty array does not show what its elements look like
        for element in recorded if mock else ():
            yield from _values(element, mock[0], f"{path}[]")
    elif _is_enum(path) and not _same(recorded, mock, path):
        yield Difference(f"{path}: value", _shown(recorded), _shown(mock))


def _objects(recorded: dict[str, Any], mock: dict[str, Any], path: str) -> Iterator[Difference]:
    for key in sorted(recorded.keys() | mock.keys()):
        inner = f"{path}.{key}" if path else key
        if key not in mock:
            yield Difference(f"{inner}: added", _type(recorded[key], inner), "absent", "info")
        elif key not in recorded:
            yield Difference(f"{inner}: missing", "absent", _type(mock[key], inner))
        else:
            yield from _values(recorded[key], mock[key], inner)


def _is_enum(path: str) -> bool:
    return path.rpartition(".")[2] in ENUMS or path in ("status", "error.code")


def _same(recorded: Any, mock: Any, path: str) -> bool:
    if path == "status" and isinstance(recorded, str) and isinstance(mock, str):
        return recorded == mock or {recorded, mock} <= UNFINISHED
    return bool(recorded == mock)


def _type(value: Any, path: str) -> str:
    """The JSON type. An amount of credits is a number, whether it is whole or not."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or value.is_integer()
        return "integer" if whole and "credits" not in path else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _kind(body: Any) -> str:
    return "not JSON" if body is NOT_JSON else _type(body, "")


def _shown(value: Any) -> str:
    return repr(value)[:80]
