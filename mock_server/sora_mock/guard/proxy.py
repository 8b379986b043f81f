"""The spending guard: a local proxy in front of the service. It holds the key and never exceeds its cap.

Before a request that may cost money, the guard reserves its price and syncs the ledger to the disk. A request whose
price is not certain goes out alone, with all that is left reserved. A 4xx returns the reservation. A 2xx books what the
response says. Everything else (5xx, redirects, 408, no response, a crash) leaves it spent. The guard's own responses
have the status 470, which no service uses and no client retries, a code `guard_...` and the header `x-sora-mock-guard`.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.types import Receive, Scope, Send

from sora_mock.domain.ledger import to_credits
from sora_mock.guard.ledger import LedgerError, Reservation, SpendingLedger
from sora_mock.guard.pricing import Free, Priced, Pricing, Uncertain
from sora_mock.guard.recording import Recording, task_id
from sora_mock.guard.request import GuardedRequest, forwarded, key_class, with_key
from sora_mock.guard.secret import Secret, TooMuchToSearch, is_quick
from sora_mock.guard.settlement import LONGEST_TASK, settlement
from sora_mock.guard.upstream import NoReply, Upstream, UpstreamResponse
from sora_mock.runtime import connections
from sora_mock.runtime.clock import real_now

OWN_STATUS: Final = 470
"""An unassigned 4xx, because SDKs do not retry those."""
REQUEST_TIMEOUT: Final = 408
"""The guard's own response to a request body that does not arrive in time."""

MAX_BODY: Final = 8 * 1024 * 1024
_USER_AGENT: Final = (b"user-agent", b"sora-mock-guard")
_MARK: Final = b"x-sora-mock-guard"
"""A header of the guard's own responses. The guard removes this header from responses of the service."""
_FINDING: Final = b"x-sora-mock-guard-finding"
"""A header of responses that contained the key. The guard removes this header from responses of the service."""

_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_OF_ONE_CONNECTION: Final = set(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings expect "
    b"content-length".split()
)
Pairs = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The guard responds itself, because it sent nothing or got no response to pass on. code: begins with `guard_`."""

    def __init__(self, code: str, message: str, status: int = OWN_STATUS) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class GuardProxy:
    """The proxy as an ASGI application.

    say: prints one line for the user; the line never holds the key. recording: None if nothing is recorded.
    """

    upstream: Upstream
    secret: Secret
    ledger: SpendingLedger
    pricing: Pricing
    recording: Recording | None = None
    say: Callable[[str], None] = lambda line: print(f"sora-mock guard: {line}", file=sys.stderr, flush=True)
    closed: str | None = None
    """Why the guard must spend nothing more, if it could not write that to the ledger. None otherwise."""

    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a request of uncertain price is in flight: others wait for what it leaves of the budget."""

    search: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a thread searches a large response for the key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds to one request."""
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive)
            if body is None:
                return
            reply = await self._response(scope, body)
        except Refused as refused:
            error = {"code": refused.code, "message": str(refused), "type": "guard_error"}
            content = self.secret.scrubbed(msgspec.json.encode({"error": error}))
            marks = [(b"content-type", b"application/json"), (_MARK, refused.code.encode())]
            if refused.status == REQUEST_TIMEOUT:
                marks.append((b"connection", b"close"))
            reply = UpstreamResponse(refused.status, marks, content)
        headers = reply.headers
        if reply.status not in (204, 304) and scope["method"] != "HEAD":
            headers = [*headers, (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _response(self, scope: Scope, body: bytes) -> UpstreamResponse:
        """The response of the service without the key. Raises Refused."""
        received: Pairs = [(name.lower(), value) for name, value in scope["headers"]]
        _refuse_other_origins(received)
        given = forwarded(received)
        path, key = scope["raw_path"].decode("latin-1"), key_class(given, self.secret.key)
        request = GuardedRequest(scope["method"], path, scope["query_string"], given, body, key)
        found = self.pricing.classify(request)
        if isinstance(found, Free):
            return await self._sent(request, found, None)
        if isinstance(found, Priced):
            # while an uncertain request is in flight, nothing is left to reserve
            async with self.alone:
                reservation = self._reserve(found)
            return await self._sent(request, found, reservation)
        if isinstance(found, Uncertain):
            async with self.alone:
                return await self._sent(request, found, self._reserve(found))
        raise Refused("guard_refused", f"not sent: {found.reason}")

    def _reserve(self, found: Priced | Uncertain) -> Reservation:
        """Reserves the price of a request, or all that is left if the price is not certain. Raises Refused."""
        if self.closed is not None:
            raise Refused("guard_refused", f"not sent: the budget is closed: {self.closed}")
        try:
            if isinstance(found, Priced):
                reserved = self.ledger.reserve(found.budget, found.units)
            else:
                reserved = self.ledger.reserve_rest(found.budget, found.units, found.least)
        except (OSError, LedgerError) as problem:
            raise Refused("guard_refused", f"not sent: the ledger cannot be written: {problem}") from None
        if isinstance(reserved, str):
            why = "" if found.reason is None else f" ({found.reason})"
            raise Refused("guard_refused", f"not sent: {reserved}{why}")
        return reserved

    async def _sent(
        self, request: GuardedRequest, found: Free | Priced | Uncertain, reservation: Reservation | None
    ) -> UpstreamResponse:
        """Sends one request and books its cost. Raises Refused."""
        headers = with_key(request.headers, self.secret.key)
        # the guard cannot search a compressed response for the key
        headers += [(b"accept-encoding", b"identity"), _USER_AGENT]
        target = request.path.encode("latin-1") + (b"?" + request.query if request.query else b"")
        at = real_now()
        outcome: UpstreamResponse | NoReply
        try:
            outcome = await self.upstream.send(
                request.method, target, headers, request.body, paid=reservation is not None
            )
            outcome = await self._clean(outcome)
        except NoReply as failure:
            outcome = failure
        what = f"{request.method} {request.path[:100]}"
        if outcome.status == 402 and request.key == "live":
            self._close("the service responded with 402", "the service responded with 402: the budget is closed")
        if reservation is not None and not isinstance(found, Free):
            self._settle(reservation, found, outcome, what)
        if self.recording is not None:
            response = str(outcome) if isinstance(outcome, NoReply) else outcome
            exchange = (at, request.key, request.method, target, request.headers, request.body, response)
            try:
                await asyncio.to_thread(self.recording.add, *exchange)
            except (OSError, TooMuchToSearch) as problem:
                self._report(f"an exchange was not recorded: {problem}")
        if isinstance(outcome, NoReply):
            raise Refused("guard_no_reply", f"the service gave no usable reply: {outcome}")
        if any(name == _FINDING for name, _ in outcome.headers):
            self._report(f"finding: the response to {what} contained the key, or a packed part that cannot be searched")
        return outcome

    def _settle(
        self, reservation: Reservation, found: Priced | Uncertain, outcome: UpstreamResponse | NoReply, what: str
    ) -> None:
        """Books the cost of a request. If the ledger cannot be written, the reservation stays spent."""
        cost, task = settlement(found, reservation.units, outcome), None
        if isinstance(outcome, UpstreamResponse) and 200 <= outcome.status < 300:
            task = task_id(outcome) if len(outcome.body) <= LONGEST_TASK else None
            if found.budget == "rejection":
                self._report(f"finding: the service accepted what it should reject: {what}: {found.reason} [{task}]")
        try:
            if cost.units != reservation.units or task is not None:
                self.ledger.settle(reservation, cost.units, task)
        except (OSError, LedgerError) as problem:
            self._report(f"the ledger cannot be written, {to_credits(reservation.units)} credits stay spent: {problem}")
        if cost.problem is not None:
            self._close(cost.problem, f"finding: {what}: {cost.problem}; the budget is closed")

    def _close(self, reason: str, line: str) -> None:
        """Ends all spending and prints that once. If the ledger cannot be written, only this process ends it."""
        try:
            if self.ledger.close_budget(reason):
                self._report(line)
        except (OSError, LedgerError) as problem:
            self.closed = reason
            self._report(f"{line}; the ledger cannot be written: {problem}")

    def _report(self, line: str) -> None:
        # one printable line: the service or the client may have sent control characters
        plain = line.encode("ascii", "backslashreplace").decode()
        self.say(self.secret.scrubbed("".join(c if c >= " " else "?" for c in plain).encode()).decode())

    async def _clean(self, reply: UpstreamResponse) -> UpstreamResponse:
        """The response without the key and without headers of the other connection or of the encoding.

        If it had to be changed for that, it has the header `_FINDING`. Raises NoReply for a response that takes too
        long to search.
        """
        dropped = _OF_ONE_CONNECTION | {b"content-encoding", _MARK, _FINDING}
        headers = [pair for pair in reply.headers if pair[0].lower() not in dropped]
        texts = [text for pair in headers for text in pair]
        try:
            *clean, body = await self._scrubbed([*texts, reply.body])
        except TooMuchToSearch as problem:
            raise NoReply(f"the reply is {problem}", sent=True, status=reply.status) from None
        kept = list(zip(clean[::2], clean[1::2], strict=True))
        if kept != headers or body != reply.body:
            kept.append((_FINDING, b"key"))
        return UpstreamResponse(reply.status, kept, body)

    async def _scrubbed(self, texts: list[bytes]) -> list[bytes]:
        """The texts without the key. Raises TooMuchToSearch."""
        if is_quick(texts):
            return self.secret.all_scrubbed(texts)
        # a hostile response takes a second, and other requests and signals go on meanwhile; one at a time needs the
        # memory of one
        async with self.search:
            return await asyncio.to_thread(self.secret.all_scrubbed, texts)


def _refuse_other_origins(headers: Pairs) -> None:
    """Raises Refused for requests of other web pages: they could spend money through the user's browser."""
    for name, value in headers:
        text = value.decode("latin-1")
        other_origin = (
            (name == b"host" and _host(f"//{text}") not in _LOOPBACK)
            or (name == b"origin" and _host(text) not in _LOOPBACK)
            or (name == b"sec-fetch-site" and text == "cross-site")
        )
        if other_origin:
            raise Refused("guard_refused", f"not sent: {name.decode()} {text[:80]!r} is not this machine")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


async def _body(receive: Receive) -> bytes | None:
    """The whole body, None if the client disconnected before its end.

    Raises Refused for more than `MAX_BODY`, and for a body that does not arrive within `connections.BODY_TIMEOUT`.
    """
    # one buffer: a list of a million small parts takes much more memory than their bytes
    body = bytearray()
    try:
        async with asyncio.timeout(connections.BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise Refused("guard_refused", f"not sent: the body is larger than {MAX_BODY >> 20} MiB")
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        late = f"not sent: the request body did not arrive within {connections.BODY_TIMEOUT:g} s"
        raise Refused("guard_refused", late, REQUEST_TIMEOUT) from None
