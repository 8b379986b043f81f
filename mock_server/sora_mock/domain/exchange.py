"""A request to the emulated service and the response to it, as one value that the journal keeps."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sora_mock.domain.fault import Fault
from sora_mock.domain.scenario import Shape

JSON: Final = b"application/json"

CONTROL_PREFIX: Final = "/__mock/"
"""Paths below it belong to the control API. Every other path is a request to the service."""

Headers = tuple[tuple[bytes, bytes], ...]


class ApiResponse(msgspec.Struct, frozen=True):
    """A response of the emulated service: HTTP status, body, and headers besides Content-Type and Content-Length."""

    status: int
    body: bytes
    headers: Headers = ()
    media_type: bytes = JSON


class Exchange(msgspec.Struct, array_like=True, gc=False):
    """One request and its response. The middleware creates it; each part that decides something writes it here.

    headers: by lower-case name, the last one where a name is repeated.
    body: None where it was too large to be kept.
    origin: what result links begin with, such as `http://127.0.0.1:4010`.
    started: when the request arrived, by the stopwatch; seconds.
    number: counts all requests of the server, from 1.
    account: public name of the caller's account; None for a request without an account.
    at: time of the account's clock; Unix seconds, 0 until it is known.
    is_frozen: whether that clock is frozen.
    task_id: the task that the request creates or asks for; None for none.
    scenario, rule: name of the scenario that was chosen, and the rule that chose it; None where none was.
    unmatched: why queued rules did not match, and which pattern ran out of time; one line each.
    fault: how a scenario damages the response on its way; None for most.
    latency: real seconds for which a scenario holds the response back.
    shape: how a scenario changes the response's body; None for most.
    status: HTTP status of the response; 0 until there is one.
    response_body: empty for what is not JSON. media_type: of the response.
    duration: seconds from the request's arrival to the response, without the latency of a scenario.
    size: bytes that it counts for in the journal.
    has_unread_body: whether a part of the request's body was left unread, so that the connection has to be closed.
    hint: what a person should probably change, one phrase; None for most.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes | None = b""
    origin: str = ""
    started: float = 0.0
    number: int = 0
    account: str | None = None
    at: float = 0.0
    is_frozen: bool = False
    task_id: str | None = None
    scenario: str | None = None
    rule: str | None = None
    unmatched: Sequence[str] = ()
    fault: Fault | None = None
    latency: float = 0.0
    shape: Shape | None = None
    status: int = 0
    response_body: bytes = b""
    media_type: bytes = JSON
    duration: float = 0.0
    size: int = 0
    has_unread_body: bool = False
    hint: str | None = None

    @property
    def sent_status(self) -> int | None:
        """The HTTP status that the client saw; None where its connection was reset."""
        return None if self.fault in ("reset_before", "reset_after") else self.status
