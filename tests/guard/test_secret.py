"""The key is found in every spelling that docs/guard.md names, in linear time."""

import base64
import gzip
import html
import resource
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from sora_mock.guard.secret import MAX_UNPACKED, Secret, TooMuchToSearch

KEY = "sk-live/a+b_1234:567"
RAW = KEY.encode()
SECRET = Secret(RAW)
CLEAN = '{"you sent": "contract-live"}'


def characters(form: str) -> str:
    return "".join(form.format(ord(character)) for character in KEY)


@pytest.mark.parametrize(
    "spelled",
    [
        RAW.hex(),
        RAW.hex().upper(),
        RAW.hex(":"),
        characters("&#{};"),
        characters("&#{}"),
        characters("&#x{:x};"),
        characters("&#x00{:X};"),
        characters("&#{:010d};"),
        characters("&#x{:08x};"),
        characters("&#{:0300d};"),
        characters("\\u{{{:07x}}}"),
        characters("\\u{{{:040x}}}"),
        "=\r\n".join([KEY[:5], KEY[5:]]),
        "=\n".join(KEY),
        html.escape(KEY).replace("/", "&sol;").replace("+", "&plus;").replace("_", "&lowbar;").replace(":", "&colon;"),
        characters("%{:02x}"),
        characters("%25{:02X}"),
        characters("%2525{:02X}"),
        characters("%u{:04x}"),
        characters("\\u{:04x}"),
        characters("\\\\u{:04X}"),
        characters("\\x{:02x}"),
        characters("\\{:03o}"),
        characters("={:02X}"),
        KEY.replace("/", "\\/"),
        KEY.replace("/", "\\\\/"),
        html.escape(characters("%{:02x}")).replace("%", "&#37;"),
    ],
)
def test_the_key_is_found_behind_every_escape_and_nothing_else_changes(spelled: str) -> None:
    assert SECRET.scrubbed(CLEAN.replace("contract-live", spelled).encode()).decode() == CLEAN


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "us", "user:", "Bearer ", "Authorization: Bearer "])
@pytest.mark.parametrize("after", ["", "\n", ", x"])
@pytest.mark.parametrize("padding", ["=", ""])
@pytest.mark.parametrize("wrapped", [False, True])
def test_base64_of_a_text_with_the_key_is_found_at_every_alignment(
    encode: Callable[[bytes], bytes], before: str, after: str, padding: str, wrapped: bool
) -> None:
    text = encode(f"{before}{KEY}{after}".encode()).decode()
    text = text if padding else text.rstrip("=")
    if wrapped:
        text = "\r\n".join(text[at : at + 16] for at in range(0, len(text), 16))
    left = SECRET.scrubbed(f'{{"sent": "{text}"}}'.encode()).decode()
    assert "contract-live" in left
    # what stays is the text before and behind the key, and the characters that encode both that text and the key
    rest = left.removeprefix('{"sent": "').replace("contract-live", "").replace("\r\n", "")
    assert len(rest) <= len(encode(before.encode())) + len(encode(after.encode())) + 8


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be", "utf-32"])
def test_the_key_is_found_in_wide_characters(encoding: str) -> None:
    left = SECRET.scrubbed(f'{{"key": "{KEY}"}}'.encode(encoding))
    assert b"contract-live" in left
    assert KEY not in left.replace(b"\x00", b"").decode("utf-8", "replace")


PLAIN = b'{"key": "' + RAW + b'"}'
NOISE = bytes(range(256)) * 20


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(PLAIN),
        gzip.compress(gzip.compress(PLAIN)),
        gzip.compress(characters("%{:02x}").encode()),
        gzip.compress(NOISE + PLAIN + NOISE)[:-10],
        b"--b\r\n\r\n" + gzip.compress(PLAIN) + b"\r\n--b--",
        gzip.compress(b"other") + gzip.compress(PLAIN),
        gzip.compress(PLAIN)[:-4] + b"\xff\xff\xff\xff",
        zlib.compress(PLAIN),
        zlib.compress(PLAIN)[2:-4],
        gzip.compress(bytes(50_000_000)),
        b"BZh91AY&SY\xff\xfe",
        b"\x28\xb5\x2f\xfd\xff\xfe",
        b"PK\x03\x04\xff\xfe",
    ],
    ids=[
        "gzip",
        "twice",
        "escaped inside",
        "cut",
        "inside",
        "second stream",
        "broken",
        "zlib",
        "deflate",
        "bomb",
        "bzip2",
        "zstd",
        "zip",
    ],
)
def test_a_compressed_part_with_the_key_or_that_cannot_be_searched_is_replaced(packed: bytes) -> None:
    left = SECRET.scrubbed(packed)
    assert left.endswith(b"contract-live")
    assert len(left) < 100


def test_what_does_not_hold_the_key_is_unchanged() -> None:
    for data in (
        b'{"id": "task-unified-1", "text": "100%25 &amp; \\"more\\" =3D \\u0073k-"}\r\n',
        gzip.compress(b"nothing"),
        zlib.compress(b"nothing"),
        "sk-ähnlich".encode("utf-16"),
        NOISE,
        base64.b64encode(NOISE),
    ):
        assert SECRET.scrubbed(data) == data


def test_a_key_that_looks_like_a_pattern_or_repeats_itself_is_found() -> None:
    for key in (b"(a+)+$|.*sk-1234", b"a" * 4096, b"sk-sk-sk-sk-sk-x", b"\\u0073k-\\/%73&amp;"):
        assert Secret(key).scrubbed(b"<" + key + b">") == b"<contract-live>"


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"\\" * (MAX_UNPACKED - 1)) * 8,
        gzip.compress(b"\\" * 1_900_000 + b"x") * 8,
        gzip.compress(bytes(MAX_UNPACKED - 1)) * 16,
        b"\\" * MAX_UNPACKED,
        b"\\a" * MAX_UNPACKED,
        b"\x00\r" * MAX_UNPACKED,
        b"%u0073" * 5_000_000,
    ],
    ids=["8 streams", "8 small streams", "16 streams", "backslashes", "pairs", "left out", "long"],
)
def test_a_search_that_would_take_too_long_ends_early_with_bounded_memory(data: bytes) -> None:
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    tracemalloc.start()
    try:
        with pytest.raises(TooMuchToSearch):
            SECRET.scrubbed(data)
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - began < 10


def test_the_parts_of_one_response_share_one_limit() -> None:
    part = b"&" * 1_000_000
    assert SECRET.all_scrubbed([part] * 3) == [part] * 3
    with pytest.raises(TooMuchToSearch):
        SECRET.all_scrubbed([part] * 4)


def test_leading_zeros_alone_are_no_character_of_the_key() -> None:
    for data in (b"&#" + b"0" * 100 + b";", b"&#x" + b"0" * 100 + b";", b"\\u{" + b"0" * 100 + b"}"):
        assert SECRET.scrubbed(data + RAW) == data + b"contract-live"


SLOW = {
    "percent": b"%73",
    "backslashes": b"\\",
    "json": b"\\u0073",
    "html": b"&#115;",
    "ampersands": b"&",
    "lines": b"\n ",
    "utf-16": b"s\x00k\x00-\x00",
    "zlib": zlib.compress(b"a"),
}
FAST = {
    "text": b'{"id": "task-unified-1757169743-7cvnl5zw", "text": "nothing of it"} ',
    "key": RAW,
    "beginning of the key": RAW[:-1],
    "zeros": b"\x00",
    "base64": base64.b64encode(b"Bearer " + RAW),
    "bytes": NOISE,
    "gzip": gzip.compress(b"a"),
    "gzip heads": b"\x1f\x8b\x08",
}


@pytest.mark.parametrize(
    ("name", "size"), [*((name, 10_000_000) for name in FAST), *((name, 2_000_000) for name in SLOW)]
)
def test_scrubbing_takes_time_in_proportion_to_the_size(name: str, size: int) -> None:
    unit = (FAST | SLOW)[name]

    def seconds(size: int) -> float:
        data = (unit * (size // len(unit) + 1))[:size]
        # processor time: other processes do not count
        began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        SECRET.scrubbed(data)
        return resource.getrusage(resource.RUSAGE_SELF).ru_utime - began

    # with the square, it would be a hundred times as long
    assert seconds(size) < 40 * max(seconds(size // 10), 0.01)
