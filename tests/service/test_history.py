"""What is forgotten of the past: deliveries of forgotten tasks, redeliveries beyond the bound, all after a reset."""

import msgspec
import pytest

from sora_mock.domain.delivery import MAX_ATTEMPTS, Attempt, Delivery, delivery_id
from sora_mock.domain.events import AttemptMade, CallbackPlanned
from sora_mock.service import callbacks, control, tasks
from sora_mock.storage import memory
from sora_mock.storage.inboxes import MAX_INBOXES, InboxReply
from sora_mock.storage.memory import MemoryAccount
from tests.frozen import ORDER, FrozenService

FAILED = Attempt(1, 1.0, 1.0, 500, None, 0.1)
HOOK = {**ORDER, "callback_url": "https://hooks.example.com/sora"}


def with_callback(frozen: FrozenService) -> tuple[MemoryAccount, Delivery]:
    task_id = frozen.create(body=HOOK)["id"]
    account = frozen.service.storage.account("sk-a")
    delivery = account.deliveries.get(delivery_id(task_id))
    assert delivery is not None
    return account, delivery


def test_a_forgotten_task_takes_its_pending_callback_along() -> None:
    frozen = FrozenService(frozen_clock=True)
    account, _ = with_callback(frozen)
    tasks.forget_oldest(frozen.service, account)
    assert (len(account.deliveries), account.deliveries.next_due_at()) == (0, None)
    assert not account.has_unsettled(1e12)


def test_an_attempt_that_ends_after_its_delivery_was_forgotten_is_published_and_not_stored() -> None:
    frozen, made = FrozenService(), list[AttemptMade]()
    account, delivery = with_callback(frozen)
    frozen.service.events.subscribe(AttemptMade, made.append)
    account.deliveries.forget(delivery.id)
    callbacks.record_attempt(frozen.service, account, delivery, FAILED)
    assert len(account.deliveries) == 0
    assert [event.attempt for event in made] == [FAILED]


def test_redeliveries_beyond_the_bound_are_not_stored_and_scheduled_attempts_always_are() -> None:
    frozen = FrozenService()
    account, delivery = with_callback(frozen)
    for _ in range(MAX_ATTEMPTS + 5):
        current = account.deliveries.get(delivery.id)
        assert current is not None
        callbacks.record_attempt(frozen.service, account, current, msgspec.structs.replace(FAILED, extra=True))
    full = account.deliveries.get(delivery.id)
    assert full is not None
    assert len(full.attempts) == MAX_ATTEMPTS
    callbacks.record_attempt(frozen.service, account, full, FAILED)
    scheduled = account.deliveries.get(delivery.id)
    assert scheduled is not None
    assert len(scheduled.attempts) == MAX_ATTEMPTS + 1


def test_an_account_that_is_forgotten_for_a_new_one_has_no_planned_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ACCOUNTS", 1)
    frozen, planned = FrozenService(), list[CallbackPlanned]()
    account, _ = with_callback(frozen)
    frozen.service.events.subscribe(CallbackPlanned, planned.append)
    frozen.service.storage.account("sk-b")
    assert planned == [CallbackPlanned(account.facts.name)]


def test_a_reset_leaves_nothing_in_the_budget() -> None:
    frozen = FrozenService()
    for key in ("sk-a", "sk-b"):
        frozen.create(key=key, idempotency_key="only-once-for-this-test")
        frozen.service.storage.append(frozen.exchange, frozen.service.storage.account(key))
    budget = frozen.service.storage.budget
    assert budget.used > 0
    control.reset(frozen.service, "sk-a")
    assert budget.used > 0
    control.reset(frozen.service, None)
    assert budget.used == 0


def test_the_setting_limits_the_budget() -> None:
    frozen = FrozenService(history_size=2**20, credits=None)
    for _ in range(3_000):
        frozen.create()
        frozen.service.storage.append(frozen.exchange, frozen.service.storage.account("sk-a"))
        assert frozen.service.storage.budget.used <= 2**20


def test_replies_for_the_inboxes_of_new_accounts_are_bounded() -> None:
    service = FrozenService().service
    for number in range(MAX_INBOXES + 5):
        control.set_inbox_replies(service, None, f"inbox {number}", (InboxReply(503),))
    names = list(service.storage.defaults.inbox_replies)
    assert (len(names), names[0]) == (MAX_INBOXES, "inbox 5")
