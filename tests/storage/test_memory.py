"""The memory backend: accounts and tasks are found, bounded and forgotten."""

import gc
from math import inf

import pytest

from sora_mock.domain.clock import Clock
from sora_mock.domain.delivery import Delivery, delivery_id
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import Exchange
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.models import DEFAULT_MODEL, read_models
from sora_mock.domain.plan import Plan
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.task import Task
from sora_mock.runtime.package_data import model_tables
from sora_mock.storage import memory
from sora_mock.storage import replies as replies_module
from sora_mock.storage.facts import AccountDefaults, AccountFacts
from sora_mock.storage.inboxes import InboxMessage, InboxReply
from sora_mock.storage.memory import MemoryAccount, MemoryStorage
from sora_mock.storage.replies import StoredReply

CLOCK = Clock(1_000.0, 1_000.0)
DEFAULTS = AccountDefaults(CLOCK, 100, None, inbox_replies={"broken": (InboxReply(503),)})
MODEL = read_models(model_tables())[DEFAULT_MODEL]
ORDER = MODEL.orders[10, "16:9", False]
COMPLETED = Scenario("completed", "")


def facts_of(key: str, defaults: AccountDefaults) -> AccountFacts:
    return AccountFacts(f"NAME-{key}", defaults.clock, Ledger(defaults.remaining))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(DEFAULTS, facts_of)


def put(account: MemoryAccount, id: str, ended_at: float = 1_005.0) -> Task:
    plan = Plan(1_000.0, 1_001.0, 1_005.0, ended_at)
    task = Task(id, account.facts.name, MODEL, plan, ORDER, 57_600, "http://localhost", COMPLETED)
    with account:
        account.put_task(task)
    return task


# --- accounts ---


def test_an_account_exists_from_its_first_use_with_the_facts_of_its_key(storage: MemoryStorage) -> None:
    assert storage.find("sk-a") is None
    account = storage.account("sk-a")
    assert storage.find("sk-a") is storage.account("sk-a") is account
    assert storage.account_by_name("NAME-sk-a") is account
    assert storage.account_by_name("NAME-sk-b") is None
    assert account.facts == facts_of("sk-a", DEFAULTS)
    assert account.key == "sk-a"


def test_a_new_account_begins_with_the_defaults_of_that_time(storage: MemoryStorage) -> None:
    old = storage.account("sk-old")
    storage.defaults = AccountDefaults(CLOCK, 7, None)
    assert storage.account("sk-new").facts.ledger.remaining == 7
    assert old.facts.ledger.remaining == 100


def test_a_new_inbox_follows_the_defaults(storage: MemoryStorage) -> None:
    reply = storage.account("sk-a").inboxes.receive("broken", InboxMessage(1.0, {}, b""))
    assert reply.status == 503


def test_accounts_are_listed_least_recently_used_first(storage: MemoryStorage) -> None:
    for key in ("sk-a", "sk-b", "sk-c", "sk-a", "sk-c"):
        storage.account(key)
    storage.find("sk-b")
    assert [account.key for account in storage.accounts()] == ["sk-a", "sk-c", "sk-b"]


def test_beyond_the_bound_the_least_recently_used_account_is_forgotten_with_its_tasks(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_ACCOUNTS", 2)
    put(storage.account("sk-a"), "a")
    kept = put(storage.account("sk-b"), "b")
    storage.account("sk-a")
    storage.account("sk-b")
    storage.account("sk-c")
    assert storage.find("sk-a") is None
    assert storage.account_by_name("NAME-sk-a") is None
    assert storage.tasks == {"b": kept}
    assert len(storage.accounts()) == 2


def test_an_account_that_was_forgotten_begins_anew(storage: MemoryStorage) -> None:
    former = storage.account("sk-a")
    put(former, "a")
    storage.forget("sk-a")
    again = storage.account("sk-a")
    assert again is not former
    assert storage.account_by_name("NAME-sk-a") is again
    assert again.newest_tasks(10) == []
    assert storage.tasks == {}


def test_forgetting_leaves_other_accounts_alone(storage: MemoryStorage) -> None:
    put(storage.account("sk-a"), "a")
    kept = put(storage.account("sk-b"), "b")
    storage.forget("sk-a")
    storage.forget("sk-never-used")
    assert storage.tasks == {"b": kept}
    assert [account.key for account in storage.accounts()] == ["sk-b"]


def test_everything_is_forgotten_and_new_accounts_begin_with_the_given_defaults(storage: MemoryStorage) -> None:
    for key in ("sk-a", "sk-b"):
        put(storage.account(key), key)
    storage.append(Exchange("GET", "/", {}, status=401), None)
    storage.forget_all(AccountDefaults(CLOCK, 7, None))
    assert storage.accounts() == []
    assert storage.tasks == {}
    assert list(storage.anonymous) == []
    assert storage.account("sk-a").facts.ledger.remaining == 7


# --- tasks ---


def test_a_task_is_its_accounts_alone(storage: MemoryStorage) -> None:
    account, other = storage.account("sk-a"), storage.account("sk-b")
    task = put(account, "a")
    assert account.task("a") is task
    assert other.task("a") is None
    assert account.task("none") is None
    assert storage.owner(task) is account


def test_tasks_are_listed_newest_first(storage: MemoryStorage) -> None:
    first, second = storage.account("sk-a"), storage.account("sk-b")
    for number in range(3):
        put(first, f"a{number}")
        put(second, f"b{number}")
    assert [task.id for task in first.newest_tasks(2)] == ["a2", "a1"]
    assert [task.id for task in storage.newest_tasks(3)] == ["b2", "a2", "b1"]
    assert [task.id for task in first.newest_tasks(10)] == ["a2", "a1", "a0"]


def test_a_replaced_task_keeps_its_place_and_ends_once(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    put(account, "a")
    put(account, "b")
    ended = put(account, "a", 1_002.0)
    assert [task.id for task in account.newest_tasks(10)] == ["b", "a"]
    assert account.has_unsettled(1_002.0)
    assert account.pop_ended(1_002.0) == [ended]
    assert [task.id for task in account.pop_ended(2_000.0)] == ["b"]
    assert not account.has_unsettled(2_000.0)


def test_tasks_end_in_the_order_of_their_ends_and_a_stuck_one_never(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    for id, ended_at in (("a", 1_005.0), ("b", 1_003.0), ("stuck", inf), ("c", 1_004.0)):
        put(account, id, ended_at)
    assert not account.has_unsettled(1_002.9)
    assert [task.id for task in account.pop_ended(1e12)] == ["b", "c", "a"]


def test_the_oldest_task_is_forgotten_and_does_not_end_any_more(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    assert account.oldest_task() is None
    oldest, newest = put(account, "a"), put(account, "b")
    assert account.oldest_task() is oldest
    account.forget_oldest_task()
    assert storage.tasks == {"b": newest}
    assert account.oldest_task() is newest
    assert account.pop_ended(2_000.0) == [newest]


def test_a_forgotten_task_leaves_no_settlement_and_no_pending_delivery(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    for number in range(1_000):
        task = put(account, f"task-unified-1000-{number:04}", 2_000.0 - number)
        pending = Delivery(delivery_id(task.id), task.id, "https://a.example/", task.plan.ended_at)
        account.deliveries.put(pending)
        account.deliveries.schedule(pending)
    for _ in range(990):
        account.forget_oldest_task()
    assert len(account.deliveries) == 10
    assert [len(queue) < 100 for queue in (account._due, account.deliveries._due)] == [True, True]
    assert len(list(iter(lambda: account.deliveries.pop_due(3_000.0), None))) == 10
    assert len(account.pop_ended(3_000.0)) == 10


def test_ends_that_are_moved_again_and_again_leave_few_settlements(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    for number in range(10_000):
        task = put(account, "a", 2_000.0 + number)
    assert len(account._due) < 100
    assert account.pop_ended(1e6) == [task]


def test_a_forgotten_account_is_reported_and_free_at_once() -> None:
    forgotten: list[str] = []
    storage = MemoryStorage(DEFAULTS, facts_of, forgotten=forgotten.append)
    storage.account("sk-a")
    gc.collect()
    gc.disable()
    try:
        storage.forget("sk-a")
        left = [each for each in gc.get_objects() if isinstance(each, MemoryAccount) and each._storage is storage]
    finally:
        gc.enable()
    assert left == []
    assert forgotten == ["NAME-sk-a"]


def test_the_storage_is_full_at_the_bound(storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_TASKS", 2)
    account = storage.account("sk-a")
    put(account, "a")
    assert not storage.is_full
    put(account, "b")
    assert storage.is_full


# --- replies, journal ---


def test_a_reply_is_found_by_its_idempotency_key(storage: MemoryStorage) -> None:
    account, reply = storage.account("sk-a"), StoredReply(b"digest", b"{}", "completed", "task")
    account.store_reply("key", reply)
    assert account.stored_reply("key") is reply
    assert account.stored_reply("other") is None
    assert storage.account("sk-b").stored_reply("key") is None


def test_beyond_the_bound_the_oldest_reply_is_forgotten(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies_module, "MAX_STORED_REPLIES", 2)
    account = storage.account("sk-a")
    for key in ("1", "2", "3"):
        account.store_reply(key, StoredReply(b"", b"", "completed", key))
    assert [account.stored_reply(key) is not None for key in ("1", "2", "3")] == [False, True, True]


def test_exchanges_are_numbered_over_all_journals_also_after_everything_was_forgotten(storage: MemoryStorage) -> None:
    account = storage.account("sk-a")
    for owner in (account, None, account):
        storage.append(Exchange("GET", "/", {}, status=200), owner)
    assert [each.number for each in account.journal] == [1, 3]
    assert [each.number for each in storage.anonymous] == [2]
    storage.forget_all(DEFAULTS)
    storage.append(Exchange("GET", "/", {}, status=200), None)
    assert [each.number for each in storage.anonymous] == [4]


def test_an_operation_that_raises_keeps_what_it_has_written(storage: MemoryStorage) -> None:
    facts = facts_of("sk-a", AccountDefaults(CLOCK, 1, None))

    def operation() -> None:
        with storage.account("sk-a") as account:
            account.facts = facts
            raise ApiError(402)

    with pytest.raises(ApiError):
        operation()
    assert storage.account("sk-a").facts is facts
