"""How a key can be written: encodings of the whole key, and escapes of its characters."""

import base64
import html.entities
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

Span = tuple[int, int]

MIN_ENCODED: Final = 8
"""Bytes. A shorter part of an encoded key would be found, and replaced, in ordinary text."""

_ENTITIES: Final = {
    name.rstrip(";").encode(): value.encode()
    for name, value in html.entities.html5.items()
    if len(value) == 1 and value.isascii()
}
_ESCAPE: Final = re.compile(
    # the first set lets the search skip ordinary text; each alternative has a limited length or nothing behind it, so
    # the time is linear
    rb"[%=\\&\x00\r\n](?:(?<=%)u[0-9A-Fa-f]{4}|(?<=[%=])[0-9A-Fa-f]{2}|(?<==)\r?\n"
    rb"|(?<=\\)(?:u\{0*[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[ -~])"
    # in this order, a longer name comes before a shorter one with the same beginning
    rb"|(?<=&)(?:#0*[0-9]{1,7}|#[xX]0*[0-9A-Fa-f]{1,6}|" + b"|".join(sorted(_ENTITIES, reverse=True)) + rb");?"
    # the zero bytes of UTF-16 and UTF-32, and the ends of lines in a wrapped text
    rb"|(?<=\x00)\x00*|(?<=[\r\n])[\r\n]*[\t ]*)"
)
_LONGEST: Final = 24
"""Bytes of the longest escape, except for leading zeros and for what is left out."""
_KINDS: Final = bytes(
    ord("e" if code in b"%=\\&" else "z" if code == 0 else "l" if code in b"\r\n" else ".") for code in range(256)
)
"""Each byte as its kind: `e` begins an escape, runs of `z` and of `l` are left out."""
_BEGINNINGS: Final = (b"e", b".z", b"ez", b"lz", b".l", b"el", b"zl")
_LETTERS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def encoded_forms(key: bytes) -> list[bytes]:
    """The key, its hex, and the part of its base64 that no text around it changes; lower case, longest first."""
    forms = {key, key.hex().encode()}
    for between in (b" ", b":", b"-", b","):
        forms.add(between.join(b"%02x" % code for code in key))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms |= {encode(key), encode(key).rstrip(b"=")}
        for offset in range(3):
            # the characters at both ends depend on the neighbours of the key
            length = len(key) + offset
            core = encode(bytes(offset) + key)[-(-offset * 4 // 3) : length * 4 // 3]
            forms.add(core)
    return sorted((form.lower() for form in forms if len(form) >= MIN_ENCODED), key=len, reverse=True)


def found_spans(data: bytes, forms: Iterable[bytes]) -> list[Span]:
    """Where the forms are in the data, in any case. Plain searches."""
    lower, spans = data.lower(), []
    for form in forms:
        start = lower.find(form)
        while start >= 0:
            spans.append((start, start + len(form)))
            start = lower.find(form, start + len(form))
    return spans


def count_escapes(data: bytes) -> int:
    """At least as many as the escapes that `unescaped` replaces; a run of zero bytes or ends of lines is one."""
    kinds = b"." + data.translate(_KINDS)
    return sum(map(kinds.count, _BEGINNINGS))


def unescaped(data: bytes) -> bytes:
    """The data with each escape as the character that it means, and without zero bytes and ends of lines."""
    # one at a time: a list of millions of parts takes much more memory than their bytes, and other threads go on
    view, end = bytearray(), 0
    for found in _ESCAPE.finditer(data):
        start, stop = found.span()
        view += data[end:start]
        view += _meaning(_shortened(found[0]))
        end = stop
    view += data[end:]
    return bytes(view)


def source_spans(data: bytes, spans: Iterable[Span]) -> list[Span]:
    """The parts of `data` that became these parts of `unescaped(data)`."""
    wanted = sorted({place for start, end in spans for place in (start, end - 1)})
    places = dict(zip(wanted, _sources(data, wanted), strict=True))
    return [(places[start][0], places[end - 1][1]) for start, end in spans]


def _sources(data: bytes, wanted: list[int]) -> Iterator[Span]:
    """The part of `data` that became each character of the unescaped data. wanted: sorted."""
    escapes = _ESCAPE.finditer(data)
    escape, shift = next(escapes, None), 0
    for place in wanted:
        while escape is not None and escape.start() - shift + len(_meaning(_shortened(escape[0]))) <= place:
            shift += len(escape[0]) - len(_meaning(_shortened(escape[0])))
            escape = next(escapes, None)
        if escape is not None and escape.start() - shift <= place:
            yield escape.span()
        else:
            yield place + shift, place + shift + 1


def _shortened(escape: bytes) -> bytes:
    """An escape of at most `_LONGEST` bytes with the same meaning, so that remembered meanings take little memory."""
    return escape if len(escape) <= _LONGEST else (escape[:3] + b"0" + escape[3:].lstrip(b"0"))[:_LONGEST]


@lru_cache(1 << 16)
def _meaning(escape: bytes) -> bytes:
    """The character of an escape: one byte, `?` for a character that no key has. Empty for what is left out."""
    first, rest = escape[:1], escape[1:]
    if first in b"\x00\r\n" or rest[:1] in (b"\r", b"\n"):
        return b""
    if first == b"&":
        rest = rest.rstrip(b";")
        if rest[:1] != b"#":
            return _ENTITIES[rest]
        return _character(rest[2:], 16) if rest[1:2] in b"xX" else _character(rest[1:], 10)
    if (first == b"\\" and rest[:1] not in (b"u", b"x")) or len(rest) == 1:
        return _character(rest, 8) if len(rest) == 3 else _LETTERS.get(rest, rest)
    return _character(rest.strip(b"ux{}"), 16)


def _character(digits: bytes, base: int) -> bytes:
    code = int(digits, base)
    return bytes([code]) if code < 256 else b"?"
