"""A built-in receiver of callbacks: it keeps what came and answers as it was told. Bounded."""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

MOST_MESSAGES: Final = 1_000
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_INBOXES: Final = 1_000
"""Inboxes of one account."""


class Message(msgspec.Struct, frozen=True):
    """One POST that came; `at` is the account's moment."""

    at: float
    headers: Mapping[str, str]
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    """What the receiver answers; `delay` is in real seconds."""

    status: int = 200
    delay: float = 0.0


class Inbox:
    """Messages, oldest first, and the replies to come; the last one holds for ever."""

    def __init__(self, replies: tuple[Reply, ...] = ()) -> None:
        self.messages: deque[Message] = deque()
        self.replies = replies
        self._bytes = 0

    def receive(self, message: Message) -> Reply:
        """Keeps a message, forgetting the oldest beyond the bounds; the reply to it."""
        self.messages.append(message)
        self._bytes += len(message.body)
        while len(self.messages) > MOST_MESSAGES or self._bytes > MOST_BYTES:
            self._bytes -= len(self.messages.popleft().body)
        if not self.replies:
            return Reply()
        reply = self.replies[0]
        if len(self.replies) > 1:
            self.replies = self.replies[1:]
        return reply
