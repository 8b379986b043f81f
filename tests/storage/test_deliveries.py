"""The deliveries of one account: when the next attempt is due, and which delivery is forgotten beyond the bound."""

from math import inf

import msgspec
import pytest

from sora_mock.domain.delivery import Attempt, Delivery
from sora_mock.storage import deliveries as module
from sora_mock.storage.deliveries import Deliveries


def delivery(id: str, first_at: float = 10.0, *statuses: int) -> Delivery:
    attempts = tuple(
        Attempt(number, first_at, first_at, status, None, 0.0) for number, status in enumerate(statuses, start=1)
    )
    return Delivery(id, f"task-{id}", "https://a.example/", first_at, attempts=attempts)


def stored(*deliveries: Delivery) -> Deliveries:
    kept = Deliveries()
    for each in deliveries:
        kept.put(each)
        kept.schedule(each)
    return kept


def due(kept: Deliveries, now: float) -> list[Delivery]:
    """What is due at `now`, earliest first."""
    found = []
    while (each := kept.pop_due(now)) is not None:
        found.append(each)
    return found


def test_a_delivery_is_found_by_its_id_and_replaced_under_it() -> None:
    kept = stored(delivery("a"))
    changed = delivery("a", 20.0)
    kept.put(changed)
    assert kept.get("a") == changed
    assert kept.get("b") is None
    assert (len(kept), list(kept)) == (1, [changed])


def test_attempts_are_due_in_the_order_of_their_times() -> None:
    kept = stored(delivery("late", 12.0), delivery("early", 11.0), delivery("later", 13.0))
    assert kept.next_due_at() == 11.0
    assert [each.id for each in due(kept, 12.0)] == ["early", "late"]
    assert kept.next_due_at() == 13.0
    assert due(kept, 12.0) == []


def test_a_delivery_that_never_falls_due_or_is_over_is_not_scheduled() -> None:
    kept = Deliveries()
    assert not kept.schedule(delivery("endless", inf))
    assert not kept.schedule(delivery("done", 10.0, 200))
    assert not kept.schedule(delivery("failed", 10.0, 500, 500, 500, 500))
    assert kept.next_due_at() is None


def test_a_delivery_that_was_scheduled_anew_is_due_once() -> None:
    kept = stored(delivery("a", 30.0))
    moved = delivery("a", 20.0)
    kept.put(moved)
    kept.schedule(moved)
    assert due(kept, 20.0) == [moved]
    assert due(kept, 100.0) == []


def test_a_retry_is_due_after_its_delay() -> None:
    kept = stored(delivery("a", 10.0, 500))
    assert kept.next_due_at() == 11.0


def test_beyond_the_bound_the_oldest_finished_delivery_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 3)
    kept = stored(delivery("pending"), delivery("old", 10.0, 200), delivery("new", 10.0, 200))
    kept.put(delivery("one more"))
    assert {each.id for each in kept} == {"pending", "new", "one more"}
    kept.put(delivery("another"))
    assert {each.id for each in kept} == {"pending", "one more", "another"}


def test_a_delivery_is_replaced_without_another_being_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 2)
    kept = stored(delivery("a", 10.0, 200), delivery("b"))
    kept.put(msgspec.structs.replace(delivery("b"), note="routed"))
    assert [each.id for each in kept] == ["a", "b"]


def test_a_forgotten_delivery_leaves_nothing_behind() -> None:
    kept = stored(delivery("pending"), delivery("done", 10.0, 200), delivery("retried", 10.0, 500))
    kept.held = ("pending",)
    for id in ("pending", "done", "retried", "unknown"):
        kept.forget(id)
    assert (len(kept), kept.size, len(kept.held)) == (0, 0, 0)
    assert kept.next_due_at() is None


def test_a_delivery_that_is_rescheduled_again_and_again_keeps_few_entries() -> None:
    kept = stored(delivery("a", 1e6))
    for number in range(10_000):
        moved = delivery("a", 1e6 - number)
        kept.put(moved)
        kept.schedule(moved)
    assert len(kept._due) < 100
    assert due(kept, 2e6) == [moved]


def test_a_pending_delivery_counts_with_its_task_and_a_finished_one_in_the_budget() -> None:
    kept = stored(delivery("pending"))
    assert kept.size == 0
    kept.put(delivery("done", 10.0, 200))
    assert kept.size > 900


def test_of_a_pending_delivery_only_the_replies_of_receivers_are_forgotten() -> None:
    attempt = Attempt(1, 10.0, 10.0, 500, None, 0.1, reply="x" * 4096)
    pending = Delivery("a", "task-a", "https://a.example/", 10.0, attempts=(attempt,))
    kept = stored(pending)
    assert kept.size > 4096
    kept.forget_oldest()
    assert kept.size == 0
    assert list(kept) == [msgspec.structs.replace(pending, attempts=(msgspec.structs.replace(attempt, reply=""),))]
    assert kept.next_due_at() == 11.0


def test_where_all_are_pending_the_oldest_one_is_forgotten_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 3)
    kept = Deliveries()
    forgotten = [kept.put(delivery(str(number))) for number in range(5)]
    assert [each and each.id for each in forgotten] == [None, None, None, "0", "1"]
    assert [each.id for each in kept] == ["2", "3", "4"]


def test_a_delivery_that_is_pending_again_is_not_the_finished_one_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 2)
    again = msgspec.structs.replace(delivery("again", 10.0, 200), variant="duplicate")
    kept = stored(delivery("again", 10.0, 200), delivery("done", 10.0, 200))
    kept.put(again)
    kept.put(delivery("new"))
    assert [each.id for each in kept] == ["again", "new"]


def test_deliveries_that_were_forgotten_leave_no_due_times_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 10)
    kept = stored(*(delivery(str(number), 10.0 + number) for number in range(1_000)))
    assert len(kept._due) <= 2 * 10 + 1
    assert [each.id for each in due(kept, 2_000.0)] == [str(number) for number in range(990, 1_000)]


def test_a_delivery_is_due_from_its_time_until_it_is_over() -> None:
    kept = stored(delivery("a", 10.0), delivery("done", 10.0, 200))
    assert [kept.is_due("a", 9.0), kept.is_due("a", 10.0)] == [False, True]
    assert not kept.is_due("done", 100.0)
    assert not kept.is_due("unknown", 100.0)
