"""The queue of due times: entries come out in the order of their times, each once, in any order of arrival."""

from hypothesis import given
from hypothesis import strategies as st

from sora_mock.storage.due import SPARE_ENTRIES, DueQueue

times = st.floats(0, 100)


def filled(*due_at: float) -> DueQueue:
    queue = DueQueue()
    for number, each in enumerate(due_at):
        queue.add(each, str(number))
    return queue


def test_an_empty_queue_has_nothing_due() -> None:
    queue = DueQueue()
    assert queue.first() is None
    assert not queue.has_due(1e12)
    assert queue.pop_due(1e12) == []
    assert len(queue) == 0


def test_an_entry_is_due_at_exactly_its_time() -> None:
    queue = filled(5.0)
    assert not queue.has_due(4.999)
    assert queue.has_due(5.0)
    assert queue.pop_due(4.999) == []
    assert queue.pop_due(5.0) == [(5.0, "0")]
    assert not queue.has_due(5.0)


def test_entries_that_arrive_late_come_out_in_their_place() -> None:
    queue = filled(3, 7, 5, 1, 9, 5)
    assert queue.first() == 1
    assert queue.pop_due(5) == [(1, "3"), (3, "0"), (5, "2"), (5, "5")]
    assert queue.first() == 7
    assert [id for _, id in queue.pop_due(100)] == ["1", "4"]


def test_stale_entries_at_the_front_go_at_once() -> None:
    queue = filled(1, 2, 3, 0.5)
    queue.drop_stale(4, lambda due_at, id: id == "2")
    assert len(queue) == 1
    assert queue.pop_due(10) == [(3, "2")]


def test_stale_entries_go_when_they_outnumber_the_live_ones() -> None:
    queue = filled(0, *range(10_000, 0, -1))
    queue.drop_stale(1, lambda due_at, id: due_at in (0, 10_000))
    assert len(queue) == 2
    assert queue.pop_due(20_000) == [(0, "0"), (10_000, "1")]


def test_an_entry_that_occurs_twice_is_kept_once() -> None:
    queue = DueQueue()
    for _ in range(1_000):
        queue.add(5.0, "a")
    queue.drop_stale(1, lambda due_at, id: True)
    assert queue.pop_due(5.0) == [(5.0, "a")]


@given(st.lists(times, max_size=200), st.sets(st.integers(0, 199)), st.integers(0, 200))
def test_no_live_entry_is_ever_dropped(due_at: list[float], live: set[int], most_live: int) -> None:
    queue = filled(*due_at)
    queue.drop_stale(most_live, lambda _, id: int(id) in live)
    left = queue.pop_due(100)
    expected = sorted((time, str(number)) for number, time in enumerate(due_at) if number in live)
    assert [entry for entry in left if int(entry[1]) in live] == expected
    assert len(left) <= max(2 * most_live + SPARE_ENTRIES, len(expected))


@given(st.lists(st.tuples(st.just("add"), times) | st.tuples(st.just("pop"), times), max_size=60))
def test_the_queue_agrees_with_a_sorted_list(steps: list[tuple[str, float]]) -> None:
    queue, expected = DueQueue(), list[tuple[float, str]]()
    for number, (step, time) in enumerate(steps):
        if step == "add":
            queue.add(time, str(number))
            expected.append((time, str(number)))
        else:
            assert queue.has_due(time) == any(due_at <= time for due_at, _ in expected)
            found = queue.pop_due(time)
            assert [due_at for due_at, _ in found] == sorted(due_at for due_at, _ in expected if due_at <= time)
            assert set(found) == {each for each in expected if each[0] <= time}
            expected = [each for each in expected if each[0] > time]
        assert len(queue) == len(expected)
        assert queue.first() == min((due_at for due_at, _ in expected), default=None)


@given(st.lists(times, max_size=40), times)
def test_entries_taken_one_by_one_are_those_that_are_taken_together(due_at: list[float], now: float) -> None:
    one_by_one, together = filled(*due_at), filled(*due_at)
    found, expected = [], together.pop_due(now)
    while (entry := one_by_one.pop_first_due(now)) is not None:
        found.append(entry)
    assert [each for each, _ in found] == [each for each, _ in expected]
    assert set(found) == set(expected)
    assert len(one_by_one) == len(together)
