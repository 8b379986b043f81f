"""The deliveries of one account: its callbacks, when the next attempt of each is due, and which are held back."""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from sys import getsizeof
from typing import Final

import msgspec

from sora_mock.domain.delivery import Delivery, next_attempt_at, state
from sora_mock.storage.byte_budget import AccountBytes, Counted
from sora_mock.storage.due import DueQueue

MAX_DELIVERIES: Final = 10_000
"""Deliveries of one account; beyond it the one that finished first is forgotten, or else the oldest pending one."""

DELIVERY_BYTES: Final = 700
"""What a finished delivery counts for besides its texts. A pending one counts with its task, which it needs."""

ATTEMPT_BYTES: Final = 250
"""What an attempt of a finished delivery counts for besides its texts."""


class Deliveries(Counted):
    """Deliveries by id, oldest first. held: ids of those that wait for another callback to go first."""

    __slots__ = ("_by_id", "_due", "_finished", "_sizes", "held")

    def __init__(self, account: AccountBytes | None = None) -> None:
        super().__init__(account)
        self._by_id: OrderedDict[str, Delivery] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
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
        if delivery.attempts or delivery.id in self._sizes:
            self._count(delivery.id, _bytes(delivery))
        if delivery.attempts and state(delivery) != "pending":
            self._finished[delivery.id] = None
        else:
            self._finished.pop(delivery.id, None)
        return forgotten

    def forget(self, id: str) -> Delivery | None:
        """Forgets a delivery, also a pending one whose task is forgotten; returns it. Nothing of it stays."""
        delivery = self._by_id.pop(id, None)
        if delivery is None:
            return None
        self._finished.pop(id, None)
        self._count(id, 0)
        if id in self.held:
            self.held = tuple(each for each in self.held if each != id)
        self._due.drop_stale(len(self._by_id), self._is_live)
        return delivery

    def forget_oldest(self) -> None:
        """Forgets the delivery that has counted longest; of a pending one only the responses of receivers."""
        id = next(iter(self._sizes))
        delivery = self._by_id[id]
        if state(delivery) != "pending":
            self.forget(id)
            return
        attempts = tuple(msgspec.structs.replace(attempt, reply="") for attempt in delivery.attempts)
        self._by_id[id] = msgspec.structs.replace(delivery, attempts=attempts)
        self._count(id, 0)

    def _count(self, id: str, size: int) -> None:
        before = self.size
        self.size += size - self._sizes.pop(id, 0)
        if size:
            self._sizes[id] = size
        self._report(before)

    def _forget_one(self) -> Delivery | None:
        return self.forget(next(iter(self._finished or self._by_id)))

    def schedule(self, delivery: Delivery) -> bool:
        """Remembers when the next attempt of a delivery is due; False where there is none to come."""
        due_at = next_attempt_at(delivery)
        if due_at is None or due_at == inf:
            return False
        self._due.add(due_at, delivery.id)
        if len(self._due) > 2 * len(self._by_id):
            self._due.drop_stale(len(self._by_id), self._is_live)
        return True

    def _is_live(self, due_at: float, id: str) -> bool:
        """Whether an attempt is due at that time. One that was rescheduled leaves its former entry behind."""
        delivery = self._by_id.get(id)
        return delivery is not None and next_attempt_at(delivery) == due_at

    def pop_due(self, now: float) -> Delivery | None:
        """Removes the earliest attempt from the schedule if it is due at `now`, and returns its delivery."""
        while (entry := self._due.pop_first_due(now)) is not None:
            due_at, id = entry
            if self._is_live(due_at, id):
                return self._by_id[id]
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


def _bytes(delivery: Delivery) -> int:
    """What a delivery counts for: of a pending one the replies alone, because only they can be forgotten."""
    if state(delivery) == "pending":
        return sum(getsizeof(attempt.reply) for attempt in delivery.attempts if attempt.reply)
    texts = (delivery.url, delivery.note, *(each for tried in delivery.attempts for each in (tried.reply, tried.error)))
    return DELIVERY_BYTES + ATTEMPT_BYTES * len(delivery.attempts) + sum(getsizeof(each) for each in texts if each)
