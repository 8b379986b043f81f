"""One budget over all accounts: it counts what the collections hold, and the largest account forgets its oldest."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_mock.domain.clock import Clock
from sora_mock.domain.delivery import Attempt, Delivery, state
from sora_mock.domain.exchange import Exchange
from sora_mock.domain.ledger import Ledger
from sora_mock.storage import deliveries, inboxes, replies
from sora_mock.storage.byte_budget import BATCH
from sora_mock.storage.facts import AccountDefaults, AccountFacts
from sora_mock.storage.inboxes import InboxMessage, InboxReply
from sora_mock.storage.journal import OBJECT_BYTES, Journal
from sora_mock.storage.memory import MemoryAccount, MemoryStorage
from sora_mock.storage.replies import StoredReply

DEFAULTS = AccountDefaults(Clock(1_000.0, 1_000.0), 100, None)


def limited(limit: int) -> MemoryStorage:
    return MemoryStorage(DEFAULTS, lambda key, defaults: AccountFacts(key, defaults.clock, Ledger(100)), limit)


def append(storage: MemoryStorage, key: str | None, size: int) -> None:
    account = None if key is None else storage.account(key)
    storage.append(Exchange("GET", "/", {b"x": b"y" * size}, status=200, response_body=b"{}"), account)


def receive(storage: MemoryStorage, key: str | None, size: int) -> None:
    message = InboxMessage(1.0, {"x": "y" * size}, b"z" * size)
    storage.account(key or "sk-none").inboxes.receive(f"inbox {size % 3}", message)


def set_replies(storage: MemoryStorage, key: str | None, size: int) -> None:
    storage.account(key or "sk-none").inboxes.set_replies(f"inbox {size % 5}", (InboxReply(),) * (1 + size % 7))


def look(storage: MemoryStorage, key: str | None, size: int) -> None:
    storage.account(key or "sk-none").inboxes.messages(f"inbox {size % 7}")


def store_reply(storage: MemoryStorage, key: str | None, size: int) -> None:
    storage.account(key or "sk-none").store_reply(f"key {size}", StoredReply(b"", b"x" * size, "completed", "task"))


def deliver(storage: MemoryStorage, key: str | None, size: int, *statuses: int) -> None:
    attempts = tuple(Attempt(1 + n, 1.0, 1.0, each, None, 0.1, "r" * size) for n, each in enumerate(statuses))
    kept = storage.account(key or "sk-none").deliveries
    kept.put(Delivery(f"dlv-{size % 4}", "task", "https://a.example/", 1.0, attempts=attempts))


def forget_delivery(storage: MemoryStorage, key: str | None, size: int) -> None:
    storage.account(key or "sk-none").deliveries.forget(f"dlv-{size % 4}")


def forget(storage: MemoryStorage, key: str | None, size: int) -> None:
    if size % 10 == 0:
        storage.forget_all(DEFAULTS)
    elif key is not None:
        storage.forget(key)


OPERATIONS: list[Callable[[MemoryStorage, str | None, int], None]] = [
    append,
    receive,
    set_replies,
    look,
    store_reply,
    partial(lambda *each: deliver(*each)),
    partial(lambda *each: deliver(*each, 500)),
    partial(lambda *each: deliver(*each, 200)),
    partial(lambda *each: deliver(*each, 500, 500, 500, 500)),
    forget_delivery,
    forget,
]


def held(storage: MemoryStorage) -> int:
    """What the collections hold, from their contents."""
    journals = [storage.anonymous, *(account.journal for account in storage.accounts())]
    return sum(map(journal_bytes, journals)) + sum(map(other_bytes, storage.accounts()))


def journal_bytes(journal: Journal) -> int:
    return sum(OBJECT_BYTES + len(packed) for packed in journal._packed)


def other_bytes(account: MemoryAccount) -> int:
    boxes = account.inboxes
    return (
        sum(inboxes._message_bytes(message) for _, message in boxes._messages.values())
        + sum(inboxes._inbox_bytes(name, inbox) for name, inbox in boxes._inboxes.items())
        + sum(replies._bytes(key, reply) for key, reply in account._replies._by_key.items())
        + sum(deliveries._bytes(each) for each in account.deliveries if each.attempts)
    )


steps = st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(["sk-a", "sk-b", "sk-c", None]), st.integers(0, 3_000))


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=60), st.integers(1_000, 30_000))
def test_the_total_is_the_sum_of_what_is_held_and_never_above_the_limit(
    done: list[tuple[Callable[[MemoryStorage, str | None, int], None], str | None, int]], limit: int
) -> None:
    storage = limited(limit)
    for operation, key, size in done:
        operation(storage, key, size)
        assert storage.budget.used == held(storage)
        assert storage.budget.used <= limit


def test_the_largest_account_forgets_its_oldest_and_the_others_nothing() -> None:
    storage = limited(100_000)
    for _ in range(10):
        append(storage, "sk-small", 1_000)
    for _ in range(200):
        append(storage, "sk-large", 1_000)
    small, large = (storage.account(key).journal for key in ("sk-small", "sk-large"))
    assert [each.number for each in small] == list(range(1, 11))
    numbers = [each.number for each in large]
    assert numbers == list(range(211 - len(numbers), 211))
    assert 100_000 * (1 - 1 / BATCH) - 2_000 < storage.budget.used <= 100_000


def test_of_the_largest_account_the_largest_collection_forgets_first() -> None:
    storage = limited(100_000)
    for number in range(10):
        store_reply(storage, "sk-a", number)
        deliver(storage, "sk-a", number, 200)
        append(storage, "sk-a", 1_000)
    account = storage.account("sk-a")
    expected = len(account._replies), len(account.deliveries), len(account.journal)
    for _ in range(100):
        receive(storage, "sk-a", 1_500)
    assert (len(account._replies), len(account.deliveries), len(account.journal)) == expected


def test_a_request_without_an_account_counts_too() -> None:
    storage = limited(50_000)
    for _ in range(100):
        append(storage, None, 1_000)
    assert 0 < len(storage.anonymous) < 50


def test_pending_deliveries_stay_beyond_the_limit_and_history_is_forgotten_instead() -> None:
    storage = limited(20_000)
    account = storage.account("sk-a")
    for number in range(1_000):
        pending = Delivery(f"dlv-{number}", "task", "https://a.example/", 1.0)
        account.deliveries.put(pending)
    for _ in range(100):
        append(storage, "sk-a", 1_000)
    assert sum(state(each) == "pending" for each in account.deliveries) == 1_000
    assert len(account.journal) > 10


@pytest.mark.parametrize("key", ["sk-a", None])
def test_what_a_running_attempt_writes_to_a_forgotten_account_counts_no_more(key: str | None) -> None:
    storage = limited(100_000)
    account = storage.account("sk-a")
    append(storage, "sk-a", 100)
    storage.forget("sk-a") if key else storage.forget_all(DEFAULTS)
    assert storage.budget.used == 0
    account.inboxes.receive("a", InboxMessage(1.0, {}, b"x" * 10**6))
    account.deliveries.put(Delivery("dlv", "task", "https://a.example/", 1.0))
    assert storage.budget.used == 0


def test_one_search_for_the_largest_account_frees_a_batch() -> None:
    storage = limited(2**20)
    for number in range(100_000 // 50):
        append(storage, f"sk-{number % 100}", 500)
        if storage.budget.used < 2**20 - 2**20 // BATCH:
            continue
        while storage.budget.used > 2**20 - 2**20 // BATCH:
            append(storage, f"sk-{number % 100}", 500)
        assert storage.budget.used > 2**20 - 2**20 // BATCH - 1_000
        break
    else:
        pytest.fail("the limit was not reached")
