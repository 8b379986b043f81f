"""An account of a running mock as a test steers it: clock, credits, scenarios, tasks, callbacks, journal."""

import math
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from sora_mock.client import transcript
from sora_mock.client.control import CALLBACK_TIMEOUT, Clock, Control, Inbox, Refused, Task
from sora_mock.client.views import Delivery, Record, TaskView

# pytest shows the caller's line instead of ours
__tracebackhide__ = True


class Accounts(Control):
    """What can be steered, of one account (`Account`) or of all of them (`AllAccounts`)."""

    def __init__(self, url: str, key: str | None, *, token: str | None = None, timeout: float = 10.0) -> None:
        super().__init__(url, key, token=token, timeout=timeout)
        self.clock = Clock(self)
        self._routes: dict[str, str] = {}

    def __repr__(self) -> str:
        # without the key, because pytest shows this text in reports
        return f"{type(self).__name__}({self.url!r})"

    def reset(self) -> None:
        """Forgets all tasks, requests, callbacks and changes."""
        self.call("POST", "/reset")
        self._routes = {}

    def scenario(
        self, name: str, /, *, times: int | None = 1, match: Mapping[str, Any] | None = None, **override: Any
    ) -> None:
        """Queues a scenario for the next requests that match.

        times: number of requests, None for all. match: such as `{"prompt": "regular expression"}` or
        `{"operation": "query"}`. override: parameters of the scenario, such as `at=0.4` (docs/scenarios.md).
        """
        rule: dict[str, Any] = {"scenario": name, "times": times, "override": override}
        if match is not None:
            rule["match"] = dict(match)
        self.call("POST", "/scenarios", rule)

    def clear_scenarios(self) -> None:
        """Empties the queue of scenarios."""
        self.call("DELETE", "/scenarios")

    def _amount(self, name: str) -> float:
        value = self.call("GET", "/account")[name]
        return math.inf if value == "unlimited" else float(value)

    @property
    def credits(self) -> float:
        """Remaining credits, `math.inf` for an unlimited account. Settable, also to "unlimited"."""
        return self._amount("remaining_credits")

    @credits.setter
    def credits(self, remaining: float | Literal["unlimited"]) -> None:
        self.call("PATCH", "/account", {"remaining_credits": "unlimited" if remaining == math.inf else remaining})

    @property
    def reserved_credits(self) -> float:
        """Credits that are reserved for tasks that have not ended."""
        return self._amount("reserved_credits")

    @property
    def used_credits(self) -> float:
        """Credits that completed tasks have cost."""
        return self._amount("used_credits")

    @property
    def rate_limit(self) -> str | None:
        """The rate limit, such as `60/minute`; None for no limit. Settable, which fills the token bucket."""
        limit: str | None = self.call("GET", "/account")["rate_limit"]
        return limit

    @rate_limit.setter
    def rate_limit(self, limit: str | None) -> None:
        self.call("PATCH", "/account", {"rate_limit": limit})

    @property
    def tasks(self) -> list[TaskView]:
        """The newest 1,000 tasks, newest first."""
        tasks: list[TaskView] = self.call("GET", "/tasks")["tasks"]
        return tasks

    def task(self, task_id: str) -> Task:
        """A task by its id. Its members raise Refused 404 where the mock does not know the id."""
        return Task(self, task_id)

    def deliveries(self, task_id: str | None = None) -> list[Delivery]:
        """The newest 1,000 callbacks, newest first. task_id: None for the callbacks of all tasks."""
        query = "" if task_id is None else f"?task_id={quote(task_id, safe='')}"
        deliveries: list[Delivery] = self.call("GET", f"/deliveries{query}")["deliveries"]
        return deliveries

    def redeliver(self, delivery_id: str) -> Delivery:
        """Sends a callback once more and returns when that attempt has ended. Raises Refused 404 and 409."""
        path = f"/deliveries/{quote(delivery_id, safe='')}/redeliver"
        delivery: Delivery = self.call("POST", path, timeout=CALLBACK_TIMEOUT)
        return delivery

    def route(self, origin: str, url: str) -> None:
        """Sends callbacks for an origin, such as https://hooks.example.com, to a receiver that the test started."""
        routes = {**self._routes, origin: url}
        self.call("PUT", "/callback-routes", routes)
        self._routes = routes

    @property
    def requests(self) -> list[Record]:
        """The journal: the newest 1,000 requests to the emulated service, newest first."""
        requests: list[Record] = self.call("GET", "/requests")["requests"]
        return requests

    def journal(self, limit: int = 20) -> str:
        """The newest requests and callbacks, at most `limit` of each, as text for a person, oldest first."""
        requests = self.call("GET", f"/requests?limit={limit}")["requests"]
        deliveries = self.call("GET", f"/deliveries?limit={limit}")["deliveries"]
        return "\n".join(transcript.lines(requests, deliveries)) or self._empty_journal()

    def _empty_journal(self) -> str:
        """The text of a journal without requests."""
        return f"no request came to {self.url}"


class Account(Accounts):
    """The account of a key on the mock at `url`. Every member raises Refused or Unreachable.

    token: for mocks beyond loopback, by default $SORA_MOCK_CONTROL_TOKEN. timeout: real seconds for one request.
    Raises ValueError for a URL that is not an origin such as http://127.0.0.1:4010.
    """

    def __init__(self, url: str, key: str, *, token: str | None = None, timeout: float = 10.0) -> None:
        super().__init__(url, key, token=token, timeout=timeout)
        self.api_key = key
        """The API key that a client of this account uses."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a request of this account sends."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def inbox(self, name: str) -> Inbox:
        """A receiver of callbacks inside the mock."""
        return Inbox(self, name)

    def _empty_journal(self) -> str:
        """An account without requests most often means that the client used another key: names that request."""
        text = f"no request with this account's key came to {self.url}"
        try:
            records = AllAccounts(self.url, token=self._token, timeout=self.timeout).requests
        except Refused:
            return text
        rejected = [record for record in records if record["status"] == 401][:1]
        if not rejected:
            return text
        return "\n".join([f"{text}; the last one there without a valid key:", *transcript.lines(rejected)])


class AllAccounts(Accounts):
    """All accounts of the mock at `url` at once, as control requests without a key mean them (docs/reference.md).

    Lists combine all accounts, and the journal holds requests without a valid key too. The clock, the credits and the
    rate limit show what a new account starts with. A change applies to every account and to later ones; `reset`
    forgets everything. Parameters and errors are those of `Account`.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 10.0) -> None:
        super().__init__(url, None, token=token, timeout=timeout)
