"""The journal keeps to its bounds."""

import msgspec
import pytest

from sora_mock.domain.exchange import Exchange
from sora_mock.storage.journal import MAX_BODY_BYTES, MAX_EXCHANGES, MAX_JOURNAL_BYTES, OBJECT_BYTES, Journal


def kept_bytes(journal: Journal) -> int:
    """Bytes of all texts that are kept."""
    return sum(
        len(exchange.body or b"")
        + len(exchange.response_body)
        + len(exchange.path)
        + sum(len(name) + len(value) for name, value in exchange.headers.items())
        for exchange in journal
    )


@pytest.mark.parametrize(
    "exchange",
    [
        Exchange("POST", "/", {}, b"x" * 10**6, status=200, response_body=b"{}"),
        Exchange("GET", "/", {}, status=206, response_body=b"x" * 10**6, media_type=b"video/mp4"),
        Exchange("GET", "/", {b"x" * 60_000: b""}, status=200, response_body=b"{}"),
        Exchange("GET", "/", {b"x": b"y" * 60_000}, status=200, response_body=b"{}"),
        Exchange("GET", "/" + "x" * 60_000, {}, status=200, response_body=b"{}"),
        Exchange("GET", "/", {}, status=200, response_body=b"x" * 100_000),
    ],
    ids=["body", "video", "header-name", "header-value", "path", "response"],
)
def test_no_part_of_a_request_or_a_response_goes_beyond_the_bound(exchange: Exchange) -> None:
    journal = Journal()
    for _ in range(300):
        journal.append(msgspec.structs.replace(exchange))
    assert 0 < len(journal) <= 300
    assert kept_bytes(journal) <= MAX_JOURNAL_BYTES


def test_the_oldest_exchanges_are_forgotten_beyond_the_largest_number() -> None:
    journal = Journal()
    for number in range(MAX_EXCHANGES + 5):
        journal.append(Exchange("GET", "/", {}, number=number, status=200, response_body=b"{}"))
    assert [exchange.number for exchange in journal] == list(range(5, MAX_EXCHANGES + 5))
    assert len(journal) == MAX_EXCHANGES


def test_the_oldest_exchanges_are_forgotten_beyond_the_largest_size() -> None:
    journal = Journal()
    size = OBJECT_BYTES + len("/") + 100_000
    for number in range(100):
        journal.append(Exchange("GET", "/", {}, number=number, status=200, response_body=b"x" * 100_000))
    assert [exchange.number for exchange in journal] == list(range(100 - MAX_JOURNAL_BYTES // size, 100))


def test_the_beginning_of_a_long_request_body_is_kept() -> None:
    journal = Journal()
    journal.append(Exchange("POST", "/", {}, b"ab" * MAX_BODY_BYTES, status=413))
    [exchange] = journal
    assert exchange.body == b"ab" * (MAX_BODY_BYTES // 2)


def test_a_body_that_was_too_large_to_be_read_is_no_problem() -> None:
    journal = Journal()
    journal.append(Exchange("POST", "/", {}, None, status=413, response_body=b"{}"))
    [exchange] = journal
    assert exchange.body is None


def test_only_a_response_of_json_is_kept() -> None:
    journal = Journal()
    journal.append(Exchange("GET", "/files/x", {}, status=200, response_body=b"film", media_type=b"video/mp4"))
    [exchange] = journal
    assert exchange.response_body == b""
