"""The deliveries of one account: its callbacks, when the next attempt of each is due, and which are held back."""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from typing import Final

from sora_mock.domain.delivery import Delivery, next_attempt_at, state
from sora_mock.storage.due import DueQueue

MAX_DELIVERIES: Final = 10_000
"""Deliveries of one account; beyond it the one that finished first is forgotten, or else the oldest pending one."""


class Deliveries:
    """Deliveries by id, oldest first. held: ids of those that wait for another callback to go first."""

    __slots__ = ("_by_id", "_due", "_finished", "held")

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Delivery] = OrderedDict()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._due = DueQueue()
        self.held: tuple[str, ...] = ()

    def get(self, id: str) -> Delivery | None:
        """The delivery of that id; None for none."""
        return self._by_id.get(id)

    def put(self, delivery: Delivery) -> Delivery | None:
        """Stores a new delivery or replaces one of the same id. Returns the one that was forgotten for it, or None."""
        is_full = delivery.id not in self._by_id and len(self._by_id) >= MAX_DELIVERIES
        forgotten = self._forget_one() if is_full else None
        self._by_id[delivery.id] = delivery
        if delivery.attempts and state(delivery) != "pending":
            self._finished[delivery.id] = None
        else:
            self._finished.pop(delivery.id, None)
        return forgotten

    def _forget_one(self) -> Delivery:
        if self._finished:
            id, _ = self._finished.popitem(last=False)
            return self._by_id.pop(id)
        _, delivery = self._by_id.popitem(last=False)
        if len(self._due) > 2 * MAX_DELIVERIES:
            self._forget_stale_times()
        return delivery

    def _forget_stale_times(self) -> None:
        """Forgotten and rescheduled deliveries leave entries behind, which stay until a frozen clock is advanced."""
        self._due = DueQueue()
        for delivery in self._by_id.values():
            self.schedule(delivery)

    def schedule(self, delivery: Delivery) -> bool:
        """Remembers when the next attempt of a delivery is due; False where there is none to come."""
        due_at = next_attempt_at(delivery)
        if due_at is None or due_at == inf:
            return False
        self._due.add(due_at, delivery.id)
        return True

    def pop_due(self, now: float) -> Delivery | None:
        """Removes the earliest attempt from the schedule if it is due at `now`, and returns its delivery."""
        while (entry := self._due.pop_first_due(now)) is not None:
            due_at, id = entry
            # an attempt that was rescheduled leaves its old entry behind
            if (delivery := self._by_id.get(id)) is not None and next_attempt_at(delivery) == due_at:
                return delivery
        return None

    def has_due(self, now: float) -> bool:
        """Whether an attempt may be due at `now`."""
        return self._due.has_due(now)

    def is_due(self, id: str, now: float) -> bool:
        """Whether the next attempt of one delivery is due at `now`."""
        delivery = self._by_id.get(id)
        due_at = None if delivery is None else next_attempt_at(delivery)
        return due_at is not None and due_at <= now

    def next_due_at(self) -> float | None:
        """Time of the earliest attempt; None for none."""
        return self._due.first()

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
