"""The facts of callbacks: which addresses are accepted, what is delivered where, and what became of each attempt."""

from typing import Final

import msgspec

from sora_mock.domain import callback_url, lifecycle
from sora_mock.domain.delivery import (
    LATE_DELAY,
    MAX_ATTEMPTS,
    Attempt,
    CallbackVariant,
    Delivery,
    Destination,
    delivery_id,
    destination,
    state,
)
from sora_mock.domain.events import AttemptMade, CallbackPlanned, MessageArrived
from sora_mock.domain.shape import shaped
from sora_mock.domain.task import Task, task_view
from sora_mock.service.context import Service, encode
from sora_mock.storage.deliveries import MAX_DELIVERIES
from sora_mock.storage.inboxes import InboxMessage, InboxReply
from sora_mock.storage.memory import MemoryAccount

LOCAL_HINT: Final = "use the inbox or --callback-route"


def rejection(service: Service, account: MemoryAccount, url: str) -> str | None:
    """Why the service rejects a callback address; None where it, or a setting of the user, accepts it."""
    rejected = callback_url.rejection(url)
    if rejected is None or _destination(service, account, url, rejected).trusted:
        return None
    return rejected


def target(service: Service, account: MemoryAccount, url: str) -> Destination:
    """Where the callback to `url` is sent."""
    return _destination(service, account, url, callback_url.rejection(url))


def _destination(service: Service, account: MemoryAccount, url: str, rejected: str | None) -> Destination:
    settings = service.settings
    routes = {**settings.callback_route, **account.facts.callback_routes}
    return destination(url, routes, frozenset(settings.allow_callback), rejected)


def expect(service: Service, account: MemoryAccount, task: Task) -> str | None:
    """Stores the delivery of a new task, if it has a callback; its time follows from the task's plan.

    A hint where a pending callback was forgotten for it, because the account has too many; otherwise None.
    """
    if task.callback_url is None:
        return None
    variant = task.scenario.callback
    deliveries = account.deliveries
    if variant == "out_of_order" and deliveries.held:
        # This delivery is the one that the held delivery waits for, so it is sent normally.
        variant = None
    note = target(service, account, task.callback_url).note
    delivery = Delivery(delivery_id(task.id), task.id, task.callback_url, _first_at(task, variant), variant, note)
    forgotten = deliveries.put(delivery)
    if variant == "out_of_order":
        deliveries.held = (*deliveries.held, delivery.id)
    schedule(service, account, delivery)
    if forgotten is None or state(forgotten) != "pending":
        return None
    return f"too many callbacks are pending: that of {forgotten.task_id} is never sent (at most {MAX_DELIVERIES:,})"


def _first_at(task: Task, variant: CallbackVariant | None) -> float:
    return task.plan.ended_at + (LATE_DELAY if variant in ("late", "out_of_order") else 0.0)


def reschedule(service: Service, account: MemoryAccount, task: Task) -> None:
    """The end of a task was moved: its first attempt moves with it."""
    delivery = account.deliveries.get(delivery_id(task.id))
    if delivery is not None and not delivery.attempts:
        delivery = msgspec.structs.replace(delivery, first_at=_first_at(task, delivery.variant))
        account.deliveries.put(delivery)
        schedule(service, account, delivery)


def schedule(service: Service, account: MemoryAccount, delivery: Delivery) -> None:
    """Plans the next attempt of a delivery, if there is one to come."""
    if account.deliveries.schedule(delivery):
        service.events.publish(CallbackPlanned(account.facts.name))


def record_attempt(service: Service, account: MemoryAccount, delivery: Delivery, attempt: Attempt) -> None:
    """Stores an attempt that is over. `schedule` plans the next one when this one has ended.

    Not stored: an attempt of a delivery that was forgotten meanwhile, and one that `redeliver` makes beyond the bound.
    """
    is_kept = account.deliveries.get(delivery.id) is not None
    if not attempt.extra or len(delivery.attempts) < MAX_ATTEMPTS:
        delivery = msgspec.structs.replace(delivery, attempts=(*delivery.attempts, attempt))
        if is_kept:
            account.deliveries.put(delivery)
    service.events.publish(AttemptMade(delivery, attempt))
    if account.deliveries.held and state(delivery) != "pending":
        _release_held(service, account, delivery, attempt.ended_at)


def _release_held(service: Service, account: MemoryAccount, finished: Delivery, now: float) -> None:
    """Another callback is finished, so those that waited for it are due now if their tasks have ended."""
    deliveries, still_held = account.deliveries, []
    for id in deliveries.held:
        delivery = deliveries.get(id)
        task = None if delivery is None else service.storage.tasks.get(delivery.task_id)
        if id == finished.id:
            still_held.append(id)
        elif delivery is None or delivery.attempts or task is None:
            continue
        elif lifecycle.has_ended(task.plan, now):
            due = msgspec.structs.replace(delivery, first_at=now)
            deliveries.put(due)
            schedule(service, account, due)
        else:
            still_held.append(id)
    deliveries.held = tuple(still_held)


def body(service: Service, delivery: Delivery, now: float) -> bytes | None:
    """The body of a callback: what a task query shows at that time. None for a task that was forgotten."""
    task = service.storage.tasks.get(delivery.task_id)
    if task is None:
        return None
    view = shaped(task_view(task, now, service.settings.behaviour), task.scenario.shape)
    return encode(shaped(view, "unknown_fields") if delivery.variant == "extra_field" else view)


def receive(service: Service, account: MemoryAccount, inbox: str, message: InboxMessage) -> InboxReply:
    """Puts a message into an inbox and returns what the inbox replies."""
    reply = account.inboxes.receive(inbox, message)
    service.events.publish(MessageArrived(account.facts.name, inbox))
    return reply
