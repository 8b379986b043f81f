"""A receiver of callbacks inside the mock."""

import math
from urllib.parse import quote

from sora_mock.client.control import Control
from sora_mock.client.views import InboxReply, Message

# pytest shows the caller's line instead of ours
__tracebackhide__ = True


class Inbox:
    """A receiver of callbacks inside the mock, for the tasks of one account."""

    def __init__(self, control: Control, name: str) -> None:
        self._control = control
        self._path = f"/inbox/{quote(name, safe='')}"
        self.name = name
        self.url = f"https://inbox.sora-mock.test/{quote(name, safe='')}"
        """The `callback_url` of this inbox."""

    @property
    def messages(self) -> list[Message]:
        """The received messages, oldest first."""
        messages: list[Message] = self._control.call("GET", self._path)["messages"]
        return messages

    def reply(self, *replies: int | InboxReply) -> None:
        """Sets the responses to the next messages; the last one is used for all further messages.

        replies: statuses, or objects such as `{"status": 204, "delay": 11}`.
        """
        bodies = [{"status": reply} if isinstance(reply, int) else reply for reply in replies]
        self._control.call("PUT", self._path, {"replies": bodies})

    def wait(self, count: int = 1, *, timeout: float = 10.0) -> list[Message]:
        """Returns the messages as soon as there are `count` of them.

        timeout: real seconds, at most 60. Raises TimeoutError.
        """
        if not math.isfinite(timeout):
            raise ValueError(f"expected seconds up to 60, got {timeout!r}")
        path = f"{self._path}?wait={timeout:.3f}&count={count}"
        seconds = timeout + self._control.timeout
        messages: list[Message] = self._control.call("GET", path, timeout=seconds)["messages"]
        if len(messages) < count:
            frozen = self._control.call("GET", "/clock")["frozen"]
            hint = "; the clock is frozen, advance it" if frozen else ""
            raise TimeoutError(f"inbox {self.name!r} got {len(messages)} of {count} messages in {timeout:g} s{hint}")
        return messages
