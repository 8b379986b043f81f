"""One in-process event bus: each event is published once, and every part that needs it subscribes."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

Event = TypeVar("Event")

MAX_SUBSCRIBERS: Final = 10_000
"""Handlers of one kind of event; each waiting control request is one."""


class TooManySubscribers(Exception):
    """The bus is full: as many handlers of this kind of event are subscribed already as there may be."""


class EventBus:
    """Calls each handler of an event's class, at once and in the order of subscription.

    A handler must not block and must not raise. Only the thread of the event loop publishes and subscribes.
    """

    def __init__(self) -> None:
        self._handlers: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}

    def subscribe(
        self, kind: type[Event], handler: Callable[[Event], None], limit: int | None = None
    ) -> Callable[[], None]:
        """Calls `handler` with each event of this class from now on; the result ends the subscription.

        limit: handlers of this class, where it is less than `MAX_SUBSCRIBERS`. Raises TooManySubscribers.
        """
        former = self._handlers.get(kind, ())
        if len(former) >= min(MAX_SUBSCRIBERS, limit or MAX_SUBSCRIBERS):
            raise TooManySubscribers(f"{len(former)} subscribers wait for {kind.__name__} events already")
        self._handlers[kind] = (*former, handler)

        def unsubscribe() -> None:
            handlers = list(self._handlers[kind])
            handlers.remove(handler)
            self._handlers[kind] = tuple(handlers)

        return unsubscribe

    def publish(self, event: Any) -> None:
        """Hands the event to every handler of its class."""
        for handler in self._handlers.get(type(event), ()):
            handler(event)

    def has_subscribers(self, kind: type[Any]) -> bool:
        """Whether anyone would receive an event of this class."""
        return bool(self._handlers.get(kind))
