"""The client of the target: an httpx client with a key, for the mock or for the guard in front of the live service."""

import time
from collections.abc import Iterator
from email.utils import parsedate
from typing import Any

import httpx
import pytest

from contract_tests.orders import CREATE, CREDITS, ORDER
from contract_tests.reading import error_of, json_of
from sora_mock.domain.text import visible
from sora_mock.verify.plugin import GuardEnded
from sora_mock.verify.target import FINDING, GUARDED, Target

MAX_RESPONSE = 64 << 20
"""Bytes of a response; a video is the longest."""
MAX_SECONDS = {True: 60.0, False: 2400.0}
"""Real seconds for one test. True: on a mock. False: on the live service."""
MAX_WAIT = {True: 15.0, False: 130.0}
"""Real seconds until a response. On the live service, more than the 120 s that the guard waits."""
MAX_EXCHANGES = 20


class Transport(httpx.HTTPTransport):
    """The connections of a run, which all clients use. A response that does not end is an error."""

    def __init__(self) -> None:
        super().__init__(retries=0, limits=httpx.Limits(max_connections=32))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request; the body's size and time are bounded."""
        response = super().handle_request(request)
        response.stream = _Bounded(response.stream, request.extensions["ends_at"])
        return response


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: Any, ends_at: float) -> None:
        self.stream, self.ends_at = stream, ends_at

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self.stream:
            size += len(chunk)
            if size > MAX_RESPONSE or time.monotonic() > self.ends_at:
                raise httpx.ReadError("the response does not end")
            yield chunk

    def close(self) -> None:
        self.stream.close()


class Service(httpx.Client):
    """A client of the target. It follows no redirect. A live response that says nothing about the rule skips the test.

    key: sent as `Authorization: Bearer KEY`; None sends none. exchanges: gets each request and its response as text.
    """

    def __init__(self, target: Target, transport: Transport, key: str | None, exchanges: list[str]) -> None:
        self.target, self.is_mock = target, target.is_mock
        self.key, self.exchanges = key, exchanges
        self.ends_at = time.monotonic() + MAX_SECONDS[target.is_mock]
        super().__init__(
            base_url=target.url,
            headers={"Accept-Encoding": "identity"} | ({} if key is None else {"Authorization": f"Bearer {key}"}),
            timeout=MAX_WAIT[target.is_mock],
            transport=transport,
            trust_env=False,
        )

    def with_key(self, key: str | None) -> "Service":
        """The same client with another key; None for none."""
        return Service(self.target, self._transport, key, self.exchanges)  # type: ignore[arg-type]

    def close(self) -> None:
        """Keeps the connections open for the other clients."""

    def send(self, request: httpx.Request, **more: Any) -> httpx.Response:
        """Sends one request. Fails the test where no response comes."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            pytest.fail(f"the rule took more than {MAX_SECONDS[self.is_mock]:g} s")
        request.extensions["ends_at"] = time.monotonic() + min(left, MAX_WAIT[self.is_mock])
        try:
            response = super().send(request, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            self._remember(request, f"(no response: {type(problem).__name__}: {problem})")
            if not self.is_mock and not self._guard_responds():
                raise GuardEnded("the guard ended during the run") from None
            pytest.fail(f"no response to {request.method} {request.url.path}: {type(problem).__name__}: {problem}")
        self.remember(response)
        if not self.is_mock:
            # a result link leads to another server
            check_live(response, is_api=request.url.netloc == self.base_url.netloc)
        return response

    def remember(self, response: httpx.Response) -> None:
        """Keeps an exchange for the report of this test, which may use the response to another one."""
        self._remember(response.request, _response_text(response))

    def create(
        self, *, content: bytes | None = None, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Sends the suite's create request with other `fields`; a field with the value `...` is removed.

        content: sent as it is, instead of that request.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        if content is not None:
            return self.post(CREATE, content=content, headers=sent)
        order = {name: value for name, value in {**ORDER, **fields}.items() if value is not ...}
        return self.post(CREATE, json=order, headers=sent)

    def created(self, **fields: Any) -> Any:
        """The JSON of the response to a create request that must succeed."""
        return accepted(self.create(**fields))

    def task(self, task_id: str, **more: Any) -> Any:
        """The task as the query shows it."""
        return accepted(self.get(f"/v1/tasks/{task_id}", **more))

    def balance(self) -> tuple[float, float]:
        """Remaining and used credits."""
        token = accepted(self.get(CREDITS))["data"]["token"]
        return token["remaining_credits"], token["used_credits"]

    def _guard_responds(self) -> bool:
        """Whether the guard runs. It responds itself to the name of another host, so the service gets no request."""
        try:
            httpx.get(self.target.url, headers={"Host": "guard.invalid"}, timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return True

    def _remember(self, request: httpx.Request, response: str) -> None:
        text = f"{_request_text(request)}\n\n{response}"
        if self.is_mock and self.key:
            text = text.replace(self.key, "***")
        self.exchanges.append(text)
        del self.exchanges[:-MAX_EXCHANGES]


def accepted(response: httpx.Response) -> Any:
    """The JSON of a response with status 200. Fails the test for another status."""
    if response.status_code != 200:
        pytest.fail(
            f"{response.request.method} {response.request.url.path} got {response.status_code}: {response.text[:300]}"
        )
    return json_of(response)


def check_live(response: httpx.Response, *, is_api: bool = True) -> None:
    """Fails the test for a response that the live service must never send; skips it if the response proves nothing.

    is_api: whether the response is one of an operation. Then each error has the documented envelope.
    """
    guard = response.headers.get(GUARDED)
    if FINDING in response.headers:
        pytest.fail("the response contained the API key (or a packed part that the guard cannot search)")
    if guard == "guard_no_reply":
        pytest.fail(f"no response: {response.text[:300]}")
    if guard is not None:
        pytest.skip(f"the guard did not send it: {response.text[:200]}")
    if not is_api:
        return
    if response.has_redirect_location:
        pytest.fail(f"{response.status_code} redirects to {response.headers['location'][:200]}")
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    error = error_of(response)
    if error.status == 429:
        assert error[1:3] in (("rate_limit_exceeded", "rate_limit_error"), ("rate_limit_exceeded", "evo_api_error"))
        after = response.headers.get("retry-after", "0")
        assert after.isdecimal() or parsedate(after), "Retry-After is neither seconds nor a date"
        pytest.skip("the service's rate limit was reached")
    if error.status == 402:
        assert error.code in ("insufficient_quota", "quota_exceeded")
        pytest.skip("the account has too little credit, or the guard's budget is closed")


def _request_text(request: httpx.Request) -> str:
    path = request.url.raw_path.decode("ascii")
    shown = {
        name: "Bearer ***" if name.lower() == "authorization" else value for name, value in request.headers.items()
    }
    lines = [f"> {request.method} {path}", *(f"> {name}: {value}" for name, value in shown.items())]
    return _lines([*lines, ">", *_body_lines(">", request.content)])


def _response_text(response: httpx.Response) -> str:
    lines = [f"< {response.status_code}", *(f"< {name}: {value}" for name, value in response.headers.items())]
    return _lines([*lines, "<", *_body_lines("<", response.content)])


def _body_lines(mark: str, body: bytes) -> list[str]:
    shown = body[:2000].decode("utf-8", "backslashreplace").splitlines()
    return [f"{mark} {line}" for line in shown] + ([f"{mark} ... ({len(body)} bytes)"] if len(body) > 2000 else [])


def _lines(lines: list[str]) -> str:
    return "\n".join(visible(line) for line in lines)
