"""Byte ranges and entity tags of a file (RFC 9110), as a pure function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.byte_range import VIDEO, byte_range, response_for
from sora_mock.domain.errors import ApiError

BODY = bytes(range(100))
TAG = b'"abc"'


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (b"bytes=0-9", (0, 9)),
        (b" bytes=0-9 ", (0, 9)),
        (b"bytes=90-", (90, 99)),
        (b"bytes=99-99", (99, 99)),
        (b"bytes=50-1000", (50, 99)),
        (b"bytes=-10", (90, 99)),
        (b"bytes=-1000", (0, 99)),
        (b"", None),
        (b"bytes=-", None),
        (b"bytes=9-0", None),
        (b"bytes=0-1,5-6", None),
        (b"items=0-9", None),
        (b"bytes=a-b", None),
        (b"bytes=0-9999999999999999999", None),
    ],
)
def test_one_range_is_taken_and_anything_else_means_the_whole_file(wanted: bytes, part: tuple[int, int] | None) -> None:
    assert byte_range(wanted, 100) == part


@pytest.mark.parametrize("wanted", [b"bytes=100-", b"bytes=100-200", b"bytes=-0"])
def test_a_range_beyond_the_end_is_416_and_names_the_size(wanted: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        byte_range(wanted, 100)
    assert raised.value.status == 416
    assert raised.value.headers == ((b"content-range", b"bytes */100"),)


@given(st.integers(0, 120), st.integers(0, 120) | st.none(), st.integers(1, 100))
def test_a_range_lies_in_the_file_and_begins_where_it_was_asked_to(first: int, last: int | None, size: int) -> None:
    wanted = b"bytes=%d-%s" % (first, b"" if last is None else b"%d" % last)
    try:
        part = byte_range(wanted, size)
    except ApiError:
        assert first >= size
        return
    if part is None:
        assert last is not None
        assert last < first
        return
    assert part[0] == first
    assert first <= part[1] < size
    assert part[1] == (size - 1 if last is None else min(last, size - 1))


@given(st.binary(max_size=30))
def test_every_header_gives_a_part_of_the_file_or_416(wanted: bytes) -> None:
    try:
        part = byte_range(wanted, 100)
    except ApiError:
        return
    assert part is None or 0 <= part[0] <= part[1] < 100


def test_the_whole_file_has_its_tag_and_offers_ranges() -> None:
    response = response_for(BODY, TAG, {})
    assert (response.status, response.body, response.media_type) == (200, BODY, VIDEO)
    assert dict(response.headers) == {b"etag": TAG, b"accept-ranges": b"bytes"}


def test_a_part_says_which_one_it_is() -> None:
    response = response_for(BODY, TAG, {b"range": b"bytes=10-19"})
    assert (response.status, response.body) == (206, BODY[10:20])
    assert dict(response.headers)[b"content-range"] == b"bytes 10-19/100"


@pytest.mark.parametrize("condition", [TAG, b"*", b'W/"abc"', b'"x", "abc"'])
def test_a_file_that_the_client_has_is_not_sent_again(condition: bytes) -> None:
    response = response_for(BODY, TAG, {b"if-none-match": condition, b"range": b"bytes=0-1"})
    assert (response.status, response.body) == (304, b"")
    assert dict(response.headers)[b"etag"] == TAG


def test_a_part_of_another_version_is_not_sent() -> None:
    same = {b"range": b"bytes=10-19", b"if-range": TAG}
    assert response_for(BODY, TAG, same).status == 206
    assert response_for(BODY, TAG, {**same, b"if-range": b'"other"'}).status == 200
    assert response_for(BODY, TAG, {**same, b"if-range": b'"other"', b"range": b"bytes=500-"}).body == BODY
