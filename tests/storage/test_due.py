"""The queue of due times: entries come out in the order of their times, each once, in any order of arrival."""

from hypothesis import given
from hypothesis import strategies as st

from sora_mock.storage.due import DueQueue

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
