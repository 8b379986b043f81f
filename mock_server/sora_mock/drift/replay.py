"""Sends recorded requests to a mock whose keys, ids, clock and tasks are as they were when the service responded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sora_mock.client.account import Account
from sora_mock.client.control import Refused
from sora_mock.client.http import Unreachable
from sora_mock.drift.compare import ComparedResponse, Difference, differences
from sora_mock.drift.recording import RecordedExchange
from sora_mock.guard.pricing import CREATE_PATH
from sora_mock.guard.recording import NOT_JSON, read_json

if TYPE_CHECKING:
    import httpx

KEYS: Final = {"live": "sk-drift-live", "other": "sk-drift-other"}
"""The keys of the mock that replace the live key of the recording and other good keys."""

WRONG_KEY: Final = "wrong-key-of-the-replay"
BALANCE: Final = 10_000_000
CONTROL_TIMEOUT: Final = 60.0
"""Real seconds for a control request: the mock may wait for callback attempts."""

INBOX: Final = "drift"
ORDER: Final = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}

_NOT_SENT_AGAIN: Final = {"host", "content-length", "accept-encoding", "connection", "transfer-encoding", "expect"}
_CREDENTIALS: Final = {"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"}
_FORCED: Final = {429: "rate_limited", 500: "internal_error", 502: "bad_gateway"}
_FORCED_ON_CREATE: Final = {402: "insufficient_quota", 403: "model_access_denied"}
"""Statuses that depend on the account or the day, not on the request. A scenario makes the mock send them too."""


class MockFailed(Exception):
    """The mock did not respond, or it rejected a control request. The text is one line."""


class Replay:
    """One replay against the mock at `url`, as a context manager.

    http: sends the recorded requests. Raises MockFailed, and ValueError for a URL that is not an origin.
    """

    def __init__(self, url: str, http: "httpx.Client") -> None:
        self.url, self.http = url, http
        self._now: float | None = None
        """The timestamp of the recording that the accounts' clocks are at; None before the first exchange."""
        self._names: dict[str, str] = {}
        """The mock's task ids and paths of result files, by the recorded ones."""
        self._owners: dict[str, Account] = {}
        """The accounts that created the tasks, by the recorded task ids."""
        self._accounts = {key: Account(url, key, timeout=CONTROL_TIMEOUT) for key in KEYS.values()}

    def __enter__(self) -> "Replay":
        with self._steering():
            for account in self._accounts.values():
                account.reset()
                account.clock.freeze()
                account.credits = BALANCE
                account.rate_limit = None
                # no task ends by itself: the recording shows when and how
                account.scenario("stuck", times=None)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Refused, Unreachable):
            for account in self._accounts.values():
                account.reset()

    def step(self, exchange: RecordedExchange) -> Iterator[Difference]:
        """Sends one recorded request and yields the differences. The exchange must have a response."""
        recorded = exchange.response
        assert recorded is not None
        key = _key(exchange)
        account = None if key is None else self._accounts.get(key)
        with self._steering():
            self._advance(exchange.at)
            if account is not None:
                self._route_callback(exchange, account)
                yield from self._prepare_task(exchange, account)
        found = self._send(exchange, key)
        if account is not None:
            self._learn_names(exchange, account, found.body)
        expected = ComparedResponse(recorded.status, dict(recorded.headers), exchange.json())
        if recorded.body.size is not None:
            # the guard cut the recorded body, so it cannot be compared
            expected, found = expected._replace(body=NOT_JSON), found._replace(body=NOT_JSON)
        yield from differences(expected, found)

    # --- what happens before the request ---

    @contextmanager
    def _steering(self) -> Iterator[None]:
        """Turns errors of control requests into MockFailed."""
        try:
            yield
        except Unreachable as problem:
            raise MockFailed(str(problem)) from None
        except Refused as problem:
            raise MockFailed(f"the control API of {self.url} responded {problem.status}: {problem}") from None

    def _advance(self, at: float) -> None:
        """Moves the clocks on as in the recording. They do not move for exchanges that overlapped."""
        seconds = 0.0 if self._now is None else at - self._now
        self._now = at if self._now is None else max(at, self._now)
        if seconds > 0:
            for account in self._accounts.values():
                account.clock.advance(seconds)

    def _route_callback(self, exchange: RecordedExchange, account: Account) -> None:
        """Sends the callback to an inbox of the mock, so that a replay sends nothing to the recorded receiver."""
        order = read_json(exchange.request.body.content())
        url = order.get("callback_url") if isinstance(order, dict) else None
        accepted = exchange.response is not None and exchange.response.status < 300
        if not accepted or not isinstance(url, str):
            return
        try:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        except ValueError:
            return
        with suppress(Refused):
            account.route(origin, f"{self.url}/__mock/inbox/{INBOX}")

    def _prepare_task(self, exchange: RecordedExchange, account: Account) -> Iterator[Difference]:
        """Creates and ends the task of a recorded poll, so that the mock's task is in the recorded state."""
        if exchange.task is None or not exchange.path.startswith("/v1/tasks/"):
            return
        recorded_id = exchange.task.id
        if exchange.response is not None and exchange.response.status == 200 and recorded_id not in self._names:
            self._create_stand_in(recorded_id, account)
        ending = _ending(exchange.json())
        if ending is None or recorded_id not in self._names:
            return
        task = self._owners[recorded_id].task(self._names[recorded_id])
        try:
            task.finish(**ending)
        except Refused as problem:
            code = ending.pop("code", None)
            # 404 and 409: the mock does not have the task, or it has ended already
            if problem.status != 400 or code is None:
                return
            yield Difference("error.code: value", repr(code), "unknown to the mock")
            with suppress(Refused):
                task.finish(**ending)

    def _create_stand_in(self, recorded_id: str, account: Account) -> None:
        """Creates a task for one that the recording polls but does not create."""
        headers = [*account.headers.items(), ("content-type", "application/json")]
        body = self._request("POST", CREATE_PATH, headers, json.dumps(ORDER).encode()).body
        if isinstance(body, dict) and isinstance(body.get("id"), str):
            self._names[recorded_id], self._owners[recorded_id] = body["id"], account

    def _learn_names(self, exchange: RecordedExchange, account: Account, body: Any) -> None:
        """Remembers which names of the mock replace which names of the recording."""
        recorded = exchange.json()
        if not isinstance(recorded, dict) or not isinstance(body, dict):
            return
        recorded_id, own_id = recorded.get("id"), body.get("id")
        if exchange.path == CREATE_PATH and isinstance(recorded_id, str) and isinstance(own_id, str):
            self._names.setdefault(recorded_id, own_id)
            self._owners.setdefault(recorded_id, account)
        for recorded_link, own_link in zip(_links(recorded), _links(body), strict=False):
            self._names[urlsplit(recorded_link).path] = urlsplit(own_link).path

    # --- the request ---

    def _send(self, exchange: RecordedExchange, key: str | None) -> ComparedResponse:
        """Sends the recorded request with the mock's names and the key of the mock."""
        target = exchange.target
        # the longest first: a path may contain a task id that is a name too
        for recorded in sorted(self._names, key=len, reverse=True):
            if recorded in target:
                target = target.replace(recorded, self._names[recorded])
                break
        dropped = _NOT_SENT_AGAIN | _CREDENTIALS
        headers = [
            (name, value)
            for name, value in exchange.request.headers
            if name not in dropped and not name.startswith("x-mock-")
        ]
        names = {name for name, _ in exchange.request.headers} & _CREDENTIALS or {"authorization"}
        if key is not None:
            headers += [(name, f"Bearer {key}" if "authorization" in name else key) for name in sorted(names)]
        scenario = _forced_scenario(exchange)
        if scenario is not None:
            headers.append(("x-mock-scenario", scenario))
        return self._request(exchange.method, target, headers, exchange.request.body.content())

    def _request(self, method: str, target: str, headers: list[tuple[str, str]], content: bytes) -> ComparedResponse:
        # not installed without the extra `verify`
        import httpx

        try:
            url = httpx.URL(self.url).copy_with(raw_path=target.encode("latin-1"))
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            response = self.http.request(method, url, headers=encoded, content=content or None)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise MockFailed(f"{self.url} did not respond to {method} {target[:80]}: {problem!r}") from None
        return ComparedResponse(response.status_code, response.headers, read_json(response.content))


def _key(exchange: RecordedExchange) -> str | None:
    """The key for the mock; None for a request without one. A key that the service rejected becomes a wrong key.

    It may have expired, or it was sent with another scheme than Bearer; a recording does not show which.
    """
    if exchange.key == "none":
        return None
    rejected = exchange.response is not None and exchange.response.status == 401
    if exchange.key == "invalid" or rejected:
        return WRONG_KEY
    return KEYS[exchange.key]


def _forced_scenario(exchange: RecordedExchange) -> str | None:
    """The scenario that makes the mock send the recorded status; None where the request alone decides."""
    status = exchange.response.status if exchange.response else 200
    if exchange.key != "live" and status in (402, 403):
        return None
    if status > 502:
        return f"service_unavailable status={status}"
    if exchange.path == CREATE_PATH and exchange.method == "POST" and status in _FORCED_ON_CREATE:
        return _FORCED_ON_CREATE[status]
    return _FORCED.get(status)


def _ending(recorded: Any) -> dict[str, Any] | None:
    """How a recorded task ended, as arguments of `Task.finish`; None for a task that has not ended."""
    status = recorded.get("status") if isinstance(recorded, dict) else None
    if status == "completed":
        return {"outcome": "completed"}
    if status not in ("failed", "cancelled"):
        return None
    error = recorded.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    cancelled = status == "cancelled" or code == "request_cancelled"
    ending = {"outcome": "cancelled" if cancelled else "failed"}
    return {**ending, "code": code} if isinstance(code, str) else ending


def _links(body: dict[str, Any]) -> list[str]:
    results = body.get("results")
    return [link for link in results if isinstance(link, str)] if isinstance(results, list) else []
