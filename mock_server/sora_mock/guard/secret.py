"""The real key. The guard reads it once and removes it from everything that it sends to clients or prints."""

import contextlib
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from sora_mock.guard.request import PLACEHOLDER
from sora_mock.guard.spellings import Span, count_escapes, encoded_forms, found_spans, source_spans, unescaped

USABLE: Final = re.compile(rb"[\x21-\x7e]{8,4096}")
"""A usable key. A shorter one would match, and be replaced, in ordinary text."""

ROUNDS: Final = 3
"""How many nested escapes are decoded, such as percent-encoding in a string of JSON in a string of JSON."""

MAX_UNPACKED: Final = 8 * 1024 * 1024
"""How many bytes of a compressed part are searched. A part that unpacks to more is removed."""
MAX_WORK: Final = 64 * 1024 * 1024
"""How much is searched in one response, all rounds and compressed parts together: 1 for each byte, 16 for each escape.
Python needs about 2 seconds for it."""
_ESCAPE_WORK: Final = 16
_QUICK: Final = 16 * 1024
_STEP: Final = 4096
_MAX_STREAMS: Final = 16
_GZIP: Final = b"\x1f\x8b\x08"
_UNREADABLE: Final = (b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\x04\x22\x4d\x18")
"""How files of bzip2, xz, zstd, zip and lz4 begin. The guard does not search them, so it removes them."""


class TooMuchToSearch(Exception):
    """The search for the key would take too long. The text says it."""


class _Work:
    """What is left of `MAX_WORK`."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def take(self, amount: int) -> None:
        """Takes a part. Raises TooMuchToSearch if less is left."""
        self._left -= amount
        if self._left < 0:
            raise TooMuchToSearch("too large to search for the key")


class Secret:
    """One key. Its `repr` does not show it, so no log can show it.

    Raises ValueError for bytes that cannot be a key. The error does not show them.
    """

    def __init__(self, key: bytes) -> None:
        if not USABLE.fullmatch(key) or key == PLACEHOLDER:
            raise ValueError("it holds no key (8 to 4096 visible ASCII characters)")
        self.key = key
        self._forms = encoded_forms(key)

    def __repr__(self) -> str:
        return "Secret()"

    def scrubbed(self, data: bytes) -> bytes:
        """`data` with the placeholder in place of the key, in time that is linear in its size.

        It finds the key in any case, in base64 and hex, with characters escaped for JSON, HTML or a URL, in UTF-16 and
        UTF-32, and in compressed parts, which it replaces as a whole (docs/guard.md, what the guard removes).
        Raises TooMuchToSearch.
        """
        return self._scrubbed(data, _Work())

    def all_scrubbed(self, texts: Iterable[bytes]) -> list[bytes]:
        """Each text scrubbed, as the parts of one response. Raises TooMuchToSearch."""
        work = _Work()
        return [self._scrubbed(each, work) for each in texts]

    def _scrubbed(self, data: bytes, work: _Work) -> bytes:
        spans = self._spans(data, work)
        if not _is_text(data):
            spans += self._packed_spans(data, work)
        if not spans:
            return data
        parts, end = [], 0
        for start, stop in sorted(spans):
            if start >= end:
                parts += [data[end:start], PLACEHOLDER]
            end = max(end, stop)
        return b"".join([*parts, data[end:]])

    def _spans(self, data: bytes, work: _Work) -> list[Span]:
        """Where the key is, also behind escapes. Raises TooMuchToSearch."""
        work.take(len(data))
        spans, views = found_spans(data, self._forms), [data]
        for _ in range(ROUNDS):
            escapes = count_escapes(views[-1])
            if not escapes:
                break
            work.take(len(views[-1]) + escapes * _ESCAPE_WORK)
            view = unescaped(views[-1])
            if len(view) == len(views[-1]):
                break
            found = found_spans(view, self._forms)
            for inner in reversed(views):
                found = source_spans(inner, found)
            spans += found
            views.append(view)
        return spans

    def _packed_spans(self, data: bytes, work: _Work) -> list[Span]:
        """The compressed parts that hold the key or cannot be searched, each to the end of the data."""
        if data.startswith(_UNREADABLE) or any(self._is_inside(memoryview(data), window, work) for window in (15, -15)):
            return [(0, len(data))]
        start = data.find(_GZIP)
        for _ in range(_MAX_STREAMS):
            if start < 0:
                return []
            if self._is_inside(memoryview(data)[start:], 31, work):
                return [(start, len(data))]
            start = data.find(_GZIP, start + 1)
        return [] if start < 0 else [(start, len(data))]

    def _is_inside(self, packed: memoryview, window: int, work: _Work) -> bool:
        """Whether a stream of zlib holds the key, or something that cannot be searched. window: its format."""
        stream = zlib.decompressobj(window)
        plain = bytearray()
        try:
            for start in range(0, len(packed), _STEP):
                step, before = packed[start : start + _STEP], stream.copy()
                plain += stream.decompress(step, MAX_UNPACKED + 1 - len(plain))
                if len(plain) > MAX_UNPACKED:
                    work.take(len(plain))
                    return True
                if stream.eof:
                    break
        except zlib.error:
            # zlib does not return what it decoded of the last step before the error; byte by byte, it does
            with contextlib.suppress(zlib.error):
                for at in range(len(step)):
                    plain += before.decompress(step[at : at + 1], _STEP)
        content = bytes(plain)
        work.take(len(content))
        return _GZIP in content or bool(self._spans(content, work))


def is_quick(texts: Sequence[bytes]) -> bool:
    """Whether the search in them takes at most some milliseconds: they are short, and nothing can be compressed."""
    return sum(map(len, texts)) <= _QUICK and all(map(_is_text, texts))


def _is_text(data: bytes) -> bool:
    """Whether the data is UTF-8, which nothing compressed is."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
