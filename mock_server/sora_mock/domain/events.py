"""What is published on the event bus. A request with its response is published as its `Exchange`."""

import msgspec

from sora_mock.domain.delivery import Attempt, Delivery


class AttemptMade(msgspec.Struct, frozen=True):
    """One POST of a callback is over."""

    delivery: Delivery
    attempt: Attempt


class CallbackPlanned(msgspec.Struct, frozen=True):
    """The time of an account's next callback attempt may have changed. account: its public name."""

    account: str


class MessageArrived(msgspec.Struct, frozen=True):
    """An inbox received a message. account: its public name; inbox: the inbox's name."""

    account: str
    inbox: str


class BugFound(msgspec.Struct, frozen=True):
    """A bug of sora-mock. traceback: several lines, keys redacted."""

    traceback: str


class MalformedRequest(msgspec.Struct, frozen=True):
    """Bytes arrived that are not HTTP, or an incomplete head. status, response_body: what the server responded."""

    status: int
    response_body: bytes
