"""Two replies to the same request, compared: statuses, headers, key paths, JSON types, values of enum-like keys."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from sora_mock.drift.recording import UNREADABLE

Severity = Literal["info", "failure"]

ENUMS: Final = {"object", "type", "model", "billing_rule"}
"""Keys whose values are compared literally, wherever they stand; `error.code` is one more."""

HEADERS: Final = ("retry-after", "allow", "idempotency-replayed", "accept-ranges", "content-range", "location")
"""Headers that clients act on: whether they are there is compared, their values are not."""

UNFINISHED: Final = {"pending", "processing"}
"""What a task that has not ended may say at any age."""


class Difference(NamedTuple):
    """One thing that differs; recorded and mock as they are shown."""

    what: str
    recorded: str
    mock: str
    severity: Severity = "failure"


class Reply(NamedTuple):
    """What is compared of a reply: headers by lower-case name, the body as JSON or `UNREADABLE`."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def media_type(self) -> str:
        """Without parameters; `none` where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip() or "none"


def differences(recorded: Reply, mock: Reply) -> Iterator[Difference]:
    """Where two replies differ.

    Under different statuses headers and bodies are other ones by nature: they are not compared.
    """
    if recorded.status != mock.status:
        yield Difference("status", _status(recorded), _status(mock))
        return
    if recorded.media_type != mock.media_type:
        yield Difference("content-type", recorded.media_type, mock.media_type)
    for name in HEADERS:
        if (name in recorded.headers) != (name in mock.headers):
            yield _header(name, recorded, mock)
    if (recorded.body is UNREADABLE) != (mock.body is UNREADABLE):
        yield Difference("body", _kind(recorded.body), _kind(mock.body))
    elif recorded.body is not UNREADABLE:
        yield from _values(recorded.body, mock.body, "")


def _header(name: str, recorded: Reply, mock: Reply) -> Difference:
    """Like a field: one that only the service has is for information, one that only the mock has is a failure."""
    if name in recorded.headers:
        return Difference(f"header {name}: added", _shown(recorded.headers[name]), "absent", "info")
    return Difference(f"header {name}: missing", "absent", _shown(mock.headers[name]))


def _status(reply: Reply) -> str:
    error = reply.body.get("error") if isinstance(reply.body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f"{reply.status} {code}" if isinstance(code, str) else str(reply.status)


def _values(recorded: Any, mock: Any, path: str) -> Iterator[Difference]:
    one, other = _type(recorded, path), _type(mock, path)
    if one != other:
        yield Difference(f"{path or 'body'}: type", one, other)
    elif isinstance(recorded, dict):
        yield from _objects(recorded, mock, path)
    elif isinstance(recorded, list):
        # an empty array says nothing about its elements
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
    """The JSON type; amounts of credits are numbers, whole or not."""
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
    return "not JSON" if body is UNREADABLE else _type(body, "")


def _shown(value: Any) -> str:
    return repr(value)[:80]
