"""What the log shows of an event, and its formatters: text for people, one JSON object per line for programs."""

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from sora_mock.domain.events import AttemptMade
from sora_mock.domain.exchange import JSON, Exchange
from sora_mock.domain.task import ID_PREFIX
from sora_mock.domain.text import redacted, visible

MAX_SHOWN: Final = 200
"""Characters that the log shows of one text that a client sent."""

MAX_READ: Final = 4096
"""Characters that it looks at: a password is recognized by the @ behind it."""

RED, GREEN, YELLOW, CYAN, DIM = "31", "32", "33", "36", "2"

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/_.~-]*")
_TASK: Final = re.compile(rb"%b\d{10}-[a-z0-9]{8}" % ID_PREFIX.encode())

Fields = dict[str, Any]
Event = Exchange | AttemptMade | Mapping[str, Any]


class EventRecord(logging.LogRecord):
    """A log record whose message is an event. The listener's thread turns the event into text.

    It leaves out what a `LogRecord` finds out about its caller: that costs more than all else of the log.
    event: a mapping is shown as it is. created: real time, Unix seconds. size: bytes that it counts for in the queue.
    """

    def __init__(self, event: Event, *, created: float, size: int) -> None:
        self.name, self.levelno, self.levelname = "sora_mock", logging.INFO, "INFO"
        self.event = self.msg = event
        self.args = self.exc_info = self.exc_text = self.stack_info = None
        self.created = created
        self.size = size


def wants_colour(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether lines are coloured: NO_COLOR forbids, FORCE_COLOR and CLICOLOR_FORCE demand, else terminals get it."""
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and environment.get("TERM") != "dumb"


# --- fields ---


def request_fields(exchange: Exchange) -> Fields:
    """What the log shows of a request.

    at: time of the account's clock; frozen: whether that clock is frozen. status: None where the connection was
    reset. task: the one that the request created or queried. duration_ms: real, with the latency of a scenario.
    error: the message of a rejected request. hint: what a person should probably change.
    """
    status = exchange.sent_status
    is_error = exchange.status >= 400 and exchange.media_type == JSON
    return {
        "event": "request",
        "at": round(exchange.at, 6),
        "frozen": exchange.is_frozen,
        "method": _word(exchange.method),
        "path": shown_path(exchange.path),
        "status": status,
        "scenario": None if exchange.scenario is None else _word(exchange.scenario),
        "task": _task_of(exchange.method, exchange.path, exchange.response_body),
        "duration_ms": round((exchange.duration + exchange.latency) * 1000, 3),
        "error": _error_message(exchange.response_body) if is_error else None,
        "hint": exchange.hint,
    }


def record_fields(record: Mapping[str, Any]) -> Fields:
    """The same fields for a record of `GET /__mock/requests`."""
    method, path, status, scenario = (record[name] for name in ("method", "path", "status", "scenario"))
    response = msgspec.json.encode(record["response"])
    return {
        "event": "request",
        "at": round(record["at"], 6),
        "frozen": record.get("frozen", False),
        "method": _word(method),
        "path": shown_path(path),
        "status": status,
        "scenario": None if scenario is None else _word(scenario),
        "task": _task_of(method, path, response),
        "duration_ms": round(record["seconds"] * 1000, 3),
        "error": _error_message(response) if (status or 0) >= 400 else None,
        "hint": record.get("hint"),
    }


def attempt_fields(made: AttemptMade) -> Fields:
    """What the log shows of a callback attempt. host: of the callback URL. detail: of the error."""
    delivery, attempt = made.delivery, made.attempt
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


def printable(text: str) -> str:
    """The text on one line and cut, without API keys and without characters that control a terminal."""
    shown = visible(redacted(text[:MAX_READ]))
    return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."


_word: Final = lru_cache(maxsize=256)(printable)


def shown_path(path: str) -> str:
    """The path as the client sent it, escaped: a space in it would look like the end of a column."""
    is_plain = _PLAIN_PATH.fullmatch(path) is not None
    if "sk-" in path or len(path) > MAX_SHOWN or not is_plain:
        path = redacted(path[:MAX_READ])
    if not is_plain:
        path = quote(path, safe="/:@!$&'()*+,;=~-._", errors="replace")
    return path if len(path) <= MAX_SHOWN else path[:MAX_SHOWN] + "..."


def _task_of(method: str, path: str, response: bytes) -> str | None:
    found = _TASK.search(path.encode() if method == "GET" else response)
    return None if found is None else found[0].decode()


def _error_message(response: bytes) -> str | None:
    """The message of an error envelope."""
    try:
        return printable(str(msgspec.json.decode(response)["error"]["message"]))
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None


def _fields(record: logging.LogRecord) -> Fields:
    assert isinstance(record, EventRecord)
    event = record.event
    if isinstance(event, Exchange):
        return request_fields(event)
    return attempt_fields(event) if isinstance(event, AttemptMade) else dict(event)


# --- formatters ---


class JsonFormatter(logging.Formatter):
    """One JSON object; `time` is real time, ISO 8601 in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        fields = _fields(record)
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return msgspec.json.encode({"event": fields["event"], "time": time.replace("+00:00", "Z"), **fields}).decode()


class TextFormatter(logging.Formatter):
    """A line for people: local real time, status, duration, then what happened."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end; a traceback has several lines."""
        fields = _fields(record)
        if fields["event"] == "request":
            return self._request(record.created, fields)
        if fields["event"] == "callback":
            return self._callback(record.created, fields)
        return "sora-mock: " + "\n".join(map(visible, fields["text"].splitlines()))

    def _request(self, created: float, fields: Fields) -> str:
        status = fields["status"]
        start = self._start(created, status, f"{fields['duration_ms']:8.2f} ms")
        parts = [f"{start}{fields['method']:6} {fields['path']}"]
        if fields["scenario"] is not None:
            parts.append(self._in(CYAN, f"scenario={fields['scenario']}"))
        # the path of a query shows its task already
        if fields["task"] is not None and fields["method"] != "GET":
            parts.append(fields["task"])
        if fields["frozen"]:
            parts.append(self._in(DIM, "clock=frozen"))
        if error := "connection reset" if status is None else fields["error"]:
            parts.append(self._in(_tone(status), error))
        if fields["hint"] is not None:
            parts.append(self._in(YELLOW, f"hint: {fields['hint']}"))
        return "  ".join(parts)

    def _callback(self, created: float, fields: Fields) -> str:
        line = self._start(created, fields["status"], f"{fields['seconds']:8.3f} s ")
        line += f"callback {fields['delivery']} attempt {fields['attempt']} to {fields['host']}"
        error = ": ".join(filter(None, (fields["error"], fields["detail"])))
        return f"{line}  {self._in(RED, error)}" if error else line

    def _start(self, created: float, status: int | None, duration: str) -> str:
        """Time, status and duration, as columns."""
        second = int(created)
        time, shown = f"{_local_time(second)}.{int((created - second) * 1000):03}", str(status or "---")
        return f"{self._in(DIM, time)}  {self._in(_tone(status), shown)}  {self._in(DIM, duration)}  "

    def _in(self, tone: str, text: str) -> str:
        return f"\x1b[{tone}m{text}\x1b[0m" if self.colour and text else text


def _tone(status: int | None) -> str:
    return RED if status is None or status >= 500 else YELLOW if status >= 400 else GREEN


@lru_cache(maxsize=64)
def _local_time(second: int) -> str:
    return f"{datetime.fromtimestamp(second):%H:%M:%S}"
