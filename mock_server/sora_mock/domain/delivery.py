"""When a callback is tried, when it is tried again, and what became of it: pure functions of its attempts.

Source: published contract, `callback_url`: 10 s for each attempt, three retries after 1, 2 and 4 s, success is any 2xx.
"""

from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

RETRY_DELAYS: Final = (1.0, 2.0, 4.0)
"""Seconds of the account's clock from the end of an attempt to the next one."""

TIMEOUT: Final = 10.0
"""Real seconds that one attempt may take, whatever the receiver does."""

LONGEST_REPLY: Final = 4096
"""Bytes that are kept of a receiver's answer."""

LATE: Final = 60.0
"""Seconds that a late callback is late, and at most that one which is out of order waits for another."""

DUPLICATE_AFTER: Final = 1.0
"""Seconds from a successful attempt to its duplicate."""

INBOX_HOST: Final = "inbox.sora-mock.test"

State = Literal["pending", "succeeded", "failed"]
Manner = Literal["duplicate", "late", "before_reply", "out_of_order", "extra_field"]
"""What a scenario does to a callback."""


class Attempt(msgspec.Struct, frozen=True):
    """One POST. `at` and `ended_at` are moments of the account's clock, `seconds` is real.

    status: of the answer, None where there was none; error then says why, as `class: detail`.
    extra: asked for by `redeliver`, outside the schedule.
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
        """Any 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Delivery(msgspec.Struct, frozen=True):
    """All attempts of one callback. `first_at` is the moment of the first one, infinity for a task that never ends.

    note: why an address that the service would refuse was accepted, or where it is sent instead; None otherwise.
    """

    id: str
    task_id: str
    url: str
    first_at: float
    manner: Manner | None = None
    note: str | None = None
    attempts: tuple[Attempt, ...] = ()


def delivery_id(task_id: str) -> str:
    """The id of the delivery of a task's callback."""
    return f"dlv-{task_id[13:]}"


def next_at(delivery: Delivery) -> float | None:
    """The moment of the next scheduled attempt; None where there is none. A redelivery that succeeds ends them too."""
    tried = [attempt for attempt in delivery.attempts if not attempt.extra]
    if any(attempt.succeeded for attempt in delivery.attempts):
        owed = delivery.manner == "duplicate" and [attempt.succeeded for attempt in tried].count(True) == 1
        return tried[-1].ended_at + DUPLICATE_AFTER if owed and tried[-1].succeeded else None
    if not tried:
        return delivery.first_at
    return tried[-1].ended_at + RETRY_DELAYS[len(tried) - 1] if len(tried) <= len(RETRY_DELAYS) else None


def state(delivery: Delivery) -> State:
    """pending while attempts are to come, then succeeded if any got a 2xx, failed if none did."""
    if next_at(delivery) is not None:
        return "pending"
    return "succeeded" if any(attempt.succeeded for attempt in delivery.attempts) else "failed"


class Destination(msgspec.Struct, frozen=True):
    """Where a callback goes: to an inbox, or to `url`, whose address is checked unless `trusted`."""

    url: str
    inbox: str | None = None
    trusted: bool = False
    note: str | None = None


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL in lower case, the scheme's own port left out; empty where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


def destination(url: str, routes: dict[str, str], allowed: frozenset[str], refused: str | None) -> Destination:
    """Where `url` leads. routes: other addresses by origin. allowed: origins that are trusted.

    refused: what the service says of the address, None where it accepts it.
    """
    origin = origin_of(url)
    parts = urlsplit(url)
    if parts.scheme == "https" and (parts.hostname or "").removesuffix(".") == INBOX_HOST:
        return Destination(url, inbox=unquote(parts.path).strip("/") or "default")
    waived = "" if refused is None else f"; the service would refuse it: {refused}"
    if origin in routes:
        target = routes[origin]
        return Destination(_routed(parts, target), trusted=True, note=f"routed to {target}{waived}")
    if origin in allowed:
        return Destination(url, trusted=True, note=f"allowed by --allow-callback{waived}")
    return Destination(url)


def _routed(parts: SplitResult, target: str) -> str:
    """Path, query and credentials of an address, at another origin."""
    scheme, _, rest = target.rstrip("/").partition("://")
    credentials, at, _ = parts.netloc.rpartition("@")
    if "@" in rest.partition("/")[0]:
        credentials = at = ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{credentials}{at}{rest}{parts.path}{query}"
