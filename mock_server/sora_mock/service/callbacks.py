"""The facts of callbacks: which addresses are accepted, what is to be delivered where, and what became of it."""

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from sora_mock.config.settings import Settings
from sora_mock.domain import callback_url, lifecycle
from sora_mock.domain.delivery import (
    LATE_DELAY,
    Attempt,
    CallbackVariant,
    Delivery,
    Destination,
    delivery_id,
    destination,
    next_attempt_at,
    state,
)
from sora_mock.domain.task import Task
from sora_mock.storage.inbox import MOST_INBOXES, Inbox, Message, Reply
from sora_mock.storage.memory import Account, Store

MOST_DELIVERIES: Final = 10_000
"""Deliveries that an account keeps; the oldest that is over goes first, one that is pending never."""


class Callbacks:
    """What the emulator, the control API and the worker do with them.

    on_due: is told of an account whose next moment may have changed. It makes the attempts.
    on_attempt: is told of each attempt that is over, None where nobody wants to know.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.allowed = frozenset(settings.allow_callback)
        self.watchers: set[Callable[[], None]] = set()
        """Who wants to know when any inbox gets a message."""
        self.on_due: Callable[[Account], None] = lambda account: None
        self.on_attempt: Callable[[Delivery, Attempt], None] | None = None

    def refusal(self, account: Account, url: str) -> str | None:
        """Why the address is refused; None where it is accepted, by the service's rules or by the user's leave."""
        refused = callback_url.rejection(url)
        if refused is None or self._destination(account, url, refused).trusted:
            return None
        return refused

    def destination(self, account: Account, url: str) -> Destination:
        """Where the callback to `url` goes."""
        return self._destination(account, url, callback_url.rejection(url))

    def _destination(self, account: Account, url: str, refused: str | None) -> Destination:
        return destination(url, {**self.settings.callback_route, **account.routes}, self.allowed, refused)

    def expect(self, account: Account, task: Task) -> None:
        """Remembers the callback of a new task; its moment follows from the task's plan."""
        if task.callback_url is None:
            return
        if len(account.deliveries) >= MOST_DELIVERIES:
            self._forget_one(account)
        variant = task.scenario.callback
        note = self.destination(account, task.callback_url).note
        if variant == "out_of_order" and account.held:
            # it is the other one, which the first of them waits for
            variant = None
        delivery = Delivery(delivery_id(task.id), task.id, task.callback_url, _first_at(task, variant), variant, note)
        account.deliveries[delivery.id] = delivery
        if variant == "out_of_order":
            account.held.append(delivery.id)
        self._plan(account, delivery)

    def moved(self, account: Account, task: Task) -> None:
        """The end of a task was moved, and its callback with it."""
        delivery = account.deliveries.get(delivery_id(task.id))
        if delivery is not None and not delivery.attempts:
            delivery = msgspec.structs.replace(delivery, first_at=_first_at(task, delivery.variant))
            account.deliveries[delivery.id] = delivery
            self._plan(account, delivery)

    def attempted(self, account: Account, delivery: Delivery, attempt: Attempt) -> None:
        """Writes down an attempt; the next one is planned once this one is no longer under way."""
        delivery = msgspec.structs.replace(delivery, attempts=(*delivery.attempts, attempt))
        account.deliveries[delivery.id] = delivery
        if self.on_attempt is not None:
            self.on_attempt(delivery, attempt)
        if account.held and state(delivery) != "pending":
            self._let_go(account, delivery, attempt.ended_at)

    def plan_next(self, account: Account, delivery_id: str) -> None:
        """The next attempt after one that is over, if there is one to come."""
        delivery = account.deliveries.get(delivery_id)
        if delivery is not None:
            self._plan(account, delivery)

    def _let_go(self, account: Account, other: Delivery, now: float) -> None:
        """Callbacks that waited for another task's to come first are due now, if their tasks are over."""
        for held in [each for each in account.held if each != other.id]:
            delivery = account.deliveries.get(held)
            task = None if delivery is None else self.store.tasks.get(delivery.task_id)
            if delivery is None or delivery.attempts or task is None:
                account.held.remove(held)
            elif lifecycle.has_ended(task.plan, now):
                account.held.remove(held)
                account.deliveries[held] = msgspec.structs.replace(delivery, first_at=now)
                self._plan(account, account.deliveries[held])

    def _plan(self, account: Account, delivery: Delivery) -> None:
        moment = next_attempt_at(delivery)
        if moment is not None and moment < inf:
            account.calls.add(moment, delivery.id)
            self.on_due(account)

    def _forget_one(self, account: Account) -> None:
        """Forgets the oldest delivery that is over; one that is pending stays, however many there are."""
        for _ in range(8):
            delivery = next(iter(account.deliveries.values()))
            if state(delivery) != "pending":
                del account.deliveries[delivery.id]
                return
            account.deliveries.move_to_end(delivery.id)

    def receive(self, account: Account, name: str, message: Message) -> Reply:
        """Puts a message into an inbox; the reply that it was told to give."""
        reply = self.inbox(account, name).receive(message)
        for watcher in list(self.watchers):
            watcher()
        return reply

    def inbox(self, account: Account, name: str) -> Inbox:
        """The account's inbox of that name, which exists from the first time it is asked for."""
        inbox = account.inboxes.get(name)
        if inbox is None:
            if len(account.inboxes) >= MOST_INBOXES:
                del account.inboxes[next(iter(account.inboxes))]
            inbox = account.inboxes[name] = Inbox(self.store.replies.get(name, ()))
        return inbox


def _first_at(task: Task, variant: CallbackVariant | None) -> float:
    """The moment of a callback's first attempt."""
    return task.plan.ended_at + (LATE_DELAY if variant in ("late", "out_of_order") else 0.0)
