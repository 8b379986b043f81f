"""The deliveries of one account: its callbacks, when the next attempt of each is due, and which are held back."""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from typing import Final

from sora_mock.domain.delivery import Delivery, next_attempt_at, state
from sora_mock.storage.due import DueQueue

MAX_DELIVERIES: Final = 10_000
"""Deliveries of one account; beyond it a finished one among the oldest is forgotten, a pending one never."""


class Deliveries:
    """Deliveries by id, oldest first. held: ids of those that wait for another callback to go first."""

    __slots__ = ("_by_id", "_due", "held")

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Delivery] = OrderedDict()
        self._due = DueQueue()
        self.held: tuple[str, ...] = ()

    def get(self, id: str) -> Delivery | None:
        """The delivery of that id; None for none."""
        return self._by_id.get(id)

    def put(self, delivery: Delivery) -> None:
        """Stores a new delivery or replaces one of the same id; makes space for a new one first."""
        if delivery.id not in self._by_id and len(self._by_id) >= MAX_DELIVERIES:
            self._forget_one()
        self._by_id[delivery.id] = delivery

    def _forget_one(self) -> None:
        for _ in range(8):
            delivery = next(iter(self._by_id.values()))
            if state(delivery) != "pending":
                del self._by_id[delivery.id]
                return
            self._by_id.move_to_end(delivery.id)

    def schedule(self, delivery: Delivery) -> bool:
        """Remembers when the next attempt of a delivery is due; False where there is none to come."""
        due_at = next_attempt_at(delivery)
        if due_at is None or due_at == inf:
            return False
        self._due.add(due_at, delivery.id)
        return True

    def pop_due(self, now: float) -> list[Delivery]:
        """Removes the schedule of all attempts that are due at `now` and returns their deliveries, earliest first."""
        return [
            delivery
            for due_at, id in self._due.pop_due(now)
            # an attempt that was rescheduled leaves its old entry behind
            if (delivery := self._by_id.get(id)) is not None and next_attempt_at(delivery) == due_at
        ]

    def next_due_at(self) -> float | None:
        """Time of the earliest attempt; None for none."""
        return self._due.first()

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
