"""The server under test as one rule sees it: an account of its own, every exchange remembered, money watched."""

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
"""What the guard exchanges for the real key (interface.md)."""

GENERATION: Final = 20.0
"""Seconds that a task of the suite takes on a mock; a tenth of them it is pending."""

LARGEST_REPLY: Final = 16 << 20
LONGEST_WAIT: Final = {True: 15.0, False: 2 * TIMEOUT + 10}
"""Real seconds for an answer, of a mock and of the guard: that one knows first when the service gives none."""

GUARDED: Final = "x-sora-mock-guard"
"""A header of answers that the guard gave in the service's place."""

_OWN: Final = "the rule's own key"


class Target:
    """One rule's view of the server: an account of its own on a mock, the guard's placeholder key elsewhere.

    Raises Broken where an answer is wrong or missing, Unverified where a request must not be sent.
    """

    def __init__(self, session: VerifySession, rule: Rule) -> None:
        self.session, self.rule = session, rule
        self.is_mock = session.control
        self.url = session.url
        self.exchanges: list[ExchangeText] = []
        self.key = self.other_key("own") if self.is_mock else PLACEHOLDER
        self.over_at = time.monotonic() + session.patience
        self._purse = rule.price + (session.spare if rule.greedy else 0)
        if self.is_mock:
            self.prepare(self.key)

    # --- the public face ---

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
        """One request; redirects are not followed. key: None sends none. authorization: the whole header instead."""
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
        """A creation of the suite's usual order with other `fields`; a field that is `...` is left out."""
        body = {name: value for name, value in {**ORDER, **fields}.items() if value is not ...}
        return self.send("POST", CREATE, key=key, headers=headers, body=body)

    def created(self, **fields: Any) -> Any:
        """The reply to a creation that has to succeed."""
        return self.create(**fields).must_be(200)

    def shared(self) -> Any:
        """A creation's reply: a new one on a mock, one for all rules elsewhere."""
        if self.is_mock:
            return self.created()
        with self.session.lock:
            if self.session.not_shared is not None:
                raise Unverified(f"the creation that this rule shares with others was lost: {self.session.not_shared}")
            if self.session.shared is None:
                try:
                    self.session.shared = self.create()
                except Broken as problem:
                    # it may have been paid for: nobody buys another one
                    self.session.not_shared = str(problem)
                    raise
            return self.session.shared.must_be(200)

    def task(self, task_id: str, **more: Any) -> Any:
        """What the query says of a task."""
        return self.get(f"/v1/tasks/{task_id}", **more).must_be(200)

    def balance(self, key: str | None = _OWN) -> tuple[float, float]:
        """Remaining and used credits."""
        token = self.get(CREDITS, key=key).must_be(200)["data"]["token"]
        return token["remaining_credits"], token["used_credits"]

    # --- what only a mock has ---

    def control(self, method: str, path: str, body: Any = None, key: str | None = _OWN) -> Any:
        """A control call about the rule's account, which has to succeed."""
        client = Client(self.url, self.key if key is _OWN else key, timeout=max(1.0, self._left()))
        status, answer = client.call(method, path, body)
        if status in (401, 403, 404):
            raise Unverified(f"the control API answered {status} to {method} {path}: {answer}")
        # what is allowed and known has to work: a mock that cannot be steered is wrong, whatever it says otherwise
        true(f"the control API's answer to {method} {path}", 200 <= status < 300, (status, answer), "200")
        return answer

    def prepare(self, key: str) -> None:
        """An account without history: its clock stands still, its tasks complete after `GENERATION` seconds."""
        self.control("POST", "/reset", {}, key)
        self.control("PATCH", "/clock", {"frozen": True}, key)
        self.control("PATCH", "/account", {"remaining_credits": 1000, "rate_limit": None}, key)
        self.scenario("completed", key=key, generation_time=GENERATION, queue_time=GENERATION / 10)

    def scenario(self, name: str, *, key: str | None = _OWN, **override: Any) -> None:
        """Every further creation of the account runs like this."""
        self.control("DELETE", "/scenarios", None, key)
        self.control("POST", "/scenarios", {"scenario": name, "times": None, "override": override}, key)

    def advance(self, seconds: float, key: str | None = _OWN) -> float:
        """Moves the account's clock; its moment afterwards."""
        return float(self.control("POST", "/clock/advance", {"seconds": seconds}, key)["now"])

    def now(self) -> float:
        """The account's moment."""
        return float(self.control("GET", "/clock")["now"])

    def other_key(self, name: str) -> str:
        """A key of another account of this rule; `name` tells several apart."""
        digest = sha256(f"{self.session.seed} {self.rule.id} {name}".encode()).hexdigest()
        return f"sk-verify-{digest[:24]}"

    def other_account(self, name: str = "other") -> str:
        """The key of a second account, prepared."""
        key = self.other_key(name)
        self.prepare(key)
        return key

    def wait(self, seconds: float) -> None:
        """Lets time pass: the clock of a mock, real seconds elsewhere."""
        if self.is_mock:
            self.advance(seconds)
        else:
            time.sleep(min(seconds, self._left()))

    # --- what they share ---

    def _left(self) -> float:
        left = self.over_at - time.monotonic()
        if left <= 0:
            raise Broken("time", f"more than {self.session.patience:g} s", "an end of this rule")
        return left

    def _watch_money(self, method: str, content: bytes, headers: dict[str, str]) -> None:
        """On the live service: nothing that costs more than the rule's price says. Raises Unverified."""
        if self.is_mock or method in ("GET", "HEAD"):
            return
        price = self._worst_price(content, headers)
        if price == 0:
            return
        if price is None:
            if not self.session.surprise:
                raise Unverified("the body should be refused, but a lax service might take it: not sent")
            return
        if headers.get("Authorization") != f"Bearer {PLACEHOLDER}":
            raise Unverified("a valid body is never sent without the key that pays for it")
        if price > self._purse + 1e-9:
            raise Unverified(f"the body costs {price} credits, more than the rule's price: not sent")
        self._purse -= price

    def _worst_price(self, content: bytes, headers: dict[str, str]) -> float | None:
        """Credits that a correct service reserves; 0 for what nobody could price; None for what should be refused."""
        try:
            # whatever the header says: a service may not look at it
            request = self.session.contract.read_create_request(None, content)
        except ApiError:
            return None if _is_object(content) else 0
        return TEN_SECONDS if request["duration"] == 10 else FIFTEEN_SECONDS

    def _exchange(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> TargetResponse:
        # not there without the extra `verify`
        import httpx

        asked = self._request_text(method, path, headers, content)
        body = bytearray()
        try:
            request = self.session.http.build_request(
                method,
                self.url + path,
                headers=headers,
                content=content,
                timeout=min(LONGEST_WAIT[self.is_mock], self._left()),
            )
            answer = self.session.http.send(request, stream=True)
            try:
                # a server may drip its answer: no read times out, yet there is no end
                for chunk in answer.iter_raw():
                    body += chunk
                    self._left()
                    true("size of the answer", len(body) <= LARGEST_REPLY, len(body), f"at most {LARGEST_REPLY}")
            finally:
                answer.close()
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            self._remember(asked, f"(no answer: {type(problem).__name__}: {problem})")
            if not self.is_mock and not self._guard_answers():
                raise GuardEnded("the guard ended during the run") from None
            raise Broken("answer", f"none ({type(problem).__name__}: {problem})", "an answer") from None
        reply = TargetResponse(answer.status_code, {n.lower(): v for n, v in answer.headers.items()}, bytes(body))
        self._remember(asked, reply_text(reply))
        if reply.headers.get(GUARDED) == "guard_no_reply":
            raise Broken("answer", f"none: {reply.body[:300].decode('utf-8', 'replace')}", "an answer")
        if GUARDED in reply.headers:
            raise Unverified(f"the guard did not let it through: {reply.body[:200].decode('utf-8', 'replace')}")
        if not self.is_mock and reply.status == 429:
            raise Unverified("the service's rate limit was reached")
        if not self.is_mock and reply.status == 402:
            raise Unverified("the account has too little credit, or the guard's purse is closed")
        return reply

    def _guard_answers(self) -> bool:
        """Whether the guard lives. It answers other hosts' names by itself, so nothing goes on to the service."""
        # not there without the extra `verify`
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
    """Whether a lax reader could find an order in the body."""
    try:
        return isinstance(json.loads(content), (dict, list)) and len(content) <= 1 << 20
    except (ValueError, RecursionError):
        # a body that does not even end where JSON would is no order
        return b'"prompt"' in content and len(content) <= 1 << 20
