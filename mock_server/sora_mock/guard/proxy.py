"""The spending guard: a proxy on this machine in front of the service that knows the key and never exceeds its cap.

Order of a request that may cost money: reserve, sync, send. A 4xx gives back, a 2xx books what the reply says, all else
(5xx, redirects, 408, no reply, a crash) stays spent. The guard's own answers have a status that no service uses and no
client retries: 470, code `guard_...`, header `x-sora-mock-guard`.
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
"""Unassigned, and a 4xx, which SDKs do not retry."""

MOST_BODY: Final = 8 * 1024 * 1024
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_OF_ONE_CONNECTION: Final = set(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings expect "
    b"content-length".split()
)
Pairs = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The guard's own answer: nothing was sent, or nothing can be passed on. code: begins with `guard_`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class GuardProxy:
    """The proxy as an ASGI application.

    say: is given one line, without the key, for whatever its user should know. recording: None for none.
    """

    upstream: Upstream
    secret: Secret
    ledger: SpendingLedger
    pricing: Pricing
    recording: Recording | None = None
    say: Callable[[str], None] = lambda line: print(f"sora-mock guard: {line}", file=sys.stderr, flush=True)
    closed: str | None = None
    """Why nothing more may be spent where the ledger could not be told so."""

    one_unread: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a request is under way that nobody could price: a second one could be charged unnoticed meanwhile."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive)
            if body is None:
                return
            reply = await self._answer(scope, body)
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

    async def _answer(self, scope: Scope, body: bytes) -> UpstreamResponse:
        """The service's answer, without the key. Raises Refused."""
        given: Pairs = [(name.lower(), value) for name, value in scope["headers"]]
        _refuse_strangers(given)
        key = key_class(given, self.secret.key)
        quote = self.pricing.quote(scope["method"], scope["path"], given, body, key)
        if quote.lot == "refused":
            raise Refused("guard_refused", f"not sent: {quote.reason}")
        if quote.lot == "unread":
            async with self.one_unread:
                return await self._sent(scope, given, body, key, quote)
        return await self._sent(scope, given, body, key, quote)

    async def _sent(self, scope: Scope, given: Pairs, body: bytes, key: KeyClass, quote: Quote) -> UpstreamResponse:
        """One request that was priced: money first, then the service, then the books. Raises Refused."""
        reservation = self._reserve(quote)
        dropped = _OF_ONE_CONNECTION | {b"host", b"accept-encoding"}
        headers = [pair for pair in with_key(given, self.secret.key) if pair[0] not in dropped]
        # what is compressed cannot be searched for the key
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
            self._close("the service answered 402", "the service answered 402: the purse is closed")
        if reservation is not None:
            self._settle(reservation, quote, outcome, what)
        elif quote.lot == "unread" and outcome.status is not None and 200 <= outcome.status < 300:
            self._charge(quote, outcome, what)
        if self.recording is not None:
            told = str(outcome) if isinstance(outcome, NoReply) else outcome
            try:
                self.recording.add(at, key, scope["method"], target, given, body, told)
            except OSError as problem:
                self._tell(f"an exchange was not recorded: {problem}")
        if isinstance(outcome, NoReply):
            raise Refused("guard_no_reply", f"the service gave no usable reply: {outcome}")
        return self._clean(outcome)

    def _reserve(self, quote: Quote) -> Reservation | None:
        """Sets the worst price aside; None for what needs no money. Raises Refused."""
        if quote.lot in ("free", "refused"):
            return None
        reserved: Reservation | str | None = None
        closed = self.closed
        try:
            if closed is None and quote.lot == "unread":
                closed = self.ledger.book().closed
            elif closed is None and quote.lot in ("accept", "surprise"):
                reserved = self.ledger.reserve(quote.lot, quote.units)
        except (OSError, LedgerError) as problem:
            raise Refused("guard_refused", f"not sent: the ledger cannot be written: {problem}") from None
        if closed is not None:
            reserved = f"the purse is closed: {closed}"
        if isinstance(reserved, str):
            why = "" if quote.reason is None else f" ({quote.reason})"
            raise Refused("guard_refused", f"not sent: {reserved}{why}")
        return reserved

    def _settle(self, reservation: Reservation, quote: Quote, outcome: UpstreamResponse | NoReply, what: str) -> None:
        """Books what became of a request. A ledger that fails here leaves the reservation spent."""
        units, task = cost(reservation, outcome), None
        if isinstance(outcome, UpstreamResponse) and 200 <= outcome.status < 300:
            task = task_id(self._clean(outcome))
            if quote.lot == "surprise":
                self._tell(f"finding: the service accepted what it should refuse: {what}: {quote.reason} [{task}]")
        try:
            if units != reservation.units or task is not None:
                self.ledger.settle(reservation, units, task)
        except (OSError, LedgerError) as problem:
            self._tell(f"the ledger cannot be written, {to_credits(reservation.units)} credits stay spent: {problem}")
        if units > reservation.units:
            prices = f"{to_credits(units)} instead of {to_credits(reservation.units)} credits"
            self._close(f"a task cost {prices}", f"finding: {what} cost {prices}; the purse is closed")

    def _charge(self, quote: Quote, outcome: UpstreamResponse | NoReply, what: str) -> None:
        """Books what nobody could price and the service accepted all the same: nothing is predictable any more."""
        told, task = None, None
        if isinstance(outcome, UpstreamResponse):
            told, task = _told(outcome.body), task_id(self._clean(outcome))
        units = quote.units if told is None else told
        reason = "the service accepted a body that nobody could price"
        self._tell(f"finding: {reason}: {what} [{task}], {to_credits(units)} credits booked; the purse is closed")
        try:
            self.ledger.charge(units, task, reason)
        except (OSError, LedgerError) as problem:
            self.closed = reason
            self._tell(f"the ledger cannot be written: {problem}")

    def _close(self, reason: str, line: str) -> None:
        """Ends all spending, and says so once; in this process alone where the ledger cannot be written."""
        try:
            if self.ledger.close_purse(reason):
                self._tell(line)
        except (OSError, LedgerError) as problem:
            self.closed = reason
            self._tell(f"{line}; the ledger cannot be written: {problem}")

    def _tell(self, line: str) -> None:
        # printable in one line, whatever the service or the client put into it
        plain = line.encode("ascii", "backslashreplace").decode()
        self.say(self.secret.scrubbed("".join(c if c >= " " else "?" for c in plain).encode()).decode())

    def _clean(self, reply: UpstreamResponse) -> UpstreamResponse:
        """The reply as it may be shown: the key gone, and what belongs to the other connection or the encoding."""
        scrub = self.secret.scrubbed
        dropped = _OF_ONE_CONNECTION | {b"content-encoding"}
        headers = [(scrub(name), scrub(value)) for name, value in reply.headers if name.lower() not in dropped]
        return UpstreamResponse(reply.status, headers, scrub(reply.body))


def cost(reservation: Reservation, outcome: UpstreamResponse | NoReply) -> int:
    """What a request cost, in units.

    A 2xx books `usage.credits_reserved`, but never less than what is known for sure: the whole reservation in the
    accept purse, whose prices are listed, and the lowest price in the surprise purse, where the highest was reserved.
    A reply that says nothing readable leaves the reservation spent.
    """
    status = outcome.status
    if isinstance(outcome, NoReply) and not outcome.sent:
        return 0
    if status is not None and 400 <= status < 500 and status != 408:
        return 0
    if isinstance(outcome, NoReply) or not 200 <= outcome.status < 300:
        return reservation.units
    told = _told(outcome.body)
    if told is None:
        return reservation.units
    least = reservation.units if reservation.purse == "accept" else min(CHEAPEST, reservation.units)
    return max(told, least)


def _told(body: bytes) -> int | None:
    """`usage.credits_reserved` in units, rounded up; None where it is no amount."""
    try:
        value: Any = msgspec.json.decode(body)["usage"]["credits_reserved"]
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
        if not amount.is_finite() or not 0 <= amount <= 10**9:
            return None
        return int((amount * UNITS).to_integral_value(ROUND_CEILING))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError, InvalidOperation):
        return None


def _refuse_strangers(headers: Pairs) -> None:
    """A web page elsewhere could spend the money through the user's own browser. Raises Refused."""
    for name, value in headers:
        text = value.decode("latin-1")
        stranger = (
            (name == b"host" and _host(f"//{text}") not in _LOOPBACK)
            or (name == b"origin" and _host(text) not in _LOOPBACK)
            or (name == b"sec-fetch-site" and text == "cross-site")
        )
        if stranger:
            raise Refused("guard_refused", f"not sent: {name.decode()} {text[:80]!r} is not this machine")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where the client left before its end. Raises Refused for more than `MOST_BODY`."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            raise Refused("guard_refused", f"not sent: the body is larger than {MOST_BODY >> 20} MiB")
        if not message.get("more_body"):
            return b"".join(parts)
