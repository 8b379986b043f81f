"""Result files as a careful client fetches them: byte ranges, entity tags, conditions."""

from typing import Any

import httpx
import pytest

from contract_tests.links import completed_path, described
from contract_tests.reading import error_of
from contract_tests.service import Service
from sora_mock.client import Account

RECORDED = "recorded responses, result links (R)"


@pytest.fixture
def keyless(service: Service) -> Service:
    """A client without a key, as anyone who has a link uses."""
    return service.with_key(None)


@pytest.fixture
def path(service: Service, mock: Account) -> str:
    """The path of the link of a task that has just completed."""
    return completed_path(service, mock)


def part_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, body and Content-Range."""
    return response.status_code, described(response.content), response.headers.get("content-range")


@pytest.mark.contract(id="link.range.*", source=RECORDED, needs={"clock"})
@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        pytest.param(
            header,
            first,
            end,
            id=name,
            marks=pytest.mark.contract(claim=f"Range: {header} gets 206 with exactly these bytes"),
        )
        for name, header, first, end in (
            ("first", "bytes=0-9", 0, 10),
            ("middle", "bytes=100-199", 100, 200),
            ("open", "bytes=100-", 100, None),
            ("suffix", "bytes=-50", -50, None),
            ("beyond", "bytes=10-99999999", 10, None),
        )
    ],
)
def test_a_range_gets_206_with_exactly_these_bytes(
    keyless: Service, path: str, header: str, first: int, end: int | None
) -> None:
    whole = keyless.get(path).content
    start, stop, _ = slice(first, end).indices(len(whole))
    response = keyless.get(path, headers={"Range": header})
    assert part_of(response) == (206, described(whole[first:end]), f"bytes {start}-{stop - 1}/{len(whole)}")


@pytest.mark.contract(id="link.range.416", source="RFC 9110, 15.5.17", needs={"clock"})
def test_a_range_beyond_the_end_gets_416_with_the_size(keyless: Service, path: str) -> None:
    size = len(keyless.get(path).content)
    response = keyless.get(path, headers={"Range": f"bytes={size}-"})
    assert response.status_code == 416
    assert response.headers.get("content-range") == f"bytes */{size}"


@pytest.mark.contract(id="link.range.ignored", source="RFC 9110, 14.2", needs={"clock"})
def test_a_range_that_cannot_be_read_is_ignored(keyless: Service, path: str) -> None:
    ranges = ["bytes=5-2", "bytes=x", "seconds=1-2", "bytes=0-1,4-5"]
    statuses = {each: keyless.get(path, headers={"Range": each}).status_code for each in ranges}
    assert statuses == dict.fromkeys(ranges, 200)


@pytest.mark.contract(id="link.range.edges", source="RFC 9110, 14.1.2 and 15.5.17", needs={"clock"})
def test_ranges_at_the_edges_of_the_file(keyless: Service, path: str) -> None:
    """Ranges at the edges of the file get 206 with exactly these bytes, beyond it 416."""
    whole = keyless.get(path)
    size = len(whole.content)
    last = size - 1
    assert whole.headers.get("accept-ranges") == "bytes"
    # the first byte of each range and the byte after its last one
    ranges = {
        "bytes=0-0": (0, 1),
        "bytes=7-7": (7, 8),
        "bytes=3-4": (3, 5),
        "bytes=0-": (0, size),
        f"bytes={last}-": (last, size),
        f"bytes={last}-{last}": (last, size),
        f"bytes={last - 1}-{size + 5}": (last - 1, size),
        f"bytes=9-{last}": (9, size),
        f"bytes=0-{size}": (0, size),
        "bytes=-1": (last, size),
        f"bytes=-{size}": (0, size),
        f"bytes=-{size + 9}": (0, size),
    }
    for header, (first, end) in ranges.items():
        response = keyless.get(path, headers={"Range": header})
        assert part_of(response) == (206, described(whole.content[first:end]), f"bytes {first}-{end - 1}/{size}"), (
            header
        )
        assert response.headers.get("accept-ranges") == "bytes", header
        assert response.headers.get("content-type") == "video/mp4", header
    for header in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0", f"bytes={size + 1}-"):
        response = keyless.get(path, headers={"Range": header})
        assert error_of(response)[:3] == (416, "range_not_satisfiable", "invalid_request_error"), header
        assert response.headers.get("content-range") == f"bytes */{size}", header
    for header in ("bytes=-", "bytes=8-7", "bytes 0-9", "xbytes=0-9", "bytes=0-9x", f"bytes={size}-{size - 1}"):
        response = keyless.get(path, headers={"Range": header})
        assert (response.status_code, len(response.content)) == (200, size), header
    response = keyless.head(path, headers={"Range": "bytes=0-9"})
    found = (response.status_code, response.headers.get("content-length"), response.content)
    assert found == (200, str(size), b"")


@pytest.mark.contract(id="link.conditional.none_match", source="RFC 9110, 13.1.2", needs={"clock"})
def test_if_none_match_with_the_entity_tag_gets_304(keyless: Service, path: str) -> None:
    """If-None-Match with the file's entity tag gets 304 without a body, any other the whole file."""
    whole = keyless.get(path)
    tag = whole.headers.get("etag", "")
    assert len(tag) > 8
    assert tag[0] == tag[-1] == '"'
    assert keyless.get(path).headers.get("etag") == tag
    # alone, weak, in a list, and any tag
    for condition in (tag, f"W/{tag}", f'"a", {tag},"b"', "*"):
        for method in ("GET", "HEAD"):
            response = keyless.request(method, path, headers={"If-None-Match": condition})
            assert (response.status_code, len(response.content)) == (304, 0), (method, condition)
            assert response.headers.get("etag") == tag, (method, condition)
            assert response.headers.get("content-type") is None, (method, condition)
    for condition in ('"other"', tag[:-2] + '"', ""):
        response = keyless.get(path, headers={"If-None-Match": condition})
        assert part_of(response) == (200, described(whole.content), None), condition
    assert keyless.get(path, headers={"If-None-Match": tag, "Range": "bytes=0-9"}).status_code == 304


@pytest.mark.contract(id="link.conditional.if_range", source="RFC 9110, 13.1.5", needs={"clock"})
def test_if_range_with_the_entity_tag_gets_the_range(
    service: Service, keyless: Service, mock: Account, path: str
) -> None:
    """If-Range with the file's tag gets the range, with another one the whole file; two files have two tags."""

    def rest(tag: Any) -> httpx.Response:
        return keyless.get(path, headers={"Range": "bytes=5-", "If-Range": tag})

    whole = keyless.get(path)
    tag = whole.headers.get("etag", "")
    other = keyless.get(completed_path(service, mock, duration=15)).headers.get("etag", "")
    assert tag != other
    assert part_of(rest(tag))[:2] == (206, described(whole.content[5:]))
    assert rest(tag).headers.get("etag") == tag
    for condition in (other, '"x"'):
        assert part_of(rest(condition))[:2] == (200, described(whole.content)), condition
