"""One account of a running mock, as a test steers it: time, money, what goes wrong, callbacks, the journal."""

import math
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from sora_mock.client import transcript
from sora_mock.client.http import Client, Unreachable
from sora_mock.client.views import Delivery, Message, Record, Reply, TaskView

Outcome = Literal["completed", "failed", "cancelled"]

LONG = 60.0
"""Real seconds for calls that wait for callback attempts, each of which may take 10."""

# pytest shows the caller's line instead of ours
__tracebackhide__ = True


class Refused(Exception):
    """A control call that the mock refused: the text is the server's. status: HTTP. code: such as `task_not_found`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # it travels between processes, as from the workers of a pool
        return type(self), (self.status, self.code, str(self))


class Account:
    """The account of a key on the mock at `url`. Raises ValueError; every call raises Refused or Unreachable.

    token: for mocks beyond loopback, by default $SORA_MOCK_CONTROL_TOKEN. timeout: real seconds for a call.
    """

    def __init__(self, url: str, key: str, *, token: str | None = None, timeout: float = 10.0) -> None:
        Client(url)
        self.url = url.rstrip("/")
        self.api_key = key
        self.clock = Clock(self)
        self._token = token
        self._timeout = timeout
        self._routes: dict[str, str] = {}

    def __repr__(self) -> str:
        # without the key: pytest shows this in reports
        return f"Account({self.url!r})"

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this account sends."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def call(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """The answer to a control call about this account; `path` below `/__mock`. The other members use it."""
        client = Client(self.url, self.api_key, token=self._token, timeout=timeout or self._timeout)
        try:
            status, answer = client.call(method, path, body)
        except Unreachable as problem:
            raise Unreachable(f"{self.url} does not answer {method} /__mock{path}: {problem}") from None
        if status < 300:
            return answer
        error = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict):
            raise Unreachable(f"{self.url} answers {method} /__mock{path} with {status}, but not as sora-mock does")
        raise Refused(status, str(error.get("code")), str(error.get("message")))

    def reset(self) -> None:
        """Forgets everything about the account."""
        self.call("POST", "/reset")
        self._routes = {}

    def scenario(
        self, name: str, /, *, times: int | None = 1, match: Mapping[str, Any] | None = None, **override: Any
    ) -> None:
        """Queues what happens to the next requests that match.

        times: how many, None for all. match: such as `{"prompt": "regular expression"}` or `{"operation": "query"}`.
        override: the scenario's parameters, such as `at=0.4` (docs/scenarios.md).
        """
        rule: dict[str, Any] = {"scenario": name, "times": times, "override": override}
        if match is not None:
            rule["match"] = dict(match)
        self.call("POST", "/scenarios", rule)

    def _money(self, name: str) -> float:
        value = self.call("GET", "/account")[name]
        return math.inf if value == "unlimited" else float(value)

    @property
    def credits(self) -> float:
        """What remains, `math.inf` where it is unlimited; settable, also to "unlimited"."""
        return self._money("remaining_credits")

    @credits.setter
    def credits(self, remaining: float | Literal["unlimited"]) -> None:
        self.call("PATCH", "/account", {"remaining_credits": "unlimited" if remaining == math.inf else remaining})

    @property
    def reserved_credits(self) -> float:
        """What tasks that have not ended hold."""
        return self._money("reserved_credits")

    @property
    def used_credits(self) -> float:
        """What was charged for completed tasks."""
        return self._money("used_credits")

    @property
    def rate_limit(self) -> str | None:
        """Such as `60/minute`, None for none; settable, which fills the bucket."""
        limit: str | None = self.call("GET", "/account")["rate_limit"]
        return limit

    @rate_limit.setter
    def rate_limit(self, limit: str | None) -> None:
        self.call("PATCH", "/account", {"rate_limit": limit})

    @property
    def tasks(self) -> list[TaskView]:
        """Newest first."""
        tasks: list[TaskView] = self.call("GET", "/tasks")["tasks"]
        return tasks

    def task(self, task_id: str) -> "Task":
        """A task to be steered; whether there is one, the calls on it tell."""
        return Task(self, task_id)

    def deliveries(self, task_id: str | None = None) -> list[Delivery]:
        """Callbacks, newest first, perhaps of one task alone."""
        query = "" if task_id is None else f"?task_id={quote(task_id, safe='')}"
        deliveries: list[Delivery] = self.call("GET", f"/deliveries{query}")["deliveries"]
        return deliveries

    def redeliver(self, delivery_id: str) -> Delivery:
        """Sends a callback once more; returns when that is over."""
        delivery: Delivery = self.call("POST", f"/deliveries/{quote(delivery_id, safe='')}/redeliver", timeout=LONG)
        return delivery

    def inbox(self, name: str) -> "Inbox":
        """A built-in receiver of callbacks."""
        return Inbox(self, name)

    def route(self, origin: str, url: str) -> None:
        """Sends callbacks to an origin, such as https://hooks.example.com, to a receiver that the test started."""
        routes = {**self._routes, origin: url}
        self.call("PUT", "/callback-routes", routes)
        self._routes = routes

    @property
    def requests(self) -> list[Record]:
        """What was asked of the emulated service, newest first."""
        requests: list[Record] = self.call("GET", "/requests")["requests"]
        return requests

    def journal(self, limit: int = 20) -> str:
        """The last requests and callbacks, at most `limit` of each, as text for a person, oldest first."""
        requests = self.call("GET", f"/requests?limit={limit}")["requests"]
        deliveries = self.call("GET", f"/deliveries?limit={limit}")["deliveries"]
        return "\n".join(transcript.lines(requests, deliveries)) or self._nothing()

    def _nothing(self) -> str:
        """What to say of an account that nobody used: most often the key was another one."""
        told = f"no request with this account's key came to {self.url}"
        # without a key of ours a call is about all accounts, and about requests that belong to none
        status, answer = Client(self.url, token=self._token, timeout=self._timeout).call("GET", "/requests")
        others = answer["requests"] if status == 200 else []
        strangers = [record for record in others if record["status"] == 401][:1]
        if not strangers:
            return told
        return "\n".join([f"{told}; the last one there without a valid key:", *transcript.lines(strangers)])


class Clock:
    """An account's clock. Moments are Unix seconds; `now` is settable, forwards only, and so is `speed`."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def _get(self) -> dict[str, Any]:
        clock: dict[str, Any] = self._account.call("GET", "/clock")
        return clock

    def _set(self, **change: Any) -> float:
        return float(self._account.call("PATCH", "/clock", change, timeout=LONG)["now"])

    @property
    def now(self) -> float:
        """The moment that it shows."""
        return float(self._get()["now"])

    @now.setter
    def now(self, moment: float) -> None:
        self._set(now=moment)

    @property
    def speed(self) -> float:
        """Its seconds in a real one."""
        return float(self._get()["speed"])

    @speed.setter
    def speed(self, factor: float) -> None:
        self._set(speed=factor)

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return bool(self._get()["frozen"])

    def freeze(self) -> float:
        """Stops it; the moment that it shows from now on."""
        return self._set(frozen=True)

    def unfreeze(self) -> float:
        """Lets it run on from the moment that it shows."""
        return self._set(frozen=False)

    def per_request(self, seconds: float) -> None:
        """Moves it on by so much before each request, so that a loop which polls ends soon; 0 ends that."""
        self._set(per_request=seconds)

    def advance(self, seconds: float, *, timeout: float = LONG) -> float:
        """Moves it on; the moment then. All that fell due has happened, callback attempts included.

        timeout: real seconds, for receivers take their time.
        """
        return float(self._account.call("POST", "/clock/advance", {"seconds": seconds}, timeout=timeout)["now"])


class Task:
    """A task of an account, by its id."""

    def __init__(self, account: Account, task_id: str) -> None:
        self._account = account
        self.id = task_id

    @property
    def view(self) -> TaskView:
        """What it is now. Raises Refused 404."""
        for task in self._account.call("GET", "/tasks?limit=10000")["tasks"]:
            if task["id"] == self.id:
                found: TaskView = task
                return found
        raise Refused(404, "task_not_found", f"there is no task {self.id!r} in this account")

    def finish(
        self, outcome: Outcome = "completed", *, code: str | None = None, message: str | None = None
    ) -> TaskView:
        """Ends it now; its callback is made. code, message: of a failure. Raises Refused 404, 409 where it is over."""
        body = {"outcome": outcome, "code": code, "message": message}
        given = {name: value for name, value in body.items() if value is not None}
        view: TaskView = self._account.call("POST", f"/tasks/{quote(self.id, safe='')}/finish", given, timeout=LONG)
        return view


class Inbox:
    """A receiver of callbacks inside the mock, for the tasks of one account."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._path = f"/inbox/{quote(name, safe='')}"
        self.name = name
        self.url = f"https://inbox.sora-mock.test/{quote(name, safe='')}"
        """The `callback_url` that leads here."""

    @property
    def messages(self) -> list[Message]:
        """What came, oldest first."""
        messages: list[Message] = self._account.call("GET", self._path)["messages"]
        return messages

    def reply(self, *replies: int | Reply) -> None:
        """What it answers next, as statuses or `{"status": 204, "delay": 11}`; the last one holds for ever."""
        told = [{"status": reply} if isinstance(reply, int) else reply for reply in replies]
        self._account.call("PUT", self._path, {"replies": told})

    def wait(self, count: int = 1, *, timeout: float = 10.0) -> list[Message]:
        """Returns when so many messages are there. timeout: real seconds, at most 60. Raises TimeoutError."""
        if not math.isfinite(timeout):
            raise ValueError(f"expected seconds up to 60, got {timeout!r}")
        path = f"{self._path}?wait={timeout:.3f}&count={count}"
        messages: list[Message] = self._account.call("GET", path, timeout=timeout + self._account._timeout)["messages"]
        if len(messages) < count:
            frozen = "; the clock is frozen, advance it" if self._account.clock.frozen else ""
            raise TimeoutError(f"inbox {self.name!r} got {len(messages)} of {count} messages in {timeout:g} s{frozen}")
        return messages
