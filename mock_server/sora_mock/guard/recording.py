"""Recordings of exchanges with the service: JSON lines without keys. The guard writes them, `drift` replays them.

The first line of each run is `{"sora-mock-recording":1,...}`; every other line is one exchange.
"""

import base64
import re
import threading
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from sora_mock.domain.values import JSON_ERRORS
from sora_mock.guard.pricing import CREATE_PATH
from sora_mock.guard.request import CREDENTIAL_HEADERS, Headers, KeyClass
from sora_mock.guard.secret import Secret
from sora_mock.guard.upstream import UpstreamResponse
from sora_mock.runtime.clock import real_now

MAX_BODY: Final = 256 * 1024
"""How many bytes of one body are kept."""

_SECRET_HEADERS: Final = {*CREDENTIAL_HEADERS, b"set-cookie", b"x-mock-token"}
NOT_JSON: Final = object()
"""The value of a body that is not JSON."""

_KEY: Final = re.compile(rb"(?<![A-Za-z0-9])sk-[A-Za-z0-9._~+/=-]{4,}")
_TASK_PATH: Final = re.compile(r"/v1/tasks/([^/?]+)")


class RecordingError(Exception):
    """The file cannot be used for a recording. The text is one line with its name."""


class Recording:
    """A file to which exchanges are appended; it is never overwritten. Raises RecordingError if it cannot be used."""

    def __init__(self, path: Path, target: str, secret: Secret) -> None:
        self.secret = secret
        self._number = 0
        self._lock = threading.Lock()
        self._created: dict[str, int] = {}
        """The exchange that created a task, by its id."""
        try:
            self._file: BinaryIO = path.open("a+b")
            self._file.seek(0)
            first = self._file.readline(100)
        except OSError as problem:
            raise RecordingError(f"cannot record to {path}: {problem.strerror}") from None
        if first and not first.startswith(b'{"sora-mock-recording"'):
            self._file.close()
            raise RecordingError(f"{path} is not a recording; nothing was written to it")
        self._write({"sora-mock-recording": 1, "at": round(real_now(), 3), "target": target})

    def add(
        self,
        at: float,
        key: KeyClass,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes,
        reply: UpstreamResponse | str,
    ) -> None:
        """Adds one exchange. at: Unix seconds of its start. reply: the response, or as text why there is none.

        The line's `task` has the id that was created or read, and the number of the exchange that created it.
        Safe in threads. Raises OSError and TooMuchToSearch.
        """
        with self._lock:
            self._number += 1
            path = target.decode("latin-1")
            line: dict[str, Any] = {
                "number": self._number,
                "at": round(at, 3),
                "seconds": round(real_now() - at, 4),
                "key": key,
                "method": method,
                "target": path,
                "request": self._message(headers, body),
                "reply": None,
            }
            if isinstance(reply, str):
                line["failure"] = reply
            else:
                line["reply"] = {"status": reply.status, **self._message(reply.headers, reply.body)}
                line["task"] = self._task(path, reply)
            self._write(line)

    def close(self) -> None:
        """Ends the recording."""
        self._file.close()

    def _task(self, path: str, reply: UpstreamResponse) -> dict[str, Any] | None:
        read = _TASK_PATH.match(path)
        if read:
            return {"id": read[1], "created_by": self._created.get(read[1])}
        made = task_id(reply) if path.partition("?")[0] == CREATE_PATH else None
        if made is None:
            return None
        self._created.setdefault(made, self._number)
        return {"id": made, "created_by": self._created[made]}

    def _message(self, headers: Headers, body: bytes) -> dict[str, Any]:
        kept = self._redacted(body)[:MAX_BODY]
        try:
            content = {"text": kept.decode()}
        except UnicodeDecodeError:
            content = {"base64": base64.b64encode(kept).decode()}
        shown = [[name.decode("latin-1").lower(), self._shown(name.lower(), value)] for name, value in headers]
        return {"headers": shown, "body": {**content, **({"size": len(body)} if len(body) > len(kept) else {})}}

    def _shown(self, name: bytes, value: bytes) -> str:
        return "[redacted]" if name in _SECRET_HEADERS else self._redacted(value).decode("latin-1")

    def _redacted(self, data: bytes) -> bytes:
        """The data without the real key and without other strings that look like keys."""
        return _KEY.sub(b"[redacted]", self.secret.scrubbed(data))

    def _write(self, line: dict[str, Any]) -> None:
        # the whole line again: the path or a reason may hold a key
        self._file.write(self._redacted(msgspec.json.encode(line)) + b"\n")
        self._file.flush()


def read_json(content: bytes) -> Any:
    """The value of a JSON text, `NOT_JSON` for any other text."""
    try:
        return msgspec.json.decode(content)
    except JSON_ERRORS:
        return NOT_JSON


def task_id(reply: UpstreamResponse) -> str | None:
    """The task id in the response to a create request, None if it has none."""
    body = read_json(reply.body)
    found = body.get("id") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None
