"""The log on standard error: `logging` with a bounded queue, whose listener formats and writes in a thread of its own.

The server's thread only puts an event into the queue. A reader that is slow or gone costs lines, never a request.
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Mapping
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any, Final

from sora_mock.domain.events import AttemptMade, BugFound
from sora_mock.domain.exchange import Exchange
from sora_mock.runtime import clock
from sora_mock.runtime.events import EventBus
from sora_mock.runtime.log_format import (
    Event,
    EventRecord,
    JsonFormatter,
    TextFormatter,
    record_fields,
    wants_colour,
)

MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of events that wait for the listener; the handler drops and counts what comes on top."""

MAX_CLOSE_SECONDS: Final = 0.5
"""Real seconds that a slow reader gets when the log closes."""

GATHER_SECONDS: Final = 0.02
"""Real seconds that a line waits for others, so that many lines cost one write."""

LINES_PER_WRITE: Final = 100

MESSAGE_SIZE: Final = 1_000
"""Bytes that an event counts for besides its text."""


class BoundedQueueHandler(QueueHandler):
    """Queues event records up to `MAX_QUEUED_BYTES`, the bytes of those that are being written included.

    dropped: lines that were lost and not reported yet.
    """

    def __init__(self) -> None:
        self.records: SimpleQueue[EventRecord | None] = SimpleQueue()
        super().__init__(self.records)
        self.dropped = 0
        self._bytes = 0
        self._is_closed = False

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leaves the record as it is: the listener formats it."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queues the record or drops it; never waits."""
        assert isinstance(record, EventRecord)
        if self._is_closed:
            return
        if self._bytes + record.size > MAX_QUEUED_BYTES:
            self.dropped += 1
            return
        self._bytes += record.size
        self.records.put_nowait(record)

    def take(self) -> list[EventRecord]:
        """All records that are queued, and a report of the lines that were dropped. Only for the listener."""
        self.acquire()
        try:
            count, dropped, self.dropped = self.records.qsize(), self.dropped, 0
        finally:
            self.release()
        records = [each for each in (self.records.get_nowait() for _ in range(count)) if each is not None]
        if dropped:
            text = f"{dropped} lines were dropped: standard error is not read fast enough"
            records.append(event_record({"event": "dropped", "text": text, "lines": dropped}, 0))
        return records

    def settle(self, records: list[EventRecord], lost: int) -> None:
        """Frees the bytes of records that were written, or of which `lost` lines could not be written."""
        size = sum(each.size for each in records)
        self.acquire()
        try:
            self._bytes -= size
            self.dropped += lost
        finally:
            self.release()

    def close(self) -> None:
        """Drops all records from now on."""
        self._is_closed = True
        super().close()


def event_record(event: Event, size: int) -> EventRecord:
    """A record of an event that happens now."""
    return EventRecord(event, created=clock.real_now(), size=size)


class Listener:
    """Writes what a handler queues, many lines with one write, and stops within a time limit.

    The standard `QueueListener` does neither: it handles each record alone, and its `stop` waits for the thread.
    """

    def __init__(self, handler: BoundedQueueHandler, descriptor: int, formatter: logging.Formatter) -> None:
        self._handler = handler
        self._descriptor = descriptor
        self._formatter = formatter
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sora-mock log", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Writes what is queued if the reader takes it within this real time."""
        self._stopping.set()
        self._handler.records.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                first = self._handler.records.get()
                self._stopping.wait(GATHER_SECONDS)
                is_last = self._stopping.is_set()
                records = self._handler.take()
                self._write_all(records if first is None else [first, *records])
        except BrokenPipeError:
            # the reader is gone, and the server serves on
            self._handler.close()
            self._handler.take()

    def _write_all(self, records: list[EventRecord]) -> None:
        for start in range(0, len(records), LINES_PER_WRITE):
            some, lost = records[start : start + LINES_PER_WRITE], 0
            try:
                self._write("".join(f"{self._formatter.format(each)}\n" for each in some))
            except BrokenPipeError:
                raise
            except OSError:
                # a full disk may have space again later
                lost = sum(map(_line_count, some))
            self._handler.settle(some, lost)

    def _write(self, lines: str) -> None:
        data = lines.encode("utf-8", "backslashreplace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # another process that has the file open, as Node does, may have made it non-blocking
                select.select([], [self._descriptor], [])


def _line_count(record: EventRecord) -> int:
    """Lines that are lost with this record: a report of dropped lines is no line of its own."""
    event = record.event
    return int(event["lines"]) if isinstance(event, Mapping) and event["event"] == "dropped" else 1


class Log:
    """A log with a logger of its own. Every method may be called from any thread, and none but `close` waits.

    descriptor: an open file, None where there is none. as_json: an object for each line instead of text.
    """

    def __init__(self, descriptor: int | None, *, as_json: bool = False, colour: bool = False) -> None:
        # not `getLogger`: a logger without a parent, which no configuration of `logging` and no other handler reaches
        self._logger = logging.Logger("sora_mock", logging.INFO)
        self._handler = BoundedQueueHandler()
        self._listener: Listener | None = None
        if descriptor is None:
            self._handler.close()
        else:
            formatter = JsonFormatter() if as_json else TextFormatter(colour=colour)
            self._listener = Listener(self._handler, descriptor, formatter)
        self._logger.addHandler(self._handler)

    @property
    def dropped(self) -> int:
        """Lines that were dropped or could not be written, and of which no line reports yet."""
        return self._handler.dropped

    def watch(self, events: EventBus, *, requests: bool) -> None:
        """Shows bugs of that bus; with `requests` also requests and callback attempts."""
        events.subscribe(BugFound, lambda bug: self.message(bug.traceback))
        if requests:
            events.subscribe(Exchange, lambda exchange: self._put(exchange, exchange.size))
            events.subscribe(AttemptMade, lambda made: self._put(made, MESSAGE_SIZE))

    def message(self, text: str, **fields: Any) -> None:
        """A line of text. fields: what the text says, for programs."""
        self._put({"event": "message", "text": text, **fields}, MESSAGE_SIZE + len(text))

    def request(self, record: Mapping[str, Any]) -> None:
        """A request that another process has served: a record of `GET /__mock/requests`.

        Where the record has no real time, the line shows the time of the account's clock.
        """
        created = record.get("received_at", record["at"])
        self._logger.handle(EventRecord(record_fields(record), created=created, size=MESSAGE_SIZE))

    def close(self, seconds: float = MAX_CLOSE_SECONDS) -> None:
        """Writes what is queued, if the reader takes it within `seconds` of real time."""
        self._logger.removeHandler(self._handler)
        if self._listener is not None:
            self._listener.stop(seconds)
        self._handler.close()

    def _put(self, event: Event, size: int) -> None:
        self._logger.handle(event_record(event, size))


def standard_error_log(environment: Mapping[str, str], *, as_json: bool) -> Log:
    """A log on this process's standard error; it shows nothing where that is closed."""
    if sys.stderr is None:
        return Log(None)
    return Log(sys.stderr.fileno(), as_json=as_json, colour=wants_colour(environment, sys.stderr.isatty()))
