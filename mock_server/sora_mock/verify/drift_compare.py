"""Two answers to the same request, compared: statuses, key paths, JSON types, and values of enum-like keys."""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from sora_mock.verify.drift_recording import UNREADABLE

Severity = Literal["info", "failure"]

ENUMS: Final = {"object", "type", "model", "billing_rule"}
"""Keys whose values are compared literally, wherever they stand; `error.code` is one more."""

UNFINISHED: Final = {"pending", "processing"}
"""What a task that has not ended may say at any age."""


class Difference(NamedTuple):
    """One thing that differs; recorded and mock as they are shown."""

    what: str
    recorded: str
    mock: str
    severity: Severity = "failure"


def differences(recorded: tuple[int, str, Any], mock: tuple[int, str, Any]) -> Iterator[Difference]:
    """Where two replies (status, media type, JSON or `UNREADABLE`) differ.

    Under different statuses the bodies are other ones by nature: their shapes are not compared.
    """
    if recorded[0] != mock[0]:
        yield Difference("status", _status(recorded), _status(mock))
        return
    if recorded[1] != mock[1]:
        yield Difference("content-type", recorded[1] or "none", mock[1] or "none")
    if (recorded[2] is UNREADABLE) != (mock[2] is UNREADABLE):
        yield Difference("body", _kind(recorded[2]), _kind(mock[2]))
    elif recorded[2] is not UNREADABLE:
        yield from _values(recorded[2], mock[2], "")


def _status(reply: tuple[int, str, Any]) -> str:
    body = reply[2]
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f"{reply[0]} {code}" if isinstance(code, str) else str(reply[0])


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
