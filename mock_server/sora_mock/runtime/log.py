"""Lines for people and machines on standard error: requests, callback attempts; a reader that is stuck costs nothing.

The server only puts a record into a list; a thread makes the lines and writes them, many at a time.
"""

import os
import re
import select
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from sora_mock.domain.delivery import Attempt, Delivery
from sora_mock.domain.task import ID_PREFIX
from sora_mock.domain.text import redacted, visible
from sora_mock.service.calls import JSON, Answer
from sora_mock.storage.journal import Record, status_sent

if TYPE_CHECKING:
    from sora_mock.service.emulator import Emulator

MOST_WAITING: Final = 8 * 1024 * 1024
"""Bytes of records that wait for the writer; what comes on top is dropped and counted."""

GATHERED: Final = 0.02
"""Real seconds that lines may wait for each other, so that a thousand of them cost one write."""

LAST_WORDS: Final = 0.5
"""Real seconds that a slow reader gets at the end."""

LONGEST: Final = 200
"""Characters that are shown of what a client sent."""

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/_.~-]*")
_TASK: Final = re.compile(rb"%b\d{10}-[a-z0-9]{8}" % ID_PREFIX.encode())

RED, GREEN, YELLOW, CYAN, DIM = "31", "32", "33", "36", "2"

Event = Record | tuple[Delivery, Attempt] | dict[str, Any]


class Terminal:
    """Shows what happens, in the order in which it is told. Methods may be called from any thread; none of them blocks.

    descriptor: an open file, None where there is none. as_json: an object for each line instead of text.
    """

    def __init__(self, descriptor: int | None, *, as_json: bool = False, colour: bool = False) -> None:
        self._descriptor = descriptor
        self._line = _json_line if as_json else _Text(colour).line
        self._lock = threading.Lock()
        self._waiting: list[Event] = []
        self._size = self._dropped = 0
        self._any, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="sora-mock terminal", daemon=True)
        if descriptor is not None:
            self._thread.start()

    def watch(self, emulator: "Emulator", *, requests: bool) -> None:
        """Shows what happens there: bugs, and where asked for requests and callback attempts."""
        emulator.on_bug = self.tell
        if requests:
            emulator.on_request = self.request
            emulator.callbacks.on_attempt = self.attempt

    def request(self, record: Record) -> None:
        """A request that was answered."""
        self._put(record, record.size)

    def attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """A callback attempt that is over."""
        self._put((delivery, attempt), 1_000)

    def tell(self, text: str, **fields: Any) -> None:
        """Anything else. fields: what the text says, for machines."""
        self._put({"event": "message", "text": text, **fields}, 1_000 + len(text))

    def close(self, seconds: float = LAST_WORDS) -> None:
        """Writes what waits, as long as a reader takes it within `seconds`."""
        self._over.set()
        self._any.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _put(self, event: Event, size: int) -> None:
        with self._lock:
            if self._descriptor is None:
                return
            if self._size + size > MOST_WAITING:
                self._dropped += 1
                return
            self._waiting.append(event)
            self._size += size
        if not self._any.is_set():
            self._any.set()

    def _run(self) -> None:
        while True:
            self._any.wait()
            self._over.wait(GATHERED)
            self._any.clear()
            over = self._over.is_set()
            events = self._taken()
            try:
                self._write(events)
            except BrokenPipeError:
                # nobody reads any more, which is no reason not to serve
                with self._lock:
                    self._descriptor = None
                    self._waiting.clear()
                return
            except OSError:
                # a full disk may have room again
                with self._lock:
                    self._dropped += sum(map(_lines_lost, events))
            if over:
                return

    def _taken(self) -> list[Event]:
        """What waits, and how much of it had no room."""
        with self._lock:
            events, self._waiting = self._waiting, []
            dropped, self._dropped, self._size = self._dropped, 0, 0
        if dropped:
            text = f"{dropped} lines were dropped: standard error is not read fast enough"
            events.append({"event": "dropped", "text": text, "lines": dropped})
        return events

    def _write(self, events: list[Event]) -> None:
        assert self._descriptor is not None
        for start in range(0, len(events), 100):
            data = "".join(map(self._line, events[start : start + 100])).encode("utf-8", "backslashreplace")
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    # whoever shares the file, as a program of Node's does, may have made it one that does not wait
                    select.select([], [self._descriptor], [])


def _lines_lost(event: Event) -> int:
    """What it counts for where it could not be written; that lines were dropped before is no line of its own."""
    return event["lines"] if isinstance(event, dict) and event["event"] == "dropped" else 1


def wants_colour(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether lines are coloured: NO_COLOR forbids, FORCE_COLOR and CLICOLOR_FORCE demand, else terminals get it."""
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and environment.get("TERM") != "dumb"


def printable(text: str) -> str:
    """The text without keys, in one piece, and without what could end a line or steer a terminal."""
    shown = visible(redacted(text[: 2 * LONGEST]))
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "..."


_word: Final = lru_cache(maxsize=256)(printable)


def _path(path: str) -> str:
    """As it was on the wire, so that a space in it does not look like the end of a column."""
    if "sk-" in path or len(path) > LONGEST:
        path = redacted(path[: 2 * LONGEST])
    if not _PLAIN_PATH.fullmatch(path):
        path = quote(path, safe="/:@!$&'()*+,;=~-._", errors="replace")
    return path if len(path) <= LONGEST else path[:LONGEST] + "..."


def _request(record: Record) -> dict[str, Any]:
    """What is shown of a request.

    at: the moment of its account's clock. status: None where the connection was reset. task: the one that it made or
    asked for. duration_ms: real, with the time for which the answer is held back. error: the message of a refusal.
    """
    call, answer = record.call, record.answer
    return {
        "event": "request",
        "at": round(call.at, 6),
        "method": _word(call.method),
        "path": _path(call.path),
        "status": status_sent(answer),
        "scenario": None if call.scenario is None else _word(call.scenario),
        "task": _task(_TASK.search(call.path.encode()) if call.method == "GET" else _TASK.search(answer.body)),
        "duration_ms": round(_duration_ms(record), 3),
        "error": _message(answer),
    }


def _task(found: re.Match[bytes] | None) -> str | None:
    return None if found is None else found[0].decode()


def _duration_ms(record: Record) -> float:
    return (record.seconds + record.answer.latency) * 1000


def _message(answer: Answer) -> str | None:
    """What the error envelope of a refusal says."""
    if answer.status < 400 or answer.media_type is not JSON:
        return None
    try:
        return printable(str(msgspec.json.decode(answer.body)["error"]["message"]))
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None


def _attempt(delivery: Delivery, attempt: Attempt) -> dict[str, Any]:
    """What is shown of a callback attempt. host: of the address that the client gave. detail: of the error."""
    error, _, detail = (attempt.error or "").partition(": ")
    return {
        "event": "callback",
        "at": round(attempt.at, 6),
        "delivery": delivery.id,
        "task": delivery.task_id,
        "attempt": attempt.number,
        "status": attempt.status,
        "error": printable(error) or None,
        "detail": printable(detail) or None,
        "host": printable(urlsplit(delivery.url).hostname or ""),
        "seconds": attempt.seconds,
    }


def _json_line(event: Event) -> str:
    if isinstance(event, Record):
        fields = _request(event)
    else:
        fields = _attempt(*event) if isinstance(event, tuple) else event
    return msgspec.json.encode(fields).decode() + "\n"


class _Text:
    """Lines for people."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def line(self, event: Event) -> str:
        """The line of one event; of a traceback all of them."""
        if isinstance(event, Record):
            return self._request(event)
        if isinstance(event, tuple):
            return self._callback(_attempt(*event))
        shown = "\n".join(map(visible, event["text"].splitlines()))
        return f"sora-mock: {shown}\n"

    def _request(self, record: Record) -> str:
        # not by way of the fields, which would cost as much again
        call, status = record.call, status_sent(record.answer)
        start = self._start(call.at, status, f"{_duration_ms(record):8.2f} ms")
        line = f"{start}{_word(call.method):6} {_path(call.path)}"
        if call.scenario is not None:
            line += "  " + self._in(CYAN, _word(call.scenario))
        if call.method != "GET" and (task := _TASK.search(record.answer.body)):
            line += "  " + task[0].decode()
        error = "connection reset" if status is None else _message(record.answer)
        return f"{line}  {self._in(_tone(status), error)}\n" if error else line + "\n"

    def _callback(self, fields: dict[str, Any]) -> str:
        line = self._start(fields["at"], fields["status"], f"{fields['seconds']:8.3f} s ")
        line += f"callback {fields['delivery']} attempt {fields['attempt']} to {fields['host']}"
        error = ": ".join(filter(None, (fields["error"], fields["detail"])))
        return f"{line}  {self._in(RED, error)}\n" if error else line + "\n"

    def _start(self, at: float, status: int | None, duration: str) -> str:
        """Moment, status and duration, which stand below each other."""
        second = int(at)
        moment = f"{_time_of_day(second)}.{int((at - second) * 1000):03}"
        shown = str(status or "---")
        if self.colour:
            moment, shown, duration = self._in(DIM, moment), self._in(_tone(status), shown), self._in(DIM, duration)
        return f"{moment}  {shown}  {duration}  "

    def _in(self, tone: str, text: str) -> str:
        return f"\x1b[{tone}m{text}\x1b[0m" if self.colour and text else text


def _tone(status: int | None) -> str:
    return RED if status is None or status >= 500 else YELLOW if status >= 400 else GREEN


@lru_cache(maxsize=64)
def _time_of_day(second: int) -> str:
    """Local time."""
    return f"{datetime.fromtimestamp(second):%H:%M:%S}"
