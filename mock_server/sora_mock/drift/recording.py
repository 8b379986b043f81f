"""Reads a recording of the guard and checks the form of every exchange before the replay starts."""

import base64
import re
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from sora_mock.guard.recording import NOT_JSON, read_json
from sora_mock.guard.request import KeyClass

Timestamp = Annotated[float, msgspec.Meta(ge=0, le=4e9)]
"""Unix seconds."""


class BadRecording(Exception):
    """The file is not a recording. The text is one line with the file and the number of the bad line."""


class RecordedBody(msgspec.Struct, frozen=True):
    """A request's or response's body, as text or base64. size: its full length in bytes where it was cut, else None."""

    text: str | None = None
    base64: str | None = None
    size: int | None = None

    def content(self) -> bytes:
        """The bytes. Raises ValueError for invalid base64."""
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        return (self.text or "").encode("utf-8")


class RecordedRequest(msgspec.Struct, frozen=True):
    """The headers of a request, names in lower case, and its body."""

    headers: list[tuple[str, str]]
    body: RecordedBody


class RecordedResponse(msgspec.Struct, frozen=True):
    """A response of the service, header names in lower case."""

    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    headers: list[tuple[str, str]]
    body: RecordedBody


class RecordedTask(msgspec.Struct, frozen=True):
    """The task of an exchange.

    created_by: the number of the exchange that created it, None for a task that is older than the recording.
    """

    id: str
    created_by: int | None = None


class RecordedExchange(msgspec.Struct, frozen=True):
    """One line of a recording: a request and its response.

    at: when the request was sent. target: path and query. response: None where the service sent none.
    number: the number of the request in its run of the guard, from 1. seconds: until the response was there.
    line: the number of the line in the file, from 1.
    """

    at: Timestamp
    key: KeyClass
    method: str
    target: str
    request: RecordedRequest
    response: RecordedResponse | None = msgspec.field(name="reply")
    task: RecordedTask | None = None
    number: int = 0
    seconds: Annotated[float, msgspec.Meta(ge=0, le=4e9)] = 0.0
    line: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def route(self) -> str:
        """Method and path, with `{task_id}` for an id."""
        path = re.sub(r"^/v1/tasks/[^/]+", "/v1/tasks/{task_id}", self.path)
        return f"{self.method} {re.sub(r'^/files/.*', '/files/...', path)}"[:100]

    def json(self) -> Any:
        """The JSON of the response's body, `NOT_JSON` where it has none."""
        return NOT_JSON if self.response is None else read_json(self.response.body.content())


_EXCHANGE: Final = msgspec.json.Decoder(RecordedExchange)
_TARGET: Final = re.compile(r"/[\x21-\x7e\x80-\xff]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def read(path: Path) -> list[RecordedExchange]:
    """The exchanges of a file in their order. Raises BadRecording."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise BadRecording(f"cannot read {path}: {problem.strerror}") from None
    found: list[RecordedExchange] = []
    for number, line in enumerate(lines, 1):
        try:
            if number == 1 or line.startswith(b'{"sora-mock-recording"'):
                _check_start(line)
            elif line or number < len(lines):
                found.append(_exchange(line, number))
        except (ValueError, RecursionError) as problem:
            raise BadRecording(f"{path}, line {number}: {str(problem).splitlines()[0][:200]}") from None
    return found


def _check_start(line: bytes) -> None:
    """Checks the first line of a run of the guard. Raises ValueError."""
    start = read_json(line)
    version = start.get("sora-mock-recording") if isinstance(start, dict) else None
    if version is None:
        raise ValueError("this is not a recording: it does not begin with sora-mock-recording")
    if version != 1:
        raise ValueError(f"version {str(version)[:20]} of the format is not supported")


def _exchange(line: bytes, number: int) -> RecordedExchange:
    """The exchange of a line. Raises ValueError."""
    found = msgspec.structs.replace(_EXCHANGE.decode(line), line=number)
    if not _TARGET.fullmatch(found.target) or not _TOKEN.fullmatch(found.method):
        raise ValueError("target or method is not valid in HTTP")
    for name, value in found.request.headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name[:40]!r} is not valid in HTTP")
    for body in (found.request.body, *([found.response.body] if found.response else [])):
        body.content()
    return found
