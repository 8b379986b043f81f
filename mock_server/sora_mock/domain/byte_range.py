"""A file as an HTTP response: whole or one range of it, with the entity tag that lets a client resume (RFC 9110)."""

import re
from collections.abc import Mapping
from typing import Final

from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse

VIDEO: Final = b"video/mp4"

_RANGE: Final = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


def response_for(body: bytes, tag: bytes, headers: Mapping[bytes, bytes]) -> ApiResponse:
    """200, 206 or 304 for a file with that entity tag. headers: of the request. Raises ApiError 416."""
    common = ((b"etag", tag), (b"accept-ranges", b"bytes"))
    if _names(headers.get(b"if-none-match", b""), tag):
        return ApiResponse(304, b"", common)
    # RFC 9110, 13.1.5: under another If-Range the whole file is sent
    wanted = headers.get(b"range", b"") if headers.get(b"if-range", tag) == tag else b""
    part = byte_range(wanted, len(body))
    if part is None:
        return ApiResponse(200, body, common, VIDEO)
    first, last = part
    content_range = f"bytes {first}-{last}/{len(body)}".encode()
    return ApiResponse(206, body[first : last + 1], (*common, (b"content-range", content_range)), VIDEO)


def _names(condition: bytes, tag: bytes) -> bool:
    tags = [part.strip().removeprefix(b"W/") for part in condition.split(b",")]
    return tag in tags or b"*" in tags


def byte_range(wanted: bytes, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range of `size` bytes; None where the whole file is sent (RFC 9110, 14.2).

    Raises ApiError 416 for a range that begins beyond the end.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or (not match[1] and not match[2]):
        return None  # several ranges, another unit, or no range at all
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
