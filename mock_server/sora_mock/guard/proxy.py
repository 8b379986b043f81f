"""The spending guard: a local proxy in front of the service. It holds the key and never exceeds its cap.

Before a request that may cost money, the guard reserves its price and syncs the ledger to the disk. A 4xx returns the
reservation. A 2xx books what the response says. Everything else (5xx, redirects, 408, no response, a crash) leaves it
spent. The guard's own responses have the status 470, which no service uses and no client retries, a code `guard_...`
and the header `x-sora-mock-guard`.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.types import Receive, Scope, Send

from sora_mock.domain.ledger import UNITS, to_credits
from sora_mock.guard.ledger import LedgerError, Reservation, SpendingLedger
from sora_mock.guard.pricing import CHEAPEST, KeyClass, Pricing, Quote, key_class, with_key
from sora_mock.guard.recording import Recording, task_id
from sora_mock.guard.secret import Secret
from sora_mock.guard.upstream import NoReply, Upstream, UpstreamResponse
from sora_mock.runtime.clock import real_now

OWN_STATUS: Final = 470
"""An unassigned 4xx, because SDKs do not retry those."""

MAX_BODY: Final = 8 * 1024 * 1024
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_OF_ONE_CONNECTION: Final = set(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings expect "
    b"content-length".split()
)
Pairs = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The guard responds itself: it sent nothing, or it got no response to pass on. code: begins with `guard_`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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

    one_unread: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the guard sends an `unread` request. A second one at the same time could be charged unnoticed."""

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
            marks = [(b"content-type", b"application/json"), (b"x-sora-mock-guard", refused.code.encode())]
            reply = UpstreamResponse(OWN_STATUS, marks, content)
        headers = reply.headers
        if reply.status not in (204, 304) and scope["method"] != "HEAD":
            headers = [*headers, (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _response(self, scope: Scope, body: bytes) -> UpstreamResponse:
        """The response of the service without the key. Raises Refused."""
        given: Pairs = [(name.lower(), value) for name, value in scope["headers"]]
        _refuse_other_origins(given)
        key = key_class(given, self.secret.key)
        quote = self.pricing.quote(scope["method"], scope["path"], given, body, key)
        if quote.charge == "refused":
            raise Refused("guard_refused", f"not sent: {quote.reason}")
        if quote.charge == "unread":
            async with self.one_unread:
                return await self._sent(scope, given, body, key, quote)
        return await self._sent(scope, given, body, key, quote)

    async def _sent(self, scope: Scope, given: Pairs, body: bytes, key: KeyClass, quote: Quote) -> UpstreamResponse:
        """Reserves the price of one request, sends it and books its cost. Raises Refused."""
        reservation = self._reserve(quote)
        dropped = _OF_ONE_CONNECTION | {b"host", b"accept-encoding"}
        headers = [pair for pair in with_key(given, self.secret.key) if pair[0] not in dropped]
        # the guard cannot search a compressed response for the key
        headers.append((b"accept-encoding", b"identity"))
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        at = real_now()
        outcome: UpstreamResponse | NoReply
        try:
            outcome = await self.upstream.send(scope["method"], target, headers, body, paid=reservation is not None)
        except NoReply as failure:
            outcome = failure
        what = f"{scope['method']} {scope['path'][:100]}"
        if outcome.status == 402 and key == "live":
            self._close("the service responded with 402", "the service responded with 402: the budget is closed")
        if reservation is not None:
            self._settle(reservation, quote, outcome, what)
        elif quote.charge == "unread" and outcome.status is not None and 200 <= outcome.status < 300:
            self._charge(quote, outcome, what)
        if self.recording is not None:
            response = str(outcome) if isinstance(outcome, NoReply) else outcome
            try:
                self.recording.add(at, key, scope["method"], target, given, body, response)
            except OSError as problem:
                self._report(f"an exchange was not recorded: {problem}")
        if isinstance(outcome, NoReply):
            raise Refused("guard_no_reply", f"the service gave no usable reply: {outcome}")
        return self._clean(outcome)

    def _reserve(self, quote: Quote) -> Reservation | None:
        """Reserves the highest price. None for a request that needs no money. Raises Refused."""
        if quote.charge in ("free", "refused"):
            return None
        reserved: Reservation | str | None = None
        closed = self.closed
        try:
            if closed is None and quote.charge == "unread":
                closed = self.ledger.book().closed
            elif closed is None and quote.charge in ("main", "rejection"):
                reserved = self.ledger.reserve(quote.charge, quote.units)
        except (OSError, LedgerError) as problem:
            raise Refused("guard_refused", f"not sent: the ledger cannot be written: {problem}") from None
        if closed is not None:
            reserved = f"the budget is closed: {closed}"
        if isinstance(reserved, str):
            why = "" if quote.reason is None else f" ({quote.reason})"
            raise Refused("guard_refused", f"not sent: {reserved}{why}")
        return reserved

    def _settle(self, reservation: Reservation, quote: Quote, outcome: UpstreamResponse | NoReply, what: str) -> None:
        """Books the cost of a request. If the ledger cannot be written, the reservation stays spent."""
        units, task = cost(reservation, outcome), None
        if isinstance(outcome, UpstreamResponse) and 200 <= outcome.status < 300:
            task = task_id(self._clean(outcome))
            if quote.charge == "rejection":
                self._report(f"finding: the service accepted what it should reject: {what}: {quote.reason} [{task}]")
        try:
            if units != reservation.units or task is not None:
                self.ledger.settle(reservation, units, task)
        except (OSError, LedgerError) as problem:
            self._report(f"the ledger cannot be written, {to_credits(reservation.units)} credits stay spent: {problem}")
        if units > reservation.units:
            prices = f"{to_credits(units)} instead of {to_credits(reservation.units)} credits"
            self._close(f"a task cost {prices}", f"finding: {what} cost {prices}; the budget is closed")

    def _charge(self, quote: Quote, outcome: UpstreamResponse | NoReply, what: str) -> None:
        """Books an unexpected charge: the service accepted an `unread` body, so no price is predictable any more."""
        amount, task = None, None
        if isinstance(outcome, UpstreamResponse):
            amount, task = _amount(outcome.body), task_id(self._clean(outcome))
        units = quote.units if amount is None else amount
        reason = "the service accepted a body without a predictable price"
        self._report(f"finding: {reason}: {what} [{task}], {to_credits(units)} credits booked; the budget is closed")
        try:
            self.ledger.charge(units, task, reason)
        except (OSError, LedgerError) as problem:
            self.closed = reason
            self._report(f"the ledger cannot be written: {problem}")

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

    def _clean(self, reply: UpstreamResponse) -> UpstreamResponse:
        """The response without the key and without headers of the other connection or of the encoding."""
        scrub = self.secret.scrubbed
        dropped = _OF_ONE_CONNECTION | {b"content-encoding"}
        headers = [(scrub(name), scrub(value)) for name, value in reply.headers if name.lower() not in dropped]
        return UpstreamResponse(reply.status, headers, scrub(reply.body))


def cost(reservation: Reservation, outcome: UpstreamResponse | NoReply) -> int:
    """What a request cost, in units.

    A 2xx books `usage.credits_reserved`, but at least a lower limit. For the main budget that is the reservation,
    because its prices are known. For the rejection budget it is the lowest price, because the highest was reserved.
    A response without a readable amount leaves the reservation spent.
    """
    status = outcome.status
    if isinstance(outcome, NoReply) and not outcome.sent:
        return 0
    if status is not None and 400 <= status < 500 and status != 408:
        return 0
    if isinstance(outcome, NoReply) or not 200 <= outcome.status < 300:
        return reservation.units
    amount = _amount(outcome.body)
    if amount is None:
        return reservation.units
    least = reservation.units if reservation.budget == "main" else min(CHEAPEST, reservation.units)
    return max(amount, least)


def _amount(body: bytes) -> int | None:
    """`usage.credits_reserved` in units, rounded up. None if it is not an amount."""
    try:
        value: Any = msgspec.json.decode(body)["usage"]["credits_reserved"]
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
        if not amount.is_finite() or not 0 <= amount <= 10**9:
            return None
        return int((amount * UNITS).to_integral_value(ROUND_CEILING))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError, InvalidOperation):
        return None


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
    """The whole body, None if the client disconnected before its end. Raises Refused for more than `MAX_BODY`."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise Refused("guard_refused", f"not sent: the body is larger than {MAX_BODY >> 20} MiB")
        if not message.get("more_body"):
            return b"".join(parts)
