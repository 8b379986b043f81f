"""When a callback is attempted, when it is retried, and what became of it: pure functions of its attempts.

Source: published contract, `callback_url`: 10 s for each attempt, three retries after 1, 2 and 4 s, any 2xx succeeds.
"""

from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

RETRY_DELAYS: Final = (1.0, 2.0, 4.0)
"""Seconds of the account's clock from the end of each failed attempt to the next attempt."""

TIMEOUT: Final = 10.0
"""Real seconds that one attempt may take."""

MAX_REPLY_BYTES: Final = 4096
"""Bytes that are kept of a receiver's response body."""

MAX_ATTEMPTS: Final = 100
"""Attempts that one delivery may have; then `redeliver` is rejected."""

LATE_DELAY: Final = 60.0
"""Seconds of the account's clock that a `late` callback is late. An `out_of_order` callback waits at most as long."""

DUPLICATE_AFTER: Final = 1.0
"""Seconds of the account's clock from a successful attempt to its duplicate."""

INBOX_HOST: Final = "inbox.sora-mock.test"
"""The host of callback addresses whose callbacks go to an inbox of the mock."""

State = Literal["pending", "succeeded", "failed"]
CallbackVariant = Literal["duplicate", "late", "before_reply", "out_of_order", "extra_field"]
"""How a scenario makes a callback differ from the usual one."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One POST of a callback.

    number: counts the attempts of the delivery, from 1.
    at: when it began; Unix seconds of the account's clock.
    ended_at: when it ended; Unix seconds of the account's clock.
    status: HTTP status of the response; None where there was no response.
    error: why there was no response, as `class: detail`; None where there was one.
    seconds: how long it took; real seconds.
    reply: the beginning of the response body, at most `MAX_REPLY_BYTES`.
    extra: whether `redeliver` asked for it, outside the schedule.
    """

    number: int
    at: float
    ended_at: float
    status: int | None
    error: str | None
    seconds: float
    reply: str = ""
    extra: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the receiver responded with any 2xx status."""
        return self.status is not None and 200 <= self.status < 300


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """All attempts of one callback.

    id: as `delivery_id` makes it.
    task_id: the task that the callback is about.
    url: the callback address of the create request.
    first_at: when the first attempt is due; Unix seconds of the account's clock, infinity for a task that never ends.
    variant: how the callback differs from the usual one; None for the usual one.
    note: where the callback is sent instead, or why an address that the service rejects was accepted; None otherwise.
    attempts: those that are over, in their order.
    """

    id: str
    task_id: str
    url: str
    first_at: float
    variant: CallbackVariant | None = None
    note: str | None = None
    attempts: tuple[Attempt, ...] = ()


def delivery_id(task_id: str) -> str:
    """The id of the delivery of a task's callback."""
    return f"dlv-{task_id[13:]}"


def next_attempt_at(delivery: Delivery) -> float | None:
    """When the next scheduled attempt is due, in seconds of the account's clock; None where there is none.

    A redelivery that succeeds also ends the schedule.
    """
    scheduled = [attempt for attempt in delivery.attempts if not attempt.extra]
    if any(attempt.succeeded for attempt in delivery.attempts):
        is_single = [attempt.succeeded for attempt in scheduled].count(True) == 1
        due = delivery.variant == "duplicate" and is_single and scheduled[-1].succeeded
        return scheduled[-1].ended_at + DUPLICATE_AFTER if due else None
    if not scheduled:
        return delivery.first_at
    if len(scheduled) > len(RETRY_DELAYS):
        return None
    return scheduled[-1].ended_at + RETRY_DELAYS[len(scheduled) - 1]


def state(delivery: Delivery) -> State:
    """pending while an attempt is scheduled, then succeeded if any attempt got a 2xx, else failed."""
    if next_attempt_at(delivery) is not None:
        return "pending"
    return "succeeded" if any(attempt.succeeded for attempt in delivery.attempts) else "failed"


class Destination(msgspec.Struct, frozen=True):
    """Where a callback is sent.

    url: the address of the POST.
    inbox: the name of the inbox that gets the callback; None sends the POST to `url`.
    trusted: whether `url` may lead to an internal address.
    note: why the address is trusted; None where it is not.
    """

    url: str
    inbox: str | None = None
    trusted: bool = False
    note: str | None = None


def http_url(text: str) -> SplitResult | None:
    """The parts of an http or https URL with a host and without query and fragment; None for any other text."""
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_good and not parts.query and not parts.fragment else None


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL in lower case, without the default port; empty where the port is invalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


def destination(url: str, routes: dict[str, str], allowed: frozenset[str], rejection: str | None) -> Destination:
    """Where the callback to `url` is sent.

    routes: the address that replaces each origin.
    allowed: the origins that are trusted.
    rejection: why the service rejects the address; None where it accepts it.
    """
    origin = origin_of(url)
    parts = urlsplit(url)
    if parts.scheme == "https" and (parts.hostname or "").removesuffix(".") == INBOX_HOST:
        return Destination(url, inbox=unquote(parts.path).strip("/") or "default")
    waived = "" if rejection is None else f"; the service would refuse it: {rejection}"
    if origin in routes:
        target = routes[origin]
        return Destination(_routed(parts, target), trusted=True, note=f"routed to {target}{waived}")
    if origin in allowed:
        return Destination(url, trusted=True, note=f"allowed by --allow-callback{waived}")
    return Destination(url)


def _routed(parts: SplitResult, target: str) -> str:
    """The path, query and credentials of an address, at the origin of `target`. Credentials of `target` go first."""
    scheme, _, rest = target.rstrip("/").partition("://")
    credentials, at, _ = parts.netloc.rpartition("@")
    if "@" in rest.partition("/")[0]:
        credentials = at = ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{credentials}{at}{rest}{parts.path}{query}"
