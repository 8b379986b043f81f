"""The journal keeps to its bounds, whatever is sent, and tells no key, however it is spelled."""

import pytest

from sora_mock.domain.text import redacted
from sora_mock.service.calls import Answer, Call
from sora_mock.storage.journal import MOST_BYTES, MOST_RECORDS, Journal, shown


def held(journal: Journal) -> int:
    """Bytes of everything that is kept."""
    return sum(
        len(record.call.body or b"")
        + len(record.answer.body)
        + len(record.call.path)
        + sum(len(name) + len(value) for name, value in record.call.headers.items())
        for record in journal
    )


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (Call("POST", "/", {}, b"x" * 10**6), Answer(200, b"{}")),
        (Call("GET", "/", {}, b""), Answer(206, b"x" * 10**6, (), b"video/mp4")),
        (Call("GET", "/", {b"x" * 60_000: b""}, b""), Answer(200, b"{}")),
        (Call("GET", "/", {b"x": b"y" * 60_000}, b""), Answer(200, b"{}")),
        (Call("GET", "/" + "x" * 60_000, {}, b""), Answer(200, b"{}")),
        (Call("GET", "/", {}, b""), Answer(200, b"x" * 100_000)),
    ],
    ids=["body", "video", "header-name", "header-value", "path", "answer"],
)
def test_no_part_of_a_request_or_an_answer_goes_beyond_the_bound(call: Call, answer: Answer) -> None:
    journal = Journal()
    for number in range(300):
        journal.append(number, call, answer)
    assert held(journal) <= MOST_BYTES


def test_the_oldest_go_first() -> None:
    journal = Journal()
    for number in range(MOST_RECORDS + 5):
        journal.append(number, Call("GET", "/", {}), Answer(200, b"{}"))
    assert [record.number for record in journal] == list(range(5, MOST_RECORDS + 5))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"sk-evo-SECRET"}',
        b'{"\\u0073k-evo-SECRET":1}',
        b'{"\\u0073k-evo-SECRET": ',
        b'{"a":"\\u0073k-evo-SECRET","b":"' + b"x" * 20_000 + b'"}',
        b"sk-evo;SECRET&SECRET,SECRET",
        b"Bearer sk-evo-SECRET and more",
    ],
)
def test_a_key_is_told_in_no_spelling(body: bytes) -> None:
    journal = Journal()
    journal.append(1, Call("POST", "/sk-evo-SECRET;SECRET", {b"x": b"sk-evo-SECRET"}, body), Answer(200, b"{}"))
    assert "SECRET" not in str([shown(record) for record in journal])


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\x07", "\\u0007", "\\U0001f600", "\n", '"', " ", "="])
def test_a_key_is_told_behind_no_escape(escape: str) -> None:
    assert redacted(f'got "{escape}sk-evo-SECRET"') == f'got "{escape}sk-***"'


def test_a_task_id_is_no_key() -> None:
    assert redacted("/v1/tasks/task-unified-1757169743-7cvnl5zw") == "/v1/tasks/task-unified-1757169743-7cvnl5zw"
