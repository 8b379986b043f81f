"""The facts: accounts and their tasks, in memory and bounded. Written by the emulator alone."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Final

import msgspec

from sora_mock.domain.clock import Clock
from sora_mock.domain.delivery import Delivery
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.queue_rule import QueueRule
from sora_mock.domain.task import Task
from sora_mock.domain.token_bucket import RateLimit, TokenBucket
from sora_mock.storage.inbox import Inbox
from sora_mock.storage.inbox import Reply as InboxReply
from sora_mock.storage.journal import Journal

MOST_ACCOUNTS: Final = 10_000
MOST_TASKS: Final = 2_000_000
MOST_REPLIES: Final = 10_000
"""Replies that an account keeps for their Idempotency-Key."""


class Reply(msgspec.Struct, frozen=True):
    """The first reply to a creation, kept for its Idempotency-Key; `request` is a digest of the body."""

    request: bytes
    body: bytes
    scenario: str


class Template(msgspec.Struct, frozen=True):
    """What a new account begins with; keyless control calls change it."""

    clock: Clock
    remaining: int | None
    rate: RateLimit | None
    queue: tuple[QueueRule, ...] = ()
    routes: Mapping[str, str] = {}


class Due:
    """Moments that are to come, each with a task's id; taken out in their order.

    Most ends come in the order of the creations: those stand in a line, only the others need a heap.
    """

    __slots__ = ("_heap", "_line")

    def __init__(self) -> None:
        self._line: deque[tuple[float, str]] = deque()
        self._heap: list[tuple[float, str]] = []

    def add(self, moment: float, task_id: str) -> None:
        """One more."""
        if self._line and moment < self._line[-1][0]:
            heappush(self._heap, (moment, task_id))
        else:
            self._line.append((moment, task_id))

    def has(self, now: float) -> bool:
        """Whether anything is due at `now`."""
        line, heap = self._line, self._heap
        return bool((line and line[0][0] <= now) or (heap and heap[0][0] <= now))

    def until(self, now: float) -> list[tuple[float, str]]:
        """Takes out what is due at `now`, earliest first."""
        line, heap = self._line, self._heap
        found = []
        while line and line[0][0] <= now:
            found.append(line.popleft())
        if heap and heap[0][0] <= now:
            while heap and heap[0][0] <= now:
                found.append(heappop(heap))
            found.sort()
        return found

    def first(self) -> float | None:
        """The earliest moment; None where there is none."""
        return min((entries[0][0] for entries in (self._line, self._heap) if entries), default=None)

    def __len__(self) -> int:
        return len(self._line) + len(self._heap)


class Account:
    """The facts of one key. Frozen values are replaced; the collections grow and are bounded.

    name: 18 of A-Z0-9. meaning: what its key stands for (emulator.MEANINGS), None for most.
    tasks: ids, oldest first. creations: how many got as far as a scenario.
    queue: what is to happen next, first rule first.
    due: every end whose credits are not settled yet. deliveries: callbacks by id, oldest first.
    calls: the moments of their next attempts. held: those that wait for another
    one to come first. routes: where callbacks to an origin are sent instead.
    """

    __slots__ = (
        "__weakref__",
        "bucket",
        "calls",
        "clock",
        "creations",
        "deliveries",
        "due",
        "held",
        "inboxes",
        "journal",
        "ledger",
        "meaning",
        "name",
        "queue",
        "replies",
        "routes",
        "tasks",
    )

    def __init__(self, name: str, template: Template, now: float, meaning: str | None = None) -> None:
        self.name = name
        self.meaning = meaning
        self.clock = template.clock
        self.ledger = Ledger(template.remaining)
        self.bucket = None if template.rate is None else TokenBucket.full(template.rate, now)
        self.creations = 0
        self.queue = template.queue
        self.tasks: deque[str] = deque()
        self.due = Due()
        self.deliveries: OrderedDict[str, Delivery] = OrderedDict()
        self.calls = Due()
        self.held: list[str] = []
        self.inboxes: dict[str, Inbox] = {}
        self.routes = template.routes
        self.replies: OrderedDict[str, Reply] = OrderedDict()
        self.journal = Journal()


class Store:
    """All accounts by key, least recently used first, and all tasks by id."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.by_name: dict[str, Account] = {}
        self.tasks: dict[str, Task] = {}
        self.nobody = Journal()
        self.replies: dict[str, tuple[InboxReply, ...]] = {}
        """What new inboxes of a name answer."""
        self._latest: Account | None = None

    def clear(self) -> None:
        """Forgets everything."""
        self.__init__()  # type: ignore[misc]

    def find(self, key: str) -> Account | None:
        """The account of `key`, which thereby becomes the most recently used; None if it has none yet."""
        account = self.accounts.get(key)
        if account is not None and account is not self._latest:
            self.accounts[key] = self._latest = self.accounts.pop(key)
        return account

    def add_account(self, key: str, account: Account) -> None:
        """A new account; beyond the bound the least recently used one is forgotten."""
        if len(self.accounts) >= MOST_ACCOUNTS:
            self.forget(next(iter(self.accounts)))
        self.accounts[key] = self._latest = account
        self.by_name[account.name] = account

    def forget(self, key: str) -> None:
        """The account and all its tasks are gone."""
        account = self.accounts.pop(key, None)
        if account is not None:
            self._latest = None
            del self.by_name[account.name]
            for task_id in account.tasks:
                del self.tasks[task_id]

    @property
    def is_full(self) -> bool:
        """Whether a further task needs the oldest one to go."""
        return len(self.tasks) >= MOST_TASKS

    def put_task(self, account: Account, task: Task) -> None:
        """Stores a task, new or with another plan, and remembers when its credits fall due."""
        if task.id not in self.tasks:
            account.tasks.append(task.id)
        self.tasks[task.id] = task
        if task.plan.ended_at < inf:
            account.due.add(task.plan.ended_at, task.id)

    def oldest(self, account: Account) -> tuple[Account, Task]:
        """The oldest task of `account`, or of the least recently used account that has any, and its owner."""
        owner = account if account.tasks else next(a for a in self.accounts.values() if a.tasks)
        return owner, self.tasks[owner.tasks[0]]

    def drop_oldest(self, owner: Account) -> None:
        """The owner's oldest task is gone; its entry in `due` is passed over later."""
        del self.tasks[owner.tasks.popleft()]

    def ended(self, account: Account, now: float) -> Iterable[Task]:
        """Takes out each task that has ended by `now` and was not taken before, in the order of their ends."""
        entries = account.due.until(now)
        # an end that was moved, or a task that was forgotten, leaves its old entry behind
        return [
            task
            for ended_at, task_id in entries
            if (task := self.tasks.get(task_id)) is not None and task.plan.ended_at == ended_at
        ]

    def keep_reply(self, account: Account, key: str, reply: Reply) -> None:
        """Remembers a first reply; beyond the bound the oldest one is forgotten."""
        account.replies[key] = reply
        if len(account.replies) > MOST_REPLIES:
            account.replies.popitem(last=False)
