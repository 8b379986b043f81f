"""The journal keeps exchanges as they were, within its bounds."""

from typing import get_args

import msgspec
import pytest

from sora_mock.domain.exchange import Exchange
from sora_mock.domain.fault import Fault
from sora_mock.domain.scenario import Shape
from sora_mock.storage.journal import (
    MAX_BODY_BYTES,
    MAX_EXCHANGES,
    MAX_HEADER_BYTES,
    MAX_JOURNAL_BYTES,
    OBJECT_BYTES,
    Journal,
    unpacked,
)
from sora_mock.storage.journal import number as number_of


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


FULL = Exchange(
    "POST",
    "/v1/videos/generations\u00e9",
    {b"authorization": b"Bearer sk-a", b"x-bytes": bytes(range(256)), b"": b""},
    b'{"prompt": "\xff\x00"}',
    "http://localhost:4010",
    started=12_345.678901234567,
    number=2**53,
    account="ABCDEFGHIJKLMNOPQR",
    at=1_795_341_600.1234567,
    is_frozen=True,
    task_id="task-unified-1795341600-abcdefgh",
    scenario="slow_headers",
    rule="queue rule 1",
    unmatched=["queue rule 1: duration is 10, not 15", "\u732b"],
    fault="slow_body",
    latency=0.1,
    shape="numeric_error_code",
    status=200,
    response_body=b'{"id": 1}',
    duration=0.000123456789,
    has_unread_body=True,
    hint="keys begin with sk-",
)


def test_the_example_gives_every_field_another_value_than_its_default() -> None:
    # the size is known when the exchange is kept; a response that is not JSON has a test of its own
    special = {"size", "media_type"}
    fields = [each for each in msgspec.structs.fields(Exchange) if not each.required and each.name not in special]
    assert [each.name for each in fields if getattr(FULL, each.name) == each.default] == []


@pytest.mark.parametrize(
    "exchange",
    [
        FULL,
        Exchange("-", "-", {}, status=400, response_body=b"{}"),
        Exchange("POST", "/", {}, None, status=413, response_body=b"{}", has_unread_body=True),
        *(msgspec.structs.replace(FULL, fault=fault) for fault in get_args(Fault)),
        *(msgspec.structs.replace(FULL, shape=shape) for shape in get_args(Shape)),
    ],
    ids=lambda exchange: f"{exchange.method} {exchange.status} {exchange.fault} {exchange.shape}",
)
def test_a_kept_exchange_equals_the_one_that_was_appended(exchange: Exchange) -> None:
    journal = Journal()
    appended = msgspec.structs.replace(exchange)
    journal.append(appended)
    for _ in range(2):
        [kept] = journal
        # the journal packs an exchange before it knows its size
        assert msgspec.structs.asdict(kept) == {**msgspec.structs.asdict(exchange), "unmatched": [*exchange.unmatched]}
        assert kept is not appended
    assert appended.size > OBJECT_BYTES + len(exchange.path) + len(exchange.response_body)


def test_a_change_of_an_exchange_after_it_was_appended_is_not_kept() -> None:
    journal = Journal()
    exchange = msgspec.structs.replace(FULL)
    journal.append(exchange)
    exchange.status, exchange.response_body = 500, b"changed"
    [kept] = journal
    assert (kept.status, kept.response_body) == (FULL.status, FULL.response_body)


def test_headers_beyond_the_bound_are_left_out_whole() -> None:
    journal = Journal()
    headers = {b"a": b"x" * (MAX_HEADER_BYTES - 100), b"b": b"https://me:secret@a.example/" + b"x" * 100, b"c": b"y"}
    journal.append(Exchange("GET", "/", headers, status=200, response_body=b"{}"))
    [kept] = journal
    assert list(kept.headers) == [b"a", b"c"]


def test_headers_within_the_bound_are_kept_beside_a_large_body() -> None:
    journal, headers = Journal(), {b"a": b"x" * (MAX_HEADER_BYTES - 1)}
    journal.append(Exchange("POST", "/", headers, b"y" * MAX_BODY_BYTES, status=200, response_body=b"{}"))
    [kept] = journal
    assert kept.headers == headers


@pytest.mark.parametrize("exchange", [Exchange("GET", "/", {}, number=7), Exchange("POST", "/é", {b"a": b"b"}, None)])
def test_the_number_of_a_packed_exchange_is_that_of_the_exchange(exchange: Exchange) -> None:
    journal = Journal()
    journal.append(exchange)
    [packed] = journal.newest(10)
    assert number_of(packed) == unpacked(packed).number == exchange.number
