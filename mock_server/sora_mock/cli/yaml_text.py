"""Prints a JSON value as YAML in block style, so that `sora-mock contract` needs no YAML library."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z_/]([\w ./,;()*=+-]*[\w./,;()*=+-])?", re.ASCII)
"""Texts that need no quotes: no character in them has a meaning in block style."""

_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that some YAML readers do not take as text."""


def yaml_lines(value: Any) -> Iterator[str]:
    """The lines of a YAML document. value: what a JSON reader returns; numbers are written as in JSON."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _entry(_text(name) + ":", child, "  " if isinstance(child, dict) else "")
    elif isinstance(value, list) and value:
        for child in value:
            first, *rest = yaml_lines(child)
            yield "- " + first
            # an empty line is a line of a text, and YAML needs no spaces there
            yield from ("  " + line if line else "" for line in rest)
    elif isinstance(value, str) and "\n" in value and _is_block(value):
        yield "|-"
        yield from ("  " + line if line else "" for line in value.split("\n"))
    elif isinstance(value, str):
        yield _text(value)
    else:
        yield json.dumps(value)


def _entry(name: str, child: Any, indent: str) -> Iterator[str]:
    """The lines of one member of an object."""
    lines = yaml_lines(child)
    if isinstance(child, dict | list) and child:
        yield name
    else:
        yield f"{name} {next(lines)}"
    yield from (indent + line if line else "" for line in lines)


def _is_block(text: str) -> bool:
    """Whether a text can be written as lines of its own: each is printable, and no space is at an end."""
    lines = text.split("\n")
    return bool(lines[0] and lines[-1]) and all(line.isprintable() and line == line.strip() for line in lines)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # a JSON string is a YAML string, apart from characters that are not printable
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
