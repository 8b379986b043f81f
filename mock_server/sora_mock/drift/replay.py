"""The recorded requests sent to a mock: the same keys, ids, ages and ends of tasks as when they were recorded."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sora_mock.client.http import Client, Unreachable
from sora_mock.drift.compare import Difference, Reply, differences
from sora_mock.drift.recording import UNREADABLE, Exchange, read_json
from sora_mock.verify.target import CREATE, ORDER

if TYPE_CHECKING:
    import httpx

ACCOUNTS: Final = {"live": "sk-drift-live", "other": "sk-drift-other"}
WRONG_KEY: Final = "wrong-key-of-the-replay"
BALANCE: Final = 10_000_000
INBOX: Final = "drift"

_NOT_SENT_AGAIN: Final = {"host", "content-length", "accept-encoding", "connection", "transfer-encoding", "expect"}
_CREDENTIALS: Final = {"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"}
_FORCED: Final = {429: "rate_limited", 500: "internal_error", 502: "bad_gateway"}
_FORCED_ON_CREATION: Final = {402: "insufficient_quota", 403: "model_access_denied"}
"""Refusals that depend on the account or the day, not on the request: the mock is told to give them too."""


class NoAnswer(Exception):
    """The mock stopped answering, or refused what the replay needs of its control API."""


class Replay:
    """One replay against the mock at `url`. Raises NoAnswer; ValueError for a URL that cannot be a mock's."""

    def __init__(self, url: str, http: "httpx.Client") -> None:
        self.url, self.http = url, http
        self._now: float | None = None
        """The moment of the recording that the accounts' clocks stand at."""
        self._names: dict[str, str] = {}
        """Ids and paths of result files on the mock, by the recorded ones."""
        self._owners: dict[str, str] = {}
        """Keys that created the tasks, by the recorded ids."""
        self._clients = {key: Client(url, key, timeout=60) for key in ACCOUNTS.values()}

    def __enter__(self) -> "Replay":
        for key in self._clients:
            self._control(key, "POST", "/reset", {})
            self._control(key, "PATCH", "/clock", {"frozen": True})
            self._control(key, "PATCH", "/account", {"remaining_credits": BALANCE, "rate_limit": None})
            # no task ends by itself: the recording says when and how
            self._control(key, "POST", "/scenarios", {"scenario": "stuck", "times": None})
        return self

    def __exit__(self, *_: object) -> None:
        for key in self._clients:
            try:
                self._control(key, "POST", "/reset", {})
            except NoAnswer:
                return

    def step(self, exchange: Exchange) -> Iterator[Difference]:
        """Sends one recorded request; where the mock's answer differs. The exchange has a reply."""
        recorded = exchange.reply
        assert recorded is not None
        self._advance(exchange.at)
        key = _key(exchange)
        self._route_callback(exchange, key)
        yield from self._prepare_task(exchange, key)
        found = self._send(exchange, key)
        self._learn(exchange, key, found.body)
        told = Reply(recorded.status, dict(recorded.headers), exchange.json())
        if recorded.body.size is not None:
            # the end of it was not kept
            told, found = told._replace(body=UNREADABLE), found._replace(body=UNREADABLE)
        yield from differences(told, found)

    # --- what surrounds the request ---

    def _control(self, key: str, method: str, path: str, body: Any = None, may_fail: bool = False) -> int:
        try:
            status, answer = self._clients[key].call(method, path, body)
        except Unreachable as problem:
            raise NoAnswer(f"{self.url} does not answer: {problem}") from None
        if status >= 300 and not may_fail:
            raise NoAnswer(f"the control API of {self.url} answered {status} to {method} {path}: {str(answer)[:200]}")
        return status

    def _advance(self, at: float) -> None:
        """Moves the clocks on by what passed in the recording; exchanges that overlapped stand still."""
        passed = 0.0 if self._now is None else at - self._now
        self._now = at if self._now is None else max(at, self._now)
        if passed > 0:
            for key in self._clients:
                self._control(key, "POST", "/clock/advance", {"seconds": passed})

    def _route_callback(self, exchange: Exchange, key: str | None) -> None:
        """A callback that the recorded service accepted goes to an inbox: no stranger hears of a replay."""
        order = read_json(exchange.request.body.content())
        url = order.get("callback_url") if isinstance(order, dict) else None
        accepted = exchange.reply is not None and exchange.reply.status < 300
        if key in self._clients and accepted and isinstance(url, str):
            try:
                parts = urlsplit(url)
                origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            except ValueError:
                return
            routes = {origin: f"{self.url}/__mock/inbox/{INBOX}"}
            self._control(key, "PUT", "/callback-routes", routes, may_fail=True)

    def _prepare_task(self, exchange: Exchange, key: str | None) -> Iterator[Difference]:
        """Brings the task of a recorded poll to where it was: there, and ended as it had."""
        told = exchange.json()
        if exchange.task is None or not exchange.path.startswith("/v1/tasks/") or key not in self._clients:
            return
        recorded_id = exchange.task.id
        if exchange.reply is not None and exchange.reply.status == 200 and recorded_id not in self._names:
            self._stand_in(recorded_id, key)
        ended = _outcome(told)
        if ended is None or recorded_id not in self._names:
            return
        owner = self._owners[recorded_id]
        path = f"/tasks/{self._names[recorded_id]}/finish"
        status = self._control(owner, "POST", path, ended, may_fail=True)
        if status == 400 and "code" in ended:
            yield Difference("error.code: value", repr(ended.pop("code")), "unknown to the mock")
            self._control(owner, "POST", path, ended, may_fail=True)

    def _stand_in(self, recorded_id: str, key: str) -> None:
        """A task for one that the recording polls but did not create."""
        headers = [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
        body = self._sent("POST", CREATE, headers, json.dumps(ORDER).encode()).body
        if isinstance(body, dict) and isinstance(body.get("id"), str):
            self._names[recorded_id], self._owners[recorded_id] = body["id"], key

    def _learn(self, exchange: Exchange, key: str | None, body: Any) -> None:
        """Remembers the mock's names for what both replies name."""
        told = exchange.json()
        if not isinstance(told, dict) or not isinstance(body, dict) or key not in self._clients:
            return
        one, other = told.get("id"), body.get("id")
        if exchange.path == CREATE and isinstance(one, str) and isinstance(other, str):
            self._names.setdefault(one, other)
            self._owners.setdefault(one, key)
        for link, own in zip(_links(told), _links(body), strict=False):
            self._names[urlsplit(link).path] = urlsplit(own).path

    # --- the request ---

    def _send(self, exchange: Exchange, key: str | None) -> Reply:
        target = exchange.target
        # the longest first: a path may hold what is itself a name
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
        forced = _forced(exchange)
        if forced is not None:
            headers.append(("x-mock-scenario", forced))
        return self._sent(exchange.method, target, headers, exchange.request.body.content())

    def _sent(self, method: str, target: str, headers: list[tuple[str, str]], content: bytes) -> Reply:
        import httpx

        try:
            url = httpx.URL(self.url).copy_with(raw_path=target.encode("latin-1"))
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            answer = self.http.request(method, url, headers=encoded, content=content or None)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise NoAnswer(f"{self.url} gave no answer to {method} {target[:80]}: {problem!r}") from None
        return Reply(answer.status_code, answer.headers, read_json(answer.content))


def _key(exchange: Exchange) -> str | None:
    """What the request carries on the mock. A key that the service refused counts as wrong, whoever's it is.

    It may have expired, or come under another scheme than Bearer, which a recording does not tell.
    """
    if exchange.key == "none":
        return None
    refused = exchange.reply is not None and exchange.reply.status == 401
    if exchange.key == "invalid" or refused:
        return WRONG_KEY
    return ACCOUNTS[exchange.key]


def _forced(exchange: Exchange) -> str | None:
    """The scenario of the mock that gives the recorded refusal; None where the request alone decides."""
    status = exchange.reply.status if exchange.reply else 200
    if exchange.key != "live" and status in (402, 403):
        return None
    if status > 502:
        return f"service_unavailable status={status}"
    if exchange.path == CREATE and exchange.method == "POST" and status in _FORCED_ON_CREATION:
        return _FORCED_ON_CREATION[status]
    return _FORCED.get(status)


def _outcome(told: Any) -> dict[str, Any] | None:
    """How a recorded task had ended, as `finish` takes it; None for one that had not."""
    status = told.get("status") if isinstance(told, dict) else None
    if status == "completed":
        return {"outcome": "completed"}
    if status not in ("failed", "cancelled"):
        return None
    error = told.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    cancelled = status == "cancelled" or code == "request_cancelled"
    ended = {"outcome": "cancelled" if cancelled else "failed"}
    return {**ended, "code": code} if isinstance(code, str) else ended


def _links(body: dict[str, Any]) -> list[str]:
    results = body.get("results")
    return [link for link in results if isinstance(link, str)] if isinstance(results, list) else []
