"""A recording of the guard, read back: every exchange checked for its form before anything is sent."""

import base64
import re
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from sora_mock.guard.pricing import KeyClass

Moment = Annotated[float, msgspec.Meta(ge=0, le=4e9)]


class BadRecording(Exception):
    """A file that is no recording; the text is one line that names it and the line in it."""


class Body(msgspec.Struct, frozen=True):
    """What was kept of a body. size: its bytes where it was cut, else None."""

    text: str | None = None
    base64: str | None = None
    size: int | None = None

    def content(self) -> bytes:
        """The bytes. Raises ValueError where they cannot be read."""
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        return (self.text or "").encode("utf-8")


class Sent(msgspec.Struct, frozen=True):
    """A request's headers, names in lower case, and its body."""

    headers: list[tuple[str, str]]
    body: Body


class Answered(msgspec.Struct, frozen=True):
    """A reply."""

    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    headers: list[tuple[str, str]]
    body: Body


class Chain(msgspec.Struct, frozen=True):
    """The task of an exchange; created_by: the number of the exchange that made it, None where it is older."""

    id: str
    created_by: int | None = None


class Exchange(msgspec.Struct, frozen=True):
    """One line of a recording. line: its number in the file, from 1."""

    at: Moment
    key: KeyClass
    method: str
    target: str
    request: Sent
    reply: Answered | None
    task: Chain | None = None
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
        """The reply's body, `UNREADABLE` where it is no JSON."""
        return UNREADABLE if self.reply is None else read_json(self.reply.body.content())


UNREADABLE: Final = object()
"""Stands for a body that is no JSON."""

_EXCHANGE: Final = msgspec.json.Decoder(Exchange)
_TARGET: Final = re.compile(r"/[\x21-\x7e\x80-\xff]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def read_json(content: bytes) -> Any:
    """JSON, or `UNREADABLE`."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNREADABLE


def read(path: Path) -> list[Exchange]:
    """The exchanges in their order. Raises BadRecording."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise BadRecording(f"cannot read {path}: {problem.strerror}") from None
    found: list[Exchange] = []
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
    """The line that begins each run. Raises ValueError."""
    start = read_json(line)
    version = start.get("sora-mock-recording") if isinstance(start, dict) else None
    if version is None:
        raise ValueError("this is no recording: it does not begin with sora-mock-recording")
    if version != 1:
        raise ValueError(f"a recording of version {str(version)[:20]} is unknown here")


def _exchange(line: bytes, number: int) -> Exchange:
    """One exchange. Raises ValueError."""
    found = msgspec.structs.replace(_EXCHANGE.decode(line), line=number)
    if not _TARGET.fullmatch(found.target) or not _TOKEN.fullmatch(found.method):
        raise ValueError("target or method cannot be sent")
    for name, value in found.request.headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name[:40]!r} cannot be sent")
    for body in (found.request.body, *([found.reply.body] if found.reply else [])):
        body.content()
    return found
