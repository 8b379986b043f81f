"""The responses that one account keeps for an Idempotency-Key."""

from collections import OrderedDict
from typing import Final

import msgspec

from sora_mock.storage.byte_budget import AccountBytes, Counted

MAX_STORED_REPLIES: Final = 10_000
"""Replies that one account keeps for their Idempotency-Key; beyond it the oldest one is forgotten."""

REPLY_BYTES: Final = 450
"""What a reply counts for besides its key and its body."""


class StoredReply(msgspec.Struct, frozen=True):
    """The first response to a create request with an Idempotency-Key. fingerprint: digest of that request's body."""

    fingerprint: bytes
    body: bytes
    scenario: str
    task_id: str


class StoredReplies(Counted):
    """Replies by Idempotency-Key, oldest first."""

    __slots__ = ("_by_key",)

    def __init__(self, account: AccountBytes | None = None) -> None:
        super().__init__(account)
        self._by_key: OrderedDict[str, StoredReply] = OrderedDict()

    def get(self, idempotency_key: str) -> StoredReply | None:
        """The first response to that key; None for a new key."""
        return self._by_key.get(idempotency_key)

    def put(self, idempotency_key: str, reply: StoredReply) -> None:
        """Keeps the first response to a key."""
        before = self.size
        former = self._by_key.pop(idempotency_key, None)
        if former is not None:
            self.size -= _bytes(idempotency_key, former)
        self._by_key[idempotency_key] = reply
        self.size += _bytes(idempotency_key, reply)
        if len(self._by_key) > MAX_STORED_REPLIES:
            self._drop_oldest()
        self._report(before)

    def forget_oldest(self) -> None:
        """Forgets the reply that was stored first."""
        before = self.size
        self._drop_oldest()
        self._report(before)

    def _drop_oldest(self) -> None:
        self.size -= _bytes(*self._by_key.popitem(last=False))

    def __len__(self) -> int:
        return len(self._by_key)


def _bytes(idempotency_key: str, reply: StoredReply) -> int:
    return REPLY_BYTES + len(idempotency_key) + len(reply.body)
