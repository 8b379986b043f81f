"""A queue of due times, each with an id. Most times arrive in rising order, so only the others need a heap."""

from collections import deque
from heapq import heappop, heappush


class DueQueue:
    """Times (Unix seconds of an account's clock) and ids, taken out in the order of their times."""

    __slots__ = ("_heap", "_line")

    def __init__(self) -> None:
        self._line: deque[tuple[float, str]] = deque()
        self._heap: list[tuple[float, str]] = []

    def add(self, due_at: float, id: str) -> None:
        """Adds one entry."""
        if self._line and due_at < self._line[-1][0]:
            heappush(self._heap, (due_at, id))
        else:
            self._line.append((due_at, id))

    def has_due(self, now: float) -> bool:
        """Whether any entry is due at `now`."""
        line, heap = self._line, self._heap
        return bool((line and line[0][0] <= now) or (heap and heap[0][0] <= now))

    def pop_due(self, now: float) -> list[tuple[float, str]]:
        """Removes and returns all entries that are due at `now`, earliest first."""
        line, heap = self._line, self._heap
        found = []
        while line and line[0][0] <= now:
            found.append(line.popleft())
        if heap and heap[0][0] <= now:
            while heap and heap[0][0] <= now:
                found.append(heappop(heap))
            found.sort()
        return found

    def first(self) -> float | None:
        """The earliest time; None for an empty queue."""
        return min((entries[0][0] for entries in (self._line, self._heap) if entries), default=None)

    def __len__(self) -> int:
        return len(self._line) + len(self._heap)
