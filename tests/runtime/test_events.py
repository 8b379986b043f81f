"""The event bus: who gets an event, in which order, and how many may subscribe."""

import pytest

from sora_mock.domain.events import BugFound, MessageArrived
from sora_mock.runtime import events
from sora_mock.runtime.events import EventBus, TooManySubscribers

BUG = BugFound("Traceback")


def test_every_handler_gets_the_event_in_the_order_of_subscription() -> None:
    bus, seen = EventBus(), []
    for name in ("first", "second", "third"):
        bus.subscribe(BugFound, lambda event, name=name: seen.append((name, event)))  # type: ignore[misc]
    bus.publish(BUG)
    assert seen == [("first", BUG), ("second", BUG), ("third", BUG)]


def test_a_handler_has_seen_an_event_when_publish_returns() -> None:
    bus, seen = EventBus(), list[BugFound]()
    bus.subscribe(BugFound, seen.append)
    for number in range(3):
        bus.publish(BugFound(str(number)))
        assert len(seen) == number + 1
    assert [event.traceback for event in seen] == ["0", "1", "2"]


def test_a_handler_gets_only_events_of_its_class() -> None:
    bus, seen = EventBus(), list[MessageArrived]()
    bus.subscribe(MessageArrived, seen.append)
    bus.publish(BUG)
    assert seen == []


def test_an_event_without_a_subscriber_is_dropped() -> None:
    EventBus().publish(BUG)


def test_after_unsubscribing_a_handler_gets_nothing() -> None:
    bus, seen = EventBus(), list[BugFound]()
    unsubscribe = bus.subscribe(BugFound, seen.append)
    assert bus.has_subscribers(BugFound)
    unsubscribe()
    bus.publish(BUG)
    assert seen == []
    assert not bus.has_subscribers(BugFound)


def test_of_two_equal_subscriptions_one_ends() -> None:
    bus, seen = EventBus(), list[BugFound]()
    unsubscribe = bus.subscribe(BugFound, seen.append)
    bus.subscribe(BugFound, seen.append)
    unsubscribe()
    bus.publish(BUG)
    assert seen == [BUG]


def test_a_handler_may_unsubscribe_while_it_is_called_and_no_other_misses_the_event() -> None:
    bus, seen = EventBus(), list[str]()

    def once(event: BugFound) -> None:
        seen.append("once")
        unsubscribe()

    unsubscribe = bus.subscribe(BugFound, once)
    bus.subscribe(BugFound, lambda event: seen.append("always"))
    bus.publish(BUG)
    bus.publish(BUG)
    assert seen == ["once", "always", "always"]


def test_a_handler_that_subscribes_while_it_is_called_adds_to_later_events_only() -> None:
    bus, seen = EventBus(), list[str]()

    def first(event: BugFound) -> None:
        seen.append("first")
        if not bus.has_subscribers(MessageArrived):
            bus.subscribe(MessageArrived, lambda event: None)
            bus.subscribe(BugFound, lambda event: seen.append("added"))

    bus.subscribe(BugFound, first)
    bus.publish(BUG)
    assert seen == ["first"]
    bus.publish(BUG)
    assert seen == ["first", "first", "added"]


def test_a_handler_may_publish_another_event() -> None:
    bus, seen = EventBus(), list[object]()
    bus.subscribe(BugFound, lambda event: bus.publish(MessageArrived("A", "hook")))
    bus.subscribe(MessageArrived, seen.append)
    bus.publish(BUG)
    assert seen == [MessageArrived("A", "hook")]


def test_the_number_of_subscribers_is_bounded_for_each_kind_of_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_SUBSCRIBERS", 3)
    bus, seen = EventBus(), list[BugFound]()
    ends = [bus.subscribe(BugFound, seen.append) for _ in range(3)]
    with pytest.raises(TooManySubscribers, match="3 subscribers wait for BugFound events already"):
        bus.subscribe(BugFound, seen.append)
    bus.publish(BUG)
    assert len(seen) == 3
    bus.subscribe(MessageArrived, lambda event: None)
    ends[0]()
    bus.subscribe(BugFound, seen.append)
