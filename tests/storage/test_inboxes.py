"""The inboxes of one account: what they keep, what they reply, and their bounds."""

import pytest

from sora_mock.storage import inboxes as module
from sora_mock.storage.inboxes import Inboxes, InboxMessage, InboxReply


def message(body: bytes) -> InboxMessage:
    return InboxMessage(1.0, {}, body)


def empty() -> Inboxes:
    return Inboxes(lambda name: ())


def test_messages_are_kept_by_inbox_oldest_first() -> None:
    inboxes = empty()
    for name, body in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        inboxes.receive(name, message(body))
    assert [each.body for each in inboxes.messages("a")] == [b"1", b"3"]
    assert [each.body for each in inboxes.messages("b")] == [b"2"]


def test_an_inbox_exists_from_its_first_use() -> None:
    inboxes = empty()
    assert "a" not in inboxes
    assert inboxes.messages("a") == []
    assert "a" in inboxes


def test_an_inbox_replies_200_at_once_by_default() -> None:
    assert empty().receive("a", message(b"")) == InboxReply(200, 0.0)


def test_replies_are_used_in_their_order_and_the_last_one_for_ever() -> None:
    inboxes = empty()
    inboxes.set_replies("a", (InboxReply(500), InboxReply(503), InboxReply(204)))
    assert [inboxes.receive("a", message(b"")).status for _ in range(5)] == [500, 503, 204, 204, 204]
    assert inboxes.receive("b", message(b"")).status == 200


def test_a_new_inbox_begins_with_the_replies_for_its_name() -> None:
    inboxes = Inboxes(lambda name: (InboxReply(503),) if name == "broken" else ())
    assert inboxes.receive("broken", message(b"")).status == 503
    assert inboxes.receive("whole", message(b"")).status == 200


def test_beyond_the_largest_number_the_oldest_messages_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 3)
    inboxes = empty()
    for number in range(5):
        inboxes.receive("a", message(str(number).encode()))
    assert [each.body for each in inboxes.messages("a")] == [b"2", b"3", b"4"]


def test_beyond_the_largest_size_the_oldest_messages_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 10)
    inboxes = empty()
    for body in (b"1234", b"5678", b"90", b"abc"):
        inboxes.receive("a", message(body))
    assert [each.body for each in inboxes.messages("a")] == [b"5678", b"90", b"abc"]
    inboxes.receive("a", message(b"x" * 11))
    assert inboxes.messages("a") == []
    inboxes.receive("a", message(b"fits again"))
    assert len(inboxes.messages("a")) == 1


def test_headers_count_for_the_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 10)
    inboxes = empty()
    for number in range(3):
        inboxes.receive("a", InboxMessage(float(number), {"x": "1234"}, b""))
    assert [each.at for each in inboxes.messages("a")] == [1.0, 2.0]


def test_the_oldest_message_of_any_inbox_is_forgotten_first_and_then_the_oldest_inbox() -> None:
    inboxes = empty()
    inboxes.set_replies("first", (InboxReply(500), InboxReply(204)))
    for name, body in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        inboxes.receive(name, message(body))
    left = []
    while inboxes.size:
        left.append([name for name in ("first", "a", "b") if name in inboxes])
        inboxes.forget_oldest()
    assert left == [["first", "a", "b"]] * 4 + [["a", "b"], ["b"]]


def test_beyond_the_largest_number_the_oldest_inbox_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INBOXES", 2)
    inboxes = empty()
    for name in ("a", "b", "c"):
        inboxes.receive(name, message(b"x"))
    assert [name in inboxes for name in ("a", "b", "c")] == [False, True, True]
