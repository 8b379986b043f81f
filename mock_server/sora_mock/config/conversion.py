"""One value as a user writes it becomes the value of its setting; a ValueError says what is allowed."""

import re
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import inspect

WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
"""Texts of true and false, as in variables of the environment."""


class BadPart(ValueError):
    """A bad value inside a table.

    key: the place below the table's own name, such as `queue_share`.
    value: the bad value.
    """

    def __init__(self, key: str, value: Any, problem: ValueError) -> None:
        super().__init__(str(problem))
        self.key = key
        self.value = value


def convert(value: Any, kind: Any, wording: str | None = None) -> Any:
    """The value as `kind`, a type that msgspec knows, perhaps with bounds. A text may spell a bool or a number.

    wording: what is allowed, for the message; None derives it from the type.
    Raises ValueError.
    """
    try:
        return msgspec.convert(from_text(value, kind), kind)
    except msgspec.ValidationError:
        raise ValueError(f"expected {wording or allowed(kind)}") from None


def from_text(value: Any, kind: Any) -> Any:
    """The bool or number that `value` spells, where `kind` is one; else the value as it is."""
    types = _types(kind)
    if bool in types:
        return WORDS.get(str(value).lower(), value)
    if int in types and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    # msgspec refuses subclasses of float, such as those of numpy
    if float in types and isinstance(value, (str, float)):
        return _float(value)
    return value


def _types(kind: Any) -> set[Any]:
    """The plain types in `Annotated[int, ...] | None` and their like."""
    if get_origin(kind) is Annotated:
        return _types(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return set().union(*map(_types, get_args(kind)))
    return {kind}


def _float(value: str | float) -> str | float:
    try:
        return float(value)
    except ValueError:
        return value


def allowed(kind: Any) -> str:
    """What users may write for a value of this type, in words: `a whole number from 0 to 65535`."""
    *first, last = _words(inspect.type_info(kind))
    return f"{', '.join(first)} or {last}" if first else last


def _words(info: Any) -> list[str]:
    """The alternatives that a type allows, by what `msgspec.inspect` knows of it."""
    match type(info).__name__:
        case "Metadata":
            return _words(info.type)
        case "UnionType":
            return [word for each in info.types for word in _words(each)]
        case "NoneType":
            return []
        case "BoolType":
            return ["true", "false"]
        case "LiteralType":
            return [str(each) for each in info.values]
        case "IntType":
            return [f"a whole number from {info.ge} to {info.le}"]
        case "FloatType":
            return [f"a number from {info.ge:.15g} to {info.le:.15g}"]
        case _:
            return ["a text"]
