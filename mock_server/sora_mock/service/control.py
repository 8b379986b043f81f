"""How the control API changes queues, callback routes and inboxes, and how it resets accounts."""

from collections.abc import Mapping
from typing import Final

import msgspec

from sora_mock.domain.queue_rule import QueueRule
from sora_mock.runtime.memory import MIN_FREED, release_memory
from sora_mock.service.authentication import forget_keys
from sora_mock.service.context import Service, initial_defaults
from sora_mock.storage.inboxes import MAX_INBOXES, InboxReply

ACCOUNT_BYTES: Final = 8 * 1024
TASK_BYTES: Final = 700
"""What an account and a task take besides what the budget in bytes counts."""


def longest_queue(service: Service, key: str | None) -> int:
    """Length of the longest queue that a request would change."""
    queues = [each.facts.queue for each in service.storage.accounts(key)]
    return max(map(len, [service.storage.defaults.queue, *queues] if key is None else queues))


def append_rule(service: Service, key: str | None, rule: QueueRule) -> None:
    """Adds a rule at the end of the queue. key: None for all accounts and new ones."""
    storage = service.storage
    if key is None:
        queue = (*storage.defaults.queue, rule)
        storage.defaults = msgspec.structs.replace(storage.defaults, queue=queue)
    for account in service.storage.accounts(key):
        with account:
            account.facts = msgspec.structs.replace(account.facts, queue=(*account.facts.queue, rule))


def empty_queue(service: Service, key: str | None) -> None:
    """Removes every rule. key: None for all accounts and new ones."""
    if key is None:
        service.storage.defaults = msgspec.structs.replace(service.storage.defaults, queue=())
    for account in service.storage.accounts(key):
        with account:
            account.facts = msgspec.structs.replace(account.facts, queue=())


def set_callback_routes(service: Service, key: str | None, routes: Mapping[str, str]) -> None:
    """Replaces the URLs to which callbacks are sent instead, by origin. key: None for all accounts and new ones."""
    if key is None:
        service.storage.defaults = msgspec.structs.replace(service.storage.defaults, callback_routes=routes)
    for account in service.storage.accounts(key):
        with account:
            account.facts = msgspec.structs.replace(account.facts, callback_routes=routes)


def set_inbox_replies(service: Service, key: str | None, inbox: str, replies: tuple[InboxReply, ...]) -> None:
    """Replaces what an inbox replies. key: None for the inboxes of that name of all accounts, and new ones."""
    storage = service.storage
    if key is None:
        by_name = {**storage.defaults.inbox_replies, inbox: replies}
        if len(by_name) > MAX_INBOXES:
            del by_name[next(iter(by_name))]
        storage.defaults = msgspec.structs.replace(storage.defaults, inbox_replies=by_name)
    for account in service.storage.accounts(key):
        if key is not None or inbox in account.inboxes:
            with account:
                account.inboxes.set_replies(inbox, replies)


def reset(service: Service, key: str | None) -> None:
    """Forgets an account; without a key every account, and what control requests changed for new ones."""
    storage = service.storage
    before = _held(service)
    if key is None:
        storage.forget_all(initial_defaults(service.settings, service.real_now()))
        forget_keys()
    else:
        storage.forget(key)
    if before - _held(service) >= MIN_FREED:
        release_memory()


def _held(service: Service) -> int:
    """Bytes that a reset of all accounts would free, about."""
    storage = service.storage
    return storage.budget.used + ACCOUNT_BYTES * storage.account_count + TASK_BYTES * len(storage.tasks)
