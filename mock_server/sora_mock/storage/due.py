"""A queue of due times, each with an id. Most times arrive in rising order, so only the others need a heap."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

SPARE_ENTRIES: Final = 64
"""Stale entries that are left in a small queue."""


class DueQueue:
    """Times (Unix seconds of an account's clock) and ids, taken out in the order of their times.

    Times and ids that arrive in rising order are kept in two deques: a million pairs would cost 56 MB more.
    """

    __slots__ = ("_heap", "_ids", "_times")

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._ids: deque[str] = deque()
        self._heap: list[tuple[float, str]] = []

    def add(self, due_at: float, id: str) -> None:
        """Adds one entry."""
        times = self._times
        if times and due_at < times[-1]:
            heappush(self._heap, (due_at, id))
        else:
            times.append(due_at)
            self._ids.append(id)

    def has_due(self, now: float) -> bool:
        """Whether any entry is due at `now`."""
        times, heap = self._times, self._heap
        return bool((times and times[0] <= now) or (heap and heap[0][0] <= now))

    def pop_due(self, now: float) -> list[tuple[float, str]]:
        """Removes and returns all entries that are due at `now`, earliest first."""
        times, heap = self._times, self._heap
        found = []
        while times and times[0] <= now:
            found.append((times.popleft(), self._ids.popleft()))
        if heap and heap[0][0] <= now:
            while heap and heap[0][0] <= now:
                found.append(heappop(heap))
            found.sort()
        return found

    def pop_first_due(self, now: float) -> tuple[float, str] | None:
        """Removes and returns the earliest entry, if it is due at `now`; otherwise None."""
        times, heap = self._times, self._heap
        if heap and heap[0][0] <= now and not (times and times[0] <= heap[0][0]):
            return heappop(heap)
        if times and times[0] <= now:
            return times.popleft(), self._ids.popleft()
        return None

    def first(self) -> float | None:
        """The earliest time; None for an empty queue."""
        return min((*([self._times[0]] if self._times else []), *(heap[0] for heap in self._heap[:1])), default=None)

    def drop_stale(self, most_live: int, is_live: Callable[[float, str], bool]) -> None:
        """Removes stale entries, whose time was moved or whose id was forgotten: those at the front at once, the others
        when they outnumber the live ones. So the cost for each stale entry is constant.

        most_live: how many entries can be live. is_live: whether an entry is; entries that occur twice count as one.
        """
        times, ids, heap = self._times, self._ids, self._heap
        while times and not is_live(times[0], ids[0]):
            times.popleft()
            ids.popleft()
        while heap and not is_live(*heap[0]):
            heappop(heap)
        if len(self) > 2 * most_live + SPARE_ENTRIES:
            # mostly in order already, which makes the sort linear
            live = sorted(dict.fromkeys(entry for entry in (*zip(times, ids, strict=True), *heap) if is_live(*entry)))
            self._times, self._ids = deque(due_at for due_at, _ in live), deque(id for _, id in live)
            self._heap = []

    def __len__(self) -> int:
        return len(self._times) + len(self._heap)
