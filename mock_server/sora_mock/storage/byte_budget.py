"""One budget in bytes for what all accounts keep of the past. Beyond it the largest account forgets its oldest."""

import sys
from abc import ABC, abstractmethod
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Final

BATCH: Final = 256
"""Beyond its limit the budget frees a 256th of the limit at once. So the search for the largest account costs each
request little, and no batch takes longer than 50 ms (bench/memory.py)."""

AGE_BITS: Final = 32

_SIZE: Final = attrgetter("size")


class ByteBudget:
    """The bytes that all collections of all accounts hold. limit: bytes; used: bytes that are held now."""

    __slots__ = ("_accounts", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        # a dict, because a set has no order
        self._accounts: dict[AccountBytes, None] = {}

    def open_account(self) -> "AccountBytes":
        """A new account that holds nothing; its bytes count until it is closed."""
        account = AccountBytes(self)
        self._accounts[account] = None
        return account

    def close_account(self, account: "AccountBytes") -> None:
        """From now on, what the account holds does not count."""
        if account in self._accounts:
            del self._accounts[account]
            self.used -= account.size

    def make_space(self) -> None:
        """Forgets the oldest entry of the largest account until what is held is a batch below the limit."""
        target = self.limit - self.limit // BATCH
        accounts = list(self._accounts)
        # The largest account always holds at least the average.
        average = target // len(accounts)
        # Size and age in one number: ten thousand tuples would start the garbage collector, which takes 100 ms. The
        # smallest number is that of the largest account, and of the oldest one where two have the same size.
        heap = [age - (each.size << AGE_BITS) for age, each in enumerate(accounts) if each.size >= average]
        heapify(heap)
        while self.used > target and heap:
            age = heappop(heap) & (1 << AGE_BITS) - 1
            account, next_largest = accounts[age], -(heap[0] >> AGE_BITS) if heap else 0
            while self.used > target and account.size and account.size >= next_largest:
                account.forget_oldest()
            if account.size:
                heappush(heap, age - (account.size << AGE_BITS))


class AccountBytes:
    """What the collections of one account hold. size: their bytes together. collections: all of them."""

    __slots__ = ("_budget", "collections", "size")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.collections: list[Counted] = []
        self.size = 0

    def add(self, change: int) -> None:
        """A collection grew by `change` bytes; it shrank where that is negative. Makes space where it grew."""
        self.size += change
        budget = self._budget
        budget.used += change
        if budget.used > budget.limit and change > 0:
            budget.make_space()

    def forget_oldest(self) -> None:
        """Forgets the oldest entry of the largest collection. The account holds at least one byte."""
        max(self.collections, key=_SIZE).forget_oldest()

    def close(self) -> None:
        """The account is forgotten. A callback attempt that still runs may write to it; those bytes do not count."""
        self._budget.close_account(self)
        self._budget = ByteBudget(sys.maxsize)
        # the collections refer to this value; without the cycle their memory is free at once
        self.collections = []


class Counted(ABC):
    """A collection of one account whose bytes count. size: bytes that it holds, with the overhead of its objects.

    A method that changes `size` ends with `_report`, because space may then be made in this same collection.
    """

    __slots__ = ("_account", "size")

    def __init__(self, account: AccountBytes | None = None) -> None:
        """account: where its bytes count; None for a collection without a budget."""
        self._account = account or ByteBudget(sys.maxsize).open_account()
        self._account.collections.append(self)
        self.size = 0

    @abstractmethod
    def forget_oldest(self) -> None:
        """Forgets the oldest entry; `size` becomes smaller. Only called while `size` is above 0."""

    def _report(self, former_size: int) -> None:
        self._account.add(self.size - former_size)
