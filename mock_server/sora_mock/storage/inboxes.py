"""The inboxes of one account: built-in receivers that keep what arrives and reply as they were configured. Bounded."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

MAX_INBOXES: Final = 1_000
"""Inboxes of one account; beyond it the oldest one is forgotten."""

MAX_MESSAGES: Final = 1_000
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Messages and bytes of one inbox; beyond them the oldest messages are forgotten."""


class InboxMessage(msgspec.Struct, frozen=True):
    """One POST that arrived. at: time of the account's clock, Unix seconds."""

    at: float
    headers: Mapping[str, str]
    body: bytes


class InboxReply(msgspec.Struct, frozen=True):
    """What an inbox replies. status: HTTP status, 200 to 599. delay: real seconds before it replies."""

    status: int = 200
    delay: float = 0.0


class _Inbox:
    __slots__ = ("messages", "replies", "size")

    def __init__(self, replies: tuple[InboxReply, ...]) -> None:
        self.messages: deque[InboxMessage] = deque()
        self.replies = replies
        self.size = 0


class Inboxes:
    """All inboxes of one account, by name. An inbox exists from the first time it is used."""

    __slots__ = ("_first_replies", "_inboxes")

    def __init__(self, first_replies: Callable[[str], tuple[InboxReply, ...]]) -> None:
        self._first_replies = first_replies
        self._inboxes: OrderedDict[str, _Inbox] = OrderedDict()

    def _get(self, name: str) -> _Inbox:
        inbox = self._inboxes.get(name)
        if inbox is None:
            if len(self._inboxes) >= MAX_INBOXES:
                self._inboxes.popitem(last=False)
            inbox = self._inboxes[name] = _Inbox(self._first_replies(name))
        return inbox

    def __contains__(self, name: str) -> bool:
        return name in self._inboxes

    def messages(self, name: str) -> list[InboxMessage]:
        """What arrived in an inbox, oldest first."""
        return list(self._get(name).messages)

    def receive(self, name: str, message: InboxMessage) -> InboxReply:
        """Keeps a message and returns the next reply; the last reply is used for ever."""
        inbox = self._get(name)
        inbox.messages.append(message)
        inbox.size += len(message.body)
        while len(inbox.messages) > MAX_MESSAGES or inbox.size > MAX_MESSAGE_BYTES:
            inbox.size -= len(inbox.messages.popleft().body)
        if not inbox.replies:
            return InboxReply()
        reply = inbox.replies[0]
        if len(inbox.replies) > 1:
            inbox.replies = inbox.replies[1:]
        return reply

    def set_replies(self, name: str, replies: tuple[InboxReply, ...]) -> None:
        """Replaces what an inbox replies from now on."""
        self._get(name).replies = replies
