"""A request to the emulated service and its answer, as the rooms below the web know them."""

from collections.abc import Mapping

import msgspec

from sora_mock import clock
from sora_mock.domain.fault import Fault
from sora_mock.domain.scenario import Shape
from sora_mock.store import Account

Headers = tuple[tuple[bytes, bytes], ...]


class Call:
    """One request to the emulated service, and what became known of it on the way.

    headers: by lower-case name. body: None where it was too large to be kept. cut: part of it was left unread.
    origin: what a result link begins with. account, scenario, rule, unmatched: filled in by the operation, for the
    journal; shape: that of the scenario.
    """

    __slots__ = (
        "account",
        "body",
        "cut",
        "headers",
        "key",
        "method",
        "origin",
        "path",
        "rule",
        "scenario",
        "shape",
        "started",
        "unmatched",
    )

    def __init__(
        self, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes | None = b"", origin: str = ""
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.cut = False
        self.origin = origin
        self.started = clock.stopwatch()
        self.key = ""
        self.account: Account | None = None
        self.scenario: str | None = None
        self.rule: str | None = None
        self.unmatched: list[str] = []
        self.shape: Shape | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a client gets: an HTTP status, a body and headers beside Content-Type and Content-Length.

    latency: real seconds that it is held back. fault: what is done to it on its way.
    """

    status: int
    body: bytes
    headers: Headers = ()
    media_type: bytes = b"application/json"
    latency: float = 0.0
    fault: Fault | None = None
