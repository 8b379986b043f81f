"""One setting: how users write it, and how a value that they write becomes the value of its field."""

import re
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

WORDS: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
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


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the annotation of a field of Settings says beside its type and its bounds.

    value: placeholder of the value in `--help`; None for a switch, and for a key of the file alone.
    key: the name for users, such as `generation-time`; with a dot, a key of that table of the file, such as
    `moderation.rules`. By default the field's name with dashes.
    read: makes the value that is then converted, or None if that is a value too; raises ValueError.
    words: what is allowed, where the type does not say it; None where it does.
    default: the default as users write it or in words, by default the field's default as text.
    repeats: whether the flag may be given several times.
    file_only: whether it is a key of the file and neither flag nor variable.
    field, kind, description: the attribute of Settings, its type for msgspec, and what it does, in one line of plain
    text; `settings_of` fills them in.
    """

    value: str | None = None
    key: str = ""
    read: Callable[[Any], Any] | None = None
    words: str | None = None
    default: str = ""
    repeats: bool = False
    file_only: bool = False
    field: str = ""
    kind: Any = None
    description: str = ""

    @property
    def flag(self) -> str:
        """The flag: `--generation-time`."""
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        """The variable of the environment: `SORA_MOCK_GENERATION_TIME`."""
        return "SORA_MOCK_" + self.key.upper().replace("-", "_")

    @property
    def option(self) -> str:
        """The keyword argument of MockServer that holds it: `generation_time`, `moderation`."""
        return self.key.partition(".")[0].replace("-", "_")

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        return self.words or allowed(self.kind)

    def convert(self, value: Any) -> Any:
        """The value of the field. Raises ValueError that says what is allowed."""
        if value is None:
            # a field may be None, but that is not what users write
            raise ValueError(f"expected {self.allowed}")
        found = value if self.read is None else self.read(value)
        return convert(found, self.kind, self.words)


def settings_of(declaration: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """The settings that a struct declares, in its order."""
    hints = get_type_hints(declaration, include_extras=True)
    return tuple(_filled(field, hints[field.name]) for field in msgspec.structs.fields(declaration))


def _filled(field: msgspec.structs.FieldInfo, kind: Any) -> Setting:
    # the last two, because the bounds of the type are an earlier Meta
    *_, meta, declared = kind.__metadata__
    filled: Setting = msgspec.structs.replace(
        declared,
        key=declared.key or field.name.replace("_", "-"),
        default=declared.default or _shown(field.default),
        field=field.name,
        kind=kind,
        description=meta.description,
    )
    return filled


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        # a switch, and what it switches on is off
        return "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


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
