"""The inboxes of one account: built-in receivers that keep what arrives and reply as they were configured. Bounded."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Final

import msgspec

from sora_mock.storage.byte_budget import AccountBytes, Counted

MAX_INBOXES: Final = 1_000
"""Inboxes of one account; beyond it the oldest one is forgotten."""

MAX_MESSAGES: Final = 1_000
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Messages of one inbox and bytes of their headers and bodies; beyond them the oldest messages are forgotten."""

INBOX_BYTES: Final = 1_200
MESSAGE_BYTES: Final = 600
HEADER_BYTES: Final = 150
INBOX_REPLY_BYTES: Final = 100
"""What an inbox, a message, each of its headers and a configured reply count for besides their texts."""


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
    """numbers: of its messages, oldest first. text_size: bytes of their headers and bodies."""

    __slots__ = ("numbers", "replies", "text_size")

    def __init__(self, replies: tuple[InboxReply, ...]) -> None:
        self.numbers: deque[int] = deque()
        self.replies = replies
        self.text_size = 0


class Inboxes(Counted):
    """All inboxes of one account, by name. An inbox exists from the first time it is used."""

    __slots__ = ("_first_replies", "_inboxes", "_message_count", "_messages")

    def __init__(
        self, first_replies: Callable[[str], tuple[InboxReply, ...]], account: AccountBytes | None = None
    ) -> None:
        super().__init__(account)
        self._first_replies = first_replies
        self._inboxes: OrderedDict[str, _Inbox] = OrderedDict()
        # by number, oldest first, over all inboxes
        self._messages: OrderedDict[int, tuple[_Inbox, InboxMessage]] = OrderedDict()
        self._message_count = 0

    def _get(self, name: str) -> _Inbox:
        inbox = self._inboxes.get(name)
        if inbox is None:
            if len(self._inboxes) >= MAX_INBOXES:
                self._drop_oldest_inbox()
            inbox = self._inboxes[name] = _Inbox(self._first_replies(name))
            self.size += _inbox_bytes(name, inbox)
        return inbox

    def __contains__(self, name: str) -> bool:
        return name in self._inboxes

    def messages(self, name: str) -> list[InboxMessage]:
        """What arrived in an inbox, oldest first."""
        before = self.size
        found = [self._messages[number][1] for number in self._get(name).numbers]
        self._report(before)
        return found

    def count(self, name: str) -> int:
        """How many messages an inbox holds."""
        inbox = self._inboxes.get(name)
        return 0 if inbox is None else len(inbox.numbers)

    def receive(self, name: str, message: InboxMessage) -> InboxReply:
        """Keeps a message and returns the next reply; the last reply is used for ever."""
        before, inbox = self.size, self._get(name)
        self._message_count += 1
        self._messages[self._message_count] = inbox, message
        inbox.numbers.append(self._message_count)
        inbox.text_size += _text_bytes(message)
        self.size += _message_bytes(message)
        while len(inbox.numbers) > MAX_MESSAGES or inbox.text_size > MAX_MESSAGE_BYTES:
            self._drop_message(inbox)
        reply = inbox.replies[0] if inbox.replies else InboxReply()
        if len(inbox.replies) > 1:
            inbox.replies = inbox.replies[1:]
            self.size -= INBOX_REPLY_BYTES
        self._report(before)
        return reply

    def set_replies(self, name: str, replies: tuple[InboxReply, ...]) -> None:
        """Replaces what an inbox replies from now on."""
        before, inbox = self.size, self._get(name)
        self.size += INBOX_REPLY_BYTES * (len(replies) - len(inbox.replies))
        inbox.replies = replies
        self._report(before)

    def forget_oldest(self) -> None:
        """Forgets the message that arrived first in any inbox; without messages the oldest inbox and its replies."""
        before = self.size
        if self._messages:
            inbox, _ = next(iter(self._messages.values()))
            self._drop_message(inbox)
        else:
            self._drop_oldest_inbox()
        self._report(before)

    def _drop_message(self, inbox: _Inbox) -> None:
        """Forgets the oldest message of an inbox."""
        _, message = self._messages.pop(inbox.numbers.popleft())
        inbox.text_size -= _text_bytes(message)
        self.size -= _message_bytes(message)

    def _drop_oldest_inbox(self) -> None:
        name, inbox = self._inboxes.popitem(last=False)
        while inbox.numbers:
            self._drop_message(inbox)
        self.size -= _inbox_bytes(name, inbox)


def _text_bytes(message: InboxMessage) -> int:
    return len(message.body) + sum(len(name) + len(value) for name, value in message.headers.items())


def _message_bytes(message: InboxMessage) -> int:
    return MESSAGE_BYTES + HEADER_BYTES * len(message.headers) + _text_bytes(message)


def _inbox_bytes(name: str, inbox: _Inbox) -> int:
    return INBOX_BYTES + getsizeof(name) + INBOX_REPLY_BYTES * len(inbox.replies)
