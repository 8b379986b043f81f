"""The memory backend: all accounts and all tasks of one process, bounded."""

import sys
from collections import deque
from collections.abc import Callable
from itertools import islice
from math import inf
from types import TracebackType
from typing import Final, Self

from sora_mock.domain.delivery import delivery_id
from sora_mock.domain.exchange import Exchange
from sora_mock.domain.task import Task
from sora_mock.storage.byte_budget import ByteBudget
from sora_mock.storage.deliveries import Deliveries
from sora_mock.storage.due import DueQueue
from sora_mock.storage.facts import AccountDefaults, AccountFacts
from sora_mock.storage.inboxes import Inboxes
from sora_mock.storage.journal import Journal
from sora_mock.storage.replies import StoredReplies, StoredReply

MAX_ACCOUNTS: Final = 10_000
MAX_TASKS: Final = 2_000_000
"""Accounts and tasks of one server; beyond them the least recently used account,
or the oldest task of the same account or of the least recently used one, is forgotten."""


class MemoryAccount:
    """One account: its facts and its collections. `with storage.account(key) as account:` is one operation.

    facts: replaced as a whole by every change.
    """

    __slots__ = (
        *("_bytes", "_due", "_replies", "_storage", "_task_ids"),
        *("deliveries", "facts", "inboxes", "journal", "key"),
    )

    def __init__(self, storage: "MemoryStorage", key: str, facts: AccountFacts) -> None:
        self._storage = storage
        self.key = key
        self.facts = facts
        self._bytes = storage.budget.open_account()
        self.deliveries = Deliveries(self._bytes)
        self.inboxes = Inboxes(lambda name: storage.defaults.inbox_replies.get(name, ()), self._bytes)
        self.journal = Journal(self._bytes)
        self._task_ids: deque[str] = deque()
        self._due = DueQueue()
        self._replies = StoredReplies(self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Memory is written at once. A database commits here, also after an ApiError, which is a decision too.
        pass

    def task(self, task_id: str) -> Task | None:
        """The account's task of that id; None for none."""
        task = self._storage.tasks.get(task_id)
        return task if task is not None and task.account == self.facts.name else None

    def put_task(self, task: Task) -> None:
        """Stores a new task or replaces one of the same id, and remembers when its credits have to be settled."""
        tasks = self._storage.tasks
        is_new = task.id not in tasks
        if is_new:
            self._task_ids.append(task.id)
        tasks[task.id] = task
        if task.plan.ended_at < inf:
            self._due.add(task.plan.ended_at, task.id)
        if not is_new:
            self._due.drop_stale(len(self._task_ids), self._is_live)

    def _is_live(self, ended_at: float, task_id: str) -> bool:
        """Whether a task ends at that time. One that was forgotten, or whose end was moved, leaves an entry behind."""
        task = self._storage.tasks.get(task_id)
        return task is not None and task.plan.ended_at == ended_at

    def newest_tasks(self, limit: int) -> list[Task]:
        """At most `limit` tasks, newest first."""
        return [self._storage.tasks[task_id] for task_id in islice(reversed(self._task_ids), limit)]

    def has_unsettled(self, now: float) -> bool:
        """Whether a task may have ended by `now` without its credits being settled."""
        return self._due.has_due(now)

    def pop_ended(self, now: float) -> list[Task]:
        """The tasks that ended by `now` and were not returned before, in the order of their ends."""
        tasks = self._storage.tasks
        return [tasks[task_id] for ended_at, task_id in self._due.pop_due(now) if self._is_live(ended_at, task_id)]

    def oldest_task(self) -> Task | None:
        """The task that was created first; None for none."""
        return self._storage.tasks[self._task_ids[0]] if self._task_ids else None

    def forget_oldest_task(self) -> None:
        """Forgets the task that was created first, and its delivery; the caller has settled its credits."""
        task_id = self._task_ids.popleft()
        del self._storage.tasks[task_id]
        self.deliveries.forget(delivery_id(task_id))
        self._due.drop_stale(len(self._task_ids), self._is_live)

    def close(self) -> None:
        """Forgets every task, because the account itself is forgotten; what it holds no longer counts."""
        for task_id in self._task_ids:
            del self._storage.tasks[task_id]
        self._task_ids.clear()
        self._bytes.close()

    def stored_reply(self, idempotency_key: str) -> StoredReply | None:
        """The first response to that Idempotency-Key; None for a new key."""
        return self._replies.get(idempotency_key)

    def store_reply(self, idempotency_key: str, reply: StoredReply) -> None:
        """Keeps the first response to an Idempotency-Key."""
        self._replies.put(idempotency_key, reply)


class MemoryStorage:
    """All accounts by key, least recently used first, and all tasks by id.

    defaults: what new accounts begin with.
    tasks: every task of every account by id, oldest first; to be read, `MemoryAccount.put_task` writes.
    anonymous: the journal of requests without an account.
    budget: the bytes of the collections of all accounts.
    """

    def __init__(
        self,
        defaults: AccountDefaults,
        new_facts: Callable[[str, AccountDefaults], AccountFacts],
        history_size: int = sys.maxsize,
        forgotten: Callable[[str], None] = lambda name: None,
    ) -> None:
        """new_facts: makes the facts of a key that is used for the first time. history_size: limit of `budget`.

        forgotten: called with the public name of each account that was forgotten.
        """
        self.defaults = defaults
        self.tasks: dict[str, Task] = {}
        self.budget = ByteBudget(history_size)
        self._anonymous_bytes = self.budget.open_account()
        self.anonymous = Journal(self._anonymous_bytes)
        self._new_facts = new_facts
        self._forgotten = forgotten
        self._accounts: dict[str, MemoryAccount] = {}
        self._by_name: dict[str, MemoryAccount] = {}
        self._latest: MemoryAccount | None = None
        self._request_count = 0

    def account(self, key: str) -> MemoryAccount:
        """The account of a valid key, which exists from the first time it is used; now the most recently used one."""
        return self.find(key) or self._add(key)

    def find(self, key: str) -> MemoryAccount | None:
        """The account of a key, now the most recently used one; None for a key that was not used yet."""
        account = self._accounts.get(key)
        if account is not None and account is not self._latest:
            self._accounts[key] = self._latest = self._accounts.pop(key)
        return account

    def _add(self, key: str) -> MemoryAccount:
        if len(self._accounts) >= MAX_ACCOUNTS:
            self.forget(next(iter(self._accounts)))
        account = MemoryAccount(self, key, self._new_facts(key, self.defaults))
        self._accounts[key] = self._latest = self._by_name[account.facts.name] = account
        return account

    @property
    def account_count(self) -> int:
        """How many accounts there are."""
        return len(self._accounts)

    def account_by_name(self, name: str) -> MemoryAccount | None:
        """The account of that public name; None for none."""
        return self._by_name.get(name)

    def accounts(self, key: str | None = None) -> list[MemoryAccount]:
        """The accounts that a control request is about: that of `key`; without a key all, least recently used first."""
        return list(self._accounts.values()) if key is None else [self.account(key)]

    def owner(self, task: Task) -> MemoryAccount:
        """The account of a task."""
        return self._by_name[task.account]

    def newest_tasks(self, limit: int) -> list[Task]:
        """At most `limit` tasks of all accounts, newest first."""
        return list(islice(reversed(self.tasks.values()), limit))

    @property
    def is_full(self) -> bool:
        """Whether the oldest task has to be forgotten before another one is stored."""
        return len(self.tasks) >= MAX_TASKS

    def append(self, exchange: Exchange, account: MemoryAccount | None) -> None:
        """Numbers a finished exchange and writes it into the journal of its account, None for no account."""
        self._request_count = exchange.number = self._request_count + 1
        (self.anonymous if account is None else account.journal).append(exchange)

    def forget(self, key: str) -> None:
        """Forgets an account and all its tasks."""
        account = self._accounts.pop(key, None)
        if account is not None:
            self._latest = None
            del self._by_name[account.facts.name]
            account.close()
            self._forgotten(account.facts.name)

    def forget_all(self, defaults: AccountDefaults) -> None:
        """Forgets everything; new accounts begin with `defaults`."""
        for key in list(self._accounts):
            self.forget(key)
        # an empty dict keeps the table of a million entries
        for emptied in (self.tasks, self._accounts, self._by_name):
            emptied.clear()
        self._anonymous_bytes.close()
        self._anonymous_bytes = self.budget.open_account()
        self.anonymous = Journal(self._anonymous_bytes)
        self.defaults = defaults
