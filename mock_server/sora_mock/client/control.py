"""Control requests about one account or about all of them, and what they steer: the clock, a task, an inbox."""

import math
from typing import Any, Literal
from urllib.parse import quote

from sora_mock.client.http import Client, Unreachable
from sora_mock.client.views import InboxReply, Message, TaskView

# pytest shows the caller's line instead of ours
__tracebackhide__ = True

CALLBACK_TIMEOUT = 60.0
"""Real seconds for requests that wait for callback attempts, each of which may take 10."""

Outcome = Literal["completed", "failed", "cancelled"]


class Refused(Exception):
    """The mock rejected a control request. The text is the mock's own.

    status: of the response. code: such as `task_not_found`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # it travels between processes, as from the workers of a pool
        return type(self), (self.status, self.code, str(self))


class Control:
    """Sends control requests about the account of `key`, or about all accounts where the key is None.

    They return JSON or raise the error of the mock.

    token: for mocks beyond loopback, by default $SORA_MOCK_CONTROL_TOKEN. timeout: real seconds for one request.
    Raises ValueError for a URL that is not an origin.
    """

    def __init__(self, url: str, key: str | None, *, token: str | None = None, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        self._client = Client(url, key, token=token, timeout=timeout)

    def call(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """The JSON of the response to any control request. All other members use this one.

        path: below `/__mock`. timeout: for this request alone. Raises Refused and Unreachable.
        """
        try:
            status, response = self._client.call(method, path, body, timeout=timeout)
        except Unreachable as problem:
            raise Unreachable(f"{self.url} does not respond to {method} /__mock{path}: {problem}") from None
        if status < 300:
            return response
        error = response.get("error") if isinstance(response, dict) else None
        if not isinstance(error, dict):
            raise Unreachable(f"{self.url} responds to {method} /__mock{path} with {status}, but not as sora-mock does")
        raise Refused(status, str(error.get("code")), str(error.get("message")))


class Clock:
    """An account's clock. Timestamps are Unix seconds."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def _get(self) -> dict[str, Any]:
        clock: dict[str, Any] = self._control.call("GET", "/clock")
        return clock

    def _set(self, **change: Any) -> float:
        return float(self._control.call("PATCH", "/clock", change, timeout=CALLBACK_TIMEOUT)["now"])

    @property
    def now(self) -> float:
        """The timestamp that the clock shows. Settable, forwards only: an earlier timestamp raises Refused 400."""
        return float(self._get()["now"])

    @now.setter
    def now(self, timestamp: float) -> None:
        self._set(now=timestamp)

    @property
    def speed(self) -> float:
        """Seconds of this clock in one real second. Settable, from 0.001 to 1,000,000."""
        return float(self._get()["speed"])

    @speed.setter
    def speed(self, factor: float) -> None:
        self._set(speed=factor)

    @property
    def frozen(self) -> bool:
        """Whether the clock does not run."""
        return bool(self._get()["frozen"])

    def freeze(self) -> float:
        """Stops the clock and returns the timestamp that it shows from now on."""
        return self._set(frozen=True)

    def unfreeze(self) -> float:
        """Lets the clock run again and returns the timestamp at which it starts."""
        return self._set(frozen=False)

    def per_request(self, seconds: float) -> None:
        """Moves the clock on by `seconds` before each request, so that a polling loop ends soon; 0 ends that."""
        self._set(per_request=seconds)

    def advance(self, seconds: float, *, timeout: float = CALLBACK_TIMEOUT) -> float:
        """Moves the clock on and returns its new timestamp.

        Everything that was due has happened then, callback attempts included.
        timeout: real seconds, because receivers of callbacks may be slow.
        """
        body = {"seconds": seconds}
        return float(self._control.call("POST", "/clock/advance", body, timeout=timeout)["now"])


class Task:
    """A task by its id. The mock looks the id up when a member is used."""

    def __init__(self, control: Control, task_id: str) -> None:
        self._control = control
        self.id = task_id

    @property
    def view(self) -> TaskView:
        """The task as its client sees it now. Raises Refused 404."""
        for task in self._control.call("GET", "/tasks?limit=10000")["tasks"]:
            if task["id"] == self.id:
                found: TaskView = task
                return found
        raise Refused(404, "task_not_found", f"there is no task {self.id!r} in this account")

    def finish(
        self, outcome: Outcome = "completed", *, code: str | None = None, message: str | None = None
    ) -> TaskView:
        """Ends the task now and sends its callback.

        code, message: of a failure, None for the defaults of the service. Raises Refused 404, and 409 for a task that
        has ended.
        """
        body = {"outcome": outcome, "code": code, "message": message}
        given = {name: value for name, value in body.items() if value is not None}
        path = f"/tasks/{quote(self.id, safe='')}/finish"
        view: TaskView = self._control.call("POST", path, given, timeout=CALLBACK_TIMEOUT)
        return view


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
