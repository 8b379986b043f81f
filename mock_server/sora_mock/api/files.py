"""The result files over HTTP: whole or a range of it, with the entity tag that lets a client resume."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from sora_mock.domain.errors import ApiError
from sora_mock.service.calls import Answer, Call
from sora_mock.service.emulator import Emulator

VIDEO: Final = b"video/mp4"

_RANGE: Final = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


def download(emulator: Emulator) -> Callable[[Call], Answer]:
    """The operation behind result links."""

    def send_file(call: Call) -> Answer:
        body, tag = emulator.download(call, call.path[-36:-4])
        # RFC 9110, 14.2: a range is for GET
        headers = call.headers if call.method == "GET" else {**call.headers, b"range": b""}
        return part_of(body, tag, headers)

    return send_file


def part_of(body: bytes, tag: bytes, headers: Mapping[bytes, bytes]) -> Answer:
    """The answer for a file with that entity tag: 200, 206 or 304. Raises ApiError 416."""
    common = ((b"etag", tag), (b"accept-ranges", b"bytes"))
    if _names(headers.get(b"if-none-match", b""), tag):
        return Answer(304, b"", common)
    # RFC 9110, 13.1.5: under another If-Range the whole is sent
    wanted = headers.get(b"range", b"") if headers.get(b"if-range", tag) == tag else b""
    part = byte_range(wanted, len(body))
    if part is None:
        return Answer(200, body, common, VIDEO)
    first, last = part
    shown = f"bytes {first}-{last}/{len(body)}".encode()
    return Answer(206, body[first : last + 1], (*common, (b"content-range", shown)), VIDEO)


def _names(condition: bytes, tag: bytes) -> bool:
    tags = [part.strip().removeprefix(b"W/") for part in condition.split(b",")]
    return tag in tags or b"*" in tags


def byte_range(wanted: bytes, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range of `size` bytes; None where the whole is to be sent (RFC 9110, 14.2).

    Raises ApiError 416 for a range that begins beyond the end.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or (not match[1] and not match[2]):
        return None  # several ranges, another unit, or no range at all: the whole is sent
    if not match[1]:
        first, last = size - min(size, int(match[2])), size - 1
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
    if first >= size or last < first:
        raise ApiError(416, headers=((b"content-range", f"bytes */{size}".encode()),))
    return first, last
