"""The server under test for one rule: its own account, a record of the exchanges, and a check of the costs."""

import json
import time
from hashlib import sha256
from typing import Any, Final

from sora_mock.client.http import Client
from sora_mock.domain.errors import ApiError
from sora_mock.guard.command import TIMEOUT
from sora_mock.verify.reply import ExchangeText, TargetResponse, plain, reply_text, shown_text
from sora_mock.verify.rule import FIFTEEN_SECONDS, TEN_SECONDS, Broken, GuardEnded, Rule, Unverified, true
from sora_mock.verify.session import VerifySession

CREATE: Final = "/v1/videos/generations"
CREDITS: Final = "/v1/credits"
ORDER: Final = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}

WRONG_KEY: Final = "wrong-key-of-the-contract-suite"
PLACEHOLDER: Final = "contract-live"
"""The guard replaces this key with the real one (docs/guard.md)."""

GENERATION: Final = 20.0
"""Seconds that a task of the suite takes on a mock. It is pending for a tenth of them."""

MAX_RESPONSE: Final = 16 << 20
MAX_WAIT: Final = {True: 15.0, False: 2 * TIMEOUT + 10}
"""Real seconds until a response. True: of a mock. False: of the guard, which waits less long for the service."""

GUARDED: Final = "x-sora-mock-guard"
"""A header of the guard's own responses."""

_OWN: Final = "the rule's own key"


class Target:
    """The server for one rule: on a mock with its own account, on the live service with the guard's placeholder key.

    Raises Broken if a response is wrong or missing, Unverified if a request must not be sent.
    """

    def __init__(self, session: VerifySession, rule: Rule) -> None:
        self.session, self.rule = session, rule
        self.is_mock = session.control
        self.url = session.url
        self.exchanges: list[ExchangeText] = []
        self.key = self.other_key("own") if self.is_mock else PLACEHOLDER
        self.over_at = time.monotonic() + session.patience
        self._budget = rule.price + (session.spare if rule.greedy else 0)
        if self.is_mock:
            self.prepare(self.key)

    # --- for every target ---

    def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = _OWN,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        body: Any = None,
        authorization: str | None = None,
    ) -> TargetResponse:
        """One request; redirects are not followed. key: None sends none. authorization: the whole header."""
        if body is not None:
            content = json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if content is not None else {}
        used = self.key if key is _OWN else key
        if authorization is not None:
            sent["Authorization"] = authorization
        elif used is not None:
            sent["Authorization"] = f"Bearer {used}"
        sent |= headers or {}
        self._watch_money(method, content or b"", sent)
        return self._exchange(method, path, sent, content)

    def get(self, path: str, **more: Any) -> TargetResponse:
        """A GET."""
        return self.send("GET", path, **more)

    def create(self, *, key: str | None = _OWN, headers: dict[str, str] | None = None, **fields: Any) -> TargetResponse:
        """Sends the suite's usual create request with other `fields`. A field with the value `...` is removed."""
        body = {name: value for name, value in {**ORDER, **fields}.items() if value is not ...}
        return self.send("POST", CREATE, key=key, headers=headers, body=body)

    def created(self, **fields: Any) -> Any:
        """The response to a create request that must succeed."""
        return self.create(**fields).must_be(200)

    def shared(self) -> Any:
        """The response to a create request: a new one on a mock, one for all rules on the live service."""
        if self.is_mock:
            return self.created()
        with self.session.lock:
            if self.session.common_lost is not None:
                raise Unverified(f"the create request that several rules use was lost: {self.session.common_lost}")
            if self.session.common is None:
                try:
                    self.session.common = self.create()
                except Broken as problem:
                    # the service may have charged for it, so no rule sends another one
                    self.session.common_lost = str(problem)
                    raise
            return self.session.common.must_be(200)

    def task(self, task_id: str, **more: Any) -> Any:
        """The task as the query shows it."""
        return self.get(f"/v1/tasks/{task_id}", **more).must_be(200)

    def balance(self, key: str | None = _OWN) -> tuple[float, float]:
        """Remaining and used credits."""
        token = self.get(CREDITS, key=key).must_be(200)["data"]["token"]
        return token["remaining_credits"], token["used_credits"]

    # --- for mocks only ---

    def control(self, method: str, path: str, body: Any = None, key: str | None = _OWN) -> Any:
        """Sends a request to the control API for the rule's account. It must succeed."""
        client = Client(self.url, self.key if key is _OWN else key, timeout=max(1.0, self._left()))
        status, value = client.call(method, path, body)
        if status in (401, 403, 404):
            raise Unverified(f"the control API responded with {status} to {method} {path}: {value}")
        # any other error fails the rule: a mock must accept valid requests to its control API
        true(f"the control API's response to {method} {path}", 200 <= status < 300, (status, value), "200")
        return value

    def prepare(self, key: str) -> None:
        """Resets an account: its clock is frozen and its tasks complete after `GENERATION` seconds."""
        self.control("POST", "/reset", {}, key)
        self.control("PATCH", "/clock", {"frozen": True}, key)
        self.control("PATCH", "/account", {"remaining_credits": 1000, "rate_limit": None}, key)
        self.scenario("completed", key=key, generation_time=GENERATION, queue_time=GENERATION / 10)

    def scenario(self, name: str, *, key: str | None = _OWN, **override: Any) -> None:
        """Sets the scenario for all later create requests of the account."""
        self.control("DELETE", "/scenarios", None, key)
        self.control("POST", "/scenarios", {"scenario": name, "times": None, "override": override}, key)

    def advance(self, seconds: float, key: str | None = _OWN) -> float:
        """Advances the account's clock and returns its new time in Unix seconds."""
        return float(self.control("POST", "/clock/advance", {"seconds": seconds}, key)["now"])

    def now(self) -> float:
        """The time of the account's clock in Unix seconds."""
        return float(self.control("GET", "/clock")["now"])

    def other_key(self, name: str) -> str:
        """The key of another account of this rule. Each `name` is an account."""
        digest = sha256(f"{self.session.seed} {self.rule.id} {name}".encode()).hexdigest()
        return f"sk-verify-{digest[:24]}"

    def other_account(self, name: str = "other") -> str:
        """Prepares a second account and returns its key."""
        key = self.other_key(name)
        self.prepare(key)
        return key

    def wait(self, seconds: float) -> None:
        """Advances the clock of a mock. On the live service it waits for real seconds."""
        if self.is_mock:
            self.advance(seconds)
        else:
            time.sleep(min(seconds, self._left()))

    # --- internals ---

    def _left(self) -> float:
        left = self.over_at - time.monotonic()
        if left <= 0:
            raise Broken("time", f"more than {self.session.patience:g} s", "the end of this rule")
        return left

    def _watch_money(self, method: str, content: bytes, headers: dict[str, str]) -> None:
        """On the live service, raises Unverified for a request that may cost more than the rule's price."""
        if self.is_mock or method in ("GET", "HEAD"):
            return
        price = self._worst_price(content, headers)
        if price == 0:
            return
        if price is None:
            if not self.session.rejection_budget:
                raise Unverified("the service should reject the body, but a lax one might accept it: not sent")
            return
        if headers.get("Authorization") != f"Bearer {PLACEHOLDER}":
            raise Unverified("the suite never sends a valid body without the key that pays for it")
        if price > self._budget + 1e-9:
            raise Unverified(f"the body costs {price} credits, more than the rule's price: not sent")
        self._budget -= price

    def _worst_price(self, content: bytes, headers: dict[str, str]) -> float | None:
        """Credits that a correct service reserves, 0 for a body without a request, None for one that it must reject."""
        try:
            # without the content type, because a service may ignore that header
            request = self.session.contract.read_create_request(None, content)
        except ApiError:
            return None if _is_object(content) else 0
        return TEN_SECONDS if request["duration"] == 10 else FIFTEEN_SECONDS

    def _exchange(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> TargetResponse:
        # only the extra `verify` installs it
        import httpx

        sent = self._request_text(method, path, headers, content)
        body = bytearray()
        try:
            request = self.session.http.build_request(
                method,
                self.url + path,
                headers=headers,
                content=content,
                timeout=min(MAX_WAIT[self.is_mock], self._left()),
            )
            response = self.session.http.send(request, stream=True)
            try:
                # a server may send one byte after another: no read times out, but the response does not end
                for chunk in response.iter_raw():
                    body += chunk
                    self._left()
                    true("size of the response", len(body) <= MAX_RESPONSE, len(body), f"at most {MAX_RESPONSE}")
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            self._remember(sent, f"(no response: {type(problem).__name__}: {problem})")
            if not self.is_mock and not self._guard_responds():
                raise GuardEnded("the guard ended during the run") from None
            raise Broken("response", f"none ({type(problem).__name__}: {problem})", "a response") from None
        reply = TargetResponse(response.status_code, {n.lower(): v for n, v in response.headers.items()}, bytes(body))
        self._remember(sent, reply_text(reply))
        if reply.headers.get(GUARDED) == "guard_no_reply":
            raise Broken("response", f"none: {reply.body[:300].decode('utf-8', 'replace')}", "a response")
        if GUARDED in reply.headers:
            raise Unverified(f"the guard did not send it: {reply.body[:200].decode('utf-8', 'replace')}")
        if not self.is_mock and reply.status == 429:
            raise Unverified("the service's rate limit was reached")
        if not self.is_mock and reply.status == 402:
            raise Unverified("the account has too little credit, or the guard's budget is closed")
        return reply

    def _guard_responds(self) -> bool:
        """Whether the guard runs. It responds itself to the name of another host, so the service gets no request."""
        # only the extra `verify` installs it
        import httpx

        try:
            self.session.http.get(self.url, headers={"Host": "guard.invalid"}, timeout=5)
        except httpx.HTTPError:
            return False
        return True

    def _request_text(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> str:
        shown = {n: ("Bearer ***" if n.lower() == "authorization" else v) for n, v in headers.items()}
        lines = [f"{method} {path}", *(f"{name}: {value}" for name, value in shown.items())]
        return "\n".join([*lines, "", shown_text(content or b"")]).rstrip()

    def _remember(self, request: str, reply: str) -> None:
        for secret in (self.key, *self.session.secrets):
            if secret and secret != PLACEHOLDER:
                request, reply = request.replace(secret, "***"), reply.replace(secret, "***")
        self.exchanges.append(ExchangeText(plain(request), plain(reply)))
        del self.exchanges[:-20]


def _is_object(content: bytes) -> bool:
    """Whether a lax parser could find a create request in the body."""
    try:
        return isinstance(json.loads(content), (dict, list)) and len(content) <= 1 << 20
    except (ValueError, RecursionError):
        # a body that is not JSON is a create request only if it names a prompt
        return b'"prompt"' in content and len(content) <= 1 << 20
