"""How a field of Settings is written by users: as a flag, a variable and a key of the settings file."""

from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from sora_mock.config.conversion import allowed, convert


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What the annotation of a field says beside its type, its bounds and its description.

    value: placeholder of the value in `--help`; None for a switch, and for a key of the file alone.
    key: the name for users, where it is not the field's; with a dot, a key of that table of the file.
    read: makes the value that is then converted, or None if that is a value too; raises ValueError.
    allowed: what is allowed, where the type does not say it; None where it does.
    default: the default for users, where it is not the field's default as text.
    repeats: whether the flag may be given several times.
    file_only: whether it is a key of the file and neither flag nor variable.
    """

    value: str | None = None
    key: str | None = None
    read: Callable[[Any], Any] | None = None
    allowed: str | None = None
    default: str | None = None
    repeats: bool = False
    file_only: bool = False


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One field of Settings, with everything that flags, variables, file and documentation need.

    key: the name for users: `generation-time`, `moderation.rules`.
    field: the name of the attribute of Settings.
    kind: the type, for msgspec.
    description: what it does, in one line of plain text.
    default: the default, as users write it or in words.
    """

    key: str
    field: str
    kind: Any
    description: str
    default: str
    written: Written

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
        return self.written.allowed or allowed(self.kind)

    def convert(self, value: Any) -> Any:
        """The value of the field. Raises ValueError that says what is allowed."""
        if value is None:
            # a field may be None, but that is not what users write
            raise ValueError(f"expected {self.allowed}")
        found = value if self.written.read is None else self.written.read(value)
        return convert(found, self.kind, self.written.allowed)


def settings_of(declaration: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """The settings that a struct declares, in its order."""
    hints = get_type_hints(declaration, include_extras=True)
    return tuple(
        _setting(field.name, hints[field.name], field.default) for field in msgspec.structs.fields(declaration)
    )


def _setting(name: str, kind: Any, default: Any) -> Setting:
    # the bounds of the type are an earlier Meta
    *_, meta = (each for each in kind.__metadata__ if isinstance(each, msgspec.Meta))
    written = next(each for each in kind.__metadata__ if isinstance(each, Written))
    return Setting(
        key=written.key or name.replace("_", "-"),
        field=name,
        kind=kind,
        description=meta.description or "",
        default=_shown(default) if written.default is None else written.default,
        written=written,
    )


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        # a switch, and what it switches on is off
        return "off"
    return f"{default:g}" if isinstance(default, float) else str(default)
