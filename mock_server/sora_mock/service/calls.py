"""A request to the emulated service and its answer, as the rooms below the web know them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from sora_mock.domain.fault import Fault
from sora_mock.domain.scenario import Scenario
from sora_mock.runtime import clock

if TYPE_CHECKING:
    from sora_mock.storage.memory import Account

Headers = tuple[tuple[bytes, bytes], ...]


JSON: Final = b"application/json"


class Call(msgspec.Struct):
    """One request to the emulated service, and what became known of it on the way.

    headers: by lower-case name. body: None where it was too large to be kept. cut: part of it was left unread.
    origin: what a result link begins with. started: by the stopwatch. at: the account's
    moment, 0 until it is known. account, scenario, rule, unmatched: filled in by the operation, for the journal;
    touch: the scenario that does something to the answer, whatever that is.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes | None = b""
    origin: str = ""
    cut: bool = False
    started: float = msgspec.field(default_factory=clock.stopwatch)
    account: "Account | None" = None
    scenario: str | None = None
    rule: str | None = None
    at: float = 0.0
    unmatched: list[str] = []
    touch: Scenario | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a client gets: an HTTP status, a body and headers beside Content-Type and Content-Length.

    latency: real seconds that it is held back. fault: what is done to it on its way.
    after: what has to be over before it is sent.
    """

    status: int
    body: bytes
    headers: Headers = ()
    media_type: bytes = JSON
    latency: float = 0.0
    fault: Fault | None = None
    after: Callable[[], Awaitable[None]] | None = None
