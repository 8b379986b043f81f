"""The log on standard error: a line for each request and callback attempt; a bad reader costs no request."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from sora_mock.domain.delivery import Attempt, Delivery
from sora_mock.domain.events import AttemptMade, BugFound
from sora_mock.domain.exchange import Exchange
from sora_mock.runtime.clock import stopwatch
from sora_mock.runtime.events import EventBus
from sora_mock.runtime.log import MAX_QUEUED_BYTES, Log
from sora_mock.runtime.log_format import wants_colour
from tests.cli.processes import COMMAND, DEADLINE, Running, environment, serving

SERVE = ("serve", "--port", "0", "--seed", "1", "--frozen-clock")
KEY = "sk-secret-key"
ESCAPE = "\x1b"


def ask(running: Running, path: str, body: Any = None, **headers: str) -> int:
    """The status of a request; 0 where the connection was reset."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(running.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except ConnectionResetError:
        return 0


def order(running: Running, **fields: Any) -> int:
    return ask(running, "/v1/videos/generations", {"model": "sora-2-beta-max", "prompt": "A cat", **fields})


def lines_of(running: Running) -> list[str]:
    code, out, err = running.stop()
    assert (code, out) == (0, "")
    return err.splitlines()


def objects_of(running: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(running)]


# --- requests ---


def test_a_create_request_is_a_line_with_time_status_duration_path_scenario_and_task(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        order(running, prompt="A cat [[mock:failed]]")
        [line] = lines_of(running)
    shape = (
        r"\d\d:\d\d:\d\d\.\d{3}  200  +\d+\.\d\d ms  POST   /v1/videos/generations  "
        r"scenario=failed  task-unified-\d{10}-\w{8}  clock=frozen"
    )
    assert re.fullmatch(shape, line)


def test_the_time_of_a_line_is_real_time_and_not_that_of_the_account(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        assert ask(running, "/__mock/clock/advance", {"seconds": 86_400}) == 200
        order(running)
        [created] = objects_of(running)
    after = datetime.now(UTC)
    time = datetime.fromisoformat(created["time"])
    assert before - timedelta(seconds=1) <= time <= after + timedelta(seconds=1)
    assert created["at"] - time.timestamp() > 86_000


def test_a_running_clock_is_not_marked(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1") as running:
        order(running)
        [line] = lines_of(running)
    assert "clock=" not in line


def test_a_rejected_request_shows_the_reason(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        order(running, duration=11)
        [line] = lines_of(running)
    assert [word for word in ("  400  ", "duration") if word not in line] == []


def test_a_request_as_an_object(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        order(running)
        now = running.get("/__mock/clock", Authorization=f"Bearer {KEY}")["now"]
        [created] = objects_of(running)
    assert created.pop("duration_ms") > 0
    assert created.pop("task").startswith("task-unified-")
    assert created.pop("at") == pytest.approx(now, abs=1e-5)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created.pop("time"))
    assert created == {
        "event": "request",
        "method": "POST",
        "path": "/v1/videos/generations",
        "status": 200,
        "scenario": "completed",
        "frozen": True,
        "error": None,
        "hint": None,
    }


def test_a_connection_that_is_reset_has_no_status(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        assert ask(running, "/v1/credits", **{"X-Mock-Scenario": "connection_reset"}) == 0
        [reset] = objects_of(running)
    assert (reset["status"], reset["scenario"]) == (None, "connection_reset")


def test_malformed_http_is_a_line_too(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        with running.connect(b"\x16\x03\x01 a greeting of TLS\r\n\r\n") as connection:
            assert connection.recv(12) == b"HTTP/1.1 400"
        [line] = lines_of(running)
    assert re.search(r"  400  .*  -      -  .*The request is not valid HTTP$", line)


def test_the_duration_includes_the_latency_of_a_scenario(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        assert ask(running, "/v1/credits", **{"X-Mock-Scenario": "slow_headers latency=0.1"}) == 200
        [slow] = objects_of(running)
    assert 100 <= slow["duration_ms"] < 1000 * DEADLINE


def test_requests_to_the_control_api_are_not_shown(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        running.get("/__mock/clock")
        assert ask(running, "/__mock/clock/advance", {"seconds": 1}) == 200
        assert lines_of(running) == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_client_sends_cannot_end_a_line_steer_a_terminal_or_show_a_key(tmp_path: Path, form: str) -> None:
    # line feed, escape, one-byte CSI, right-to-left override, line separator, a space, an escaped per cent sign
    hostile = "%0A%1B[31m%C2%9B31m%E2%80%AE%E2%80%A8%20200%250A"
    with serving(tmp_path, *SERVE, "--log-format", form) as running:
        for path in (f"/v1/tasks/{hostile}", f"/{hostile}", f"/v1/tasks/{KEY}", f"/v1/tasks/%73k-secret{hostile}"):
            assert ask(running, path) in (400, 404)
        assert ask(running, "/v1/credits", **{"X-Mock-Scenario": f"{KEY}\x9b31m"}) == 400
        lines = lines_of(running)
    assert len(lines) == 5
    assert [line for line in lines if not (line.isascii() and line.isprintable()) or "secret" in line] == []
    assert "%0A%1B%5B31m" in lines[0]
    assert "%20200%250A" in lines[0]


def test_a_long_path_is_cut(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        ask(running, "/v1/" + "x" * 5000)
        [line] = lines_of(running)
    assert len(line) < 600


# --- callbacks ---


def test_every_attempt_of_a_callback_is_a_line(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json", "--allow-callback", "http://127.0.0.1:1") as running:
        order(running, callback_url="https://inbox.sora-mock.test/a?k=sk-secret")
        order(running, callback_url="http://127.0.0.1:1/a")
        assert ask(running, "/__mock/clock/advance", {"seconds": 20}) == 200
        shown = [line for line in objects_of(running) if line["event"] == "callback"]
    [inbox] = [line for line in shown if line["host"] == "inbox.sora-mock.test"]
    assert (inbox["attempt"], inbox["status"], inbox["error"]) == (1, 200, None)
    assert inbox["delivery"] == "dlv-" + inbox["task"].removeprefix("task-unified-")
    refused = [line for line in shown if line["host"] == "127.0.0.1"]
    assert [(line["attempt"], line["status"], line["error"]) for line in refused] == [
        (number, None, "refused") for number in (1, 2, 3, 4)
    ]
    assert [round(line["at"] - refused[0]["at"]) for line in refused] == [0, 1, 3, 7]


def test_an_attempt_for_people(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        order(running, callback_url="https://inbox.sora-mock.test/a")
        assert ask(running, "/__mock/clock/advance", {"seconds": 20}) == 200
        line = lines_of(running)[-1]
    shape = r"\d\d:\d\d:\d\d\.\d{3}  200  +\d+\.\d{3} s   callback dlv-\S+ attempt 1 to inbox\.sora-mock\.test"
    assert re.fullmatch(shape, line)


# --- settings and colours ---


@pytest.mark.parametrize("form", ["text", "json"])
def test_quiet_shows_nothing(tmp_path: Path, form: str) -> None:
    with serving(tmp_path, "--port", "0", "--quiet", "--log-format", form) as running:
        order(running)
        order(running, callback_url="https://inbox.sora-mock.test/a")
        assert lines_of(running) == []


def test_as_json_the_seed_is_an_object_too(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--log-format", "json") as running:
        [message] = objects_of(running)
    assert f"--seed {message['seed']}" in message["text"]


@pytest.mark.parametrize(
    ("variables", "is_terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ],
    ids=str,
)
def test_when_lines_are_coloured(variables: dict[str, str], is_terminal: bool, coloured: bool) -> None:
    assert wants_colour(variables, is_terminal) is coloured


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_a_terminal_gets_colours_unless_they_are_unwanted(
    tmp_path: Path, variables: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    own = {name: value for name, value in environment().items() if not name.endswith(("COLOR", "COLOR_FORCE"))}
    process = subprocess.Popen(
        [*COMMAND, *SERVE],
        cwd=tmp_path,
        env={**own, "TERM": "xterm", **variables},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    try:
        assert process.stdout is not None
        running = Running(process, process.stdout.readline())
        assert ask(running, "/v1/credits") == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(DEADLINE) == 0
        assert (ESCAPE in os.read(ours, 4096).decode()) is coloured
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)
        os.close(ours)
        os.close(theirs)


# --- readers that are slow, gone or full ---


def test_a_reader_that_is_stuck_delays_neither_responses_nor_the_end_of_the_server(tmp_path: Path) -> None:
    # a pipe holds 64 KiB, these lines more
    with serving(tmp_path, *SERVE) as running:
        for _ in range(400):
            assert ask(running, "/v1/" + "x" * 300) == 404
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(2) == 0


def test_a_reader_that_leaves_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        assert running.process.stderr is not None
        running.process.stderr.close()
        running.process.stderr = None
        assert {ask(running, "/v1/credits") for _ in range(50)} == {200}
        assert running.stop()[0] == 0


@contextmanager
def logging_to(descriptor: int | None, *, as_json: bool = False, colour: bool = False) -> Iterator[Log]:
    """A log that closes at the end, when its reader can take what is still queued."""
    log = Log(descriptor, as_json=as_json, colour=colour)
    try:
        yield log
    finally:
        log.close(DEADLINE)


def written(*events: Any, requests: bool = True, colour: bool = False) -> str:
    """What the log writes about events that are published on a bus."""
    reader, writer = os.pipe()
    bus = EventBus()
    with logging_to(writer, colour=colour) as log:
        log.watch(bus, requests=requests)
        for event in events:
            bus.publish(event)
    os.close(writer)
    with os.fdopen(reader) as lines:
        return lines.read()


def test_a_file_that_does_not_wait_gets_every_line() -> None:
    reader, writer = os.pipe()
    # as a program of Node leaves a file that another process uses too
    os.set_blocking(writer, False)
    with logging_to(writer) as log:
        for number in range(3000):
            log.message(f"{number} " + "x" * 100)
        with os.fdopen(reader) as lines:
            assert [int(lines.readline().split()[1]) for _ in range(3000)] == list(range(3000))
    os.close(writer)


def test_lines_that_a_full_disk_did_not_take_are_counted_and_the_next_ones_written() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with logging_to(descriptor) as log:
        log.message("lost")
        assert any(log.dropped for _ in range(10**8))
        # the report that a line was dropped is lost too, and is no line of its own
        log.message("lost too")
        assert any(log.dropped == 2 for _ in range(10**8))
        reader, writer = os.pipe()
        os.dup2(writer, descriptor)
        log.message("kept")
        with os.fdopen(reader) as lines:
            assert lines.readline() == "sora-mock: kept\n"
            assert lines.readline().startswith("sora-mock: 2 lines were dropped")
    os.close(writer)
    os.close(descriptor)


def test_lines_beyond_the_bound_are_dropped_counted_and_reported() -> None:
    reader, writer = os.pipe()
    with logging_to(writer, as_json=True) as log:
        number = 30
        for _ in range(number):
            log.message("x" * (MAX_QUEUED_BYTES // 10))
        with os.fdopen(reader, "rb") as lines:
            kept = 0
            while (line := json.loads(lines.readline()))["event"] != "dropped":
                kept += 1
            assert 0 < line["lines"] == number - kept
            log.message("the end")
            assert json.loads(lines.readline())["text"] == "the end"
    os.close(writer)


def test_bytes_that_are_being_written_count_until_the_reader_has_them() -> None:
    reader, writer = os.pipe()
    with logging_to(writer) as log:
        # the pipe holds less than the first of them
        for _ in range(2):
            log.message("x" * (MAX_QUEUED_BYTES // 2 - 2_000))
        assert log.dropped == 0
        log.message("x" * 4_000)
        assert log.dropped == 1
        with os.fdopen(reader) as lines:
            assert [len(lines.readline()) > 4_000 for _ in range(2)] == [True, True]
            assert "1 lines were dropped" in lines.readline()
    os.close(writer)


def test_closing_waits_for_a_reader_that_is_stuck_no_longer_than_its_limit() -> None:
    reader, writer = os.pipe()
    log = Log(writer)
    log.message("x" * 1_000_000)
    began = stopwatch()
    log.close(0.05)
    assert stopwatch() - began < 5
    os.close(reader)
    os.close(writer)


def test_after_its_reader_has_left_the_log_keeps_and_counts_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Log(writer)
    log.message("unread")
    # the listener ends when its write fails
    log.close(DEADLINE)
    log.message("x" * 2 * MAX_QUEUED_BYTES)
    assert log.dropped == 0
    os.close(writer)


def test_without_standard_error_nothing_is_kept() -> None:
    with logging_to(None) as log:
        log.message("x" * 2 * MAX_QUEUED_BYTES)
        assert log.dropped == 0


def test_loggers_of_the_user_get_nothing(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    assert written(BugFound("KeyError")) == "sora-mock: KeyError\n"
    assert (root.level, root.handlers, caplog.records) == (level, handlers, [])


# --- events ---

CREATED = Exchange("POST", "/v1/videos/generations", {}, scenario="completed", status=200, duration=0.25)


def test_a_bug_is_shown_even_where_requests_are_not() -> None:
    bug = BugFound(f"Traceback\n  {ESCAPE}[31mKeyError")
    assert written(CREATED, bug, requests=False) == "sora-mock: Traceback\n  \\x1b[31mKeyError\n"


def test_requests_and_attempts_are_shown_in_the_order_of_their_events() -> None:
    attempt = Attempt(1, 0.0, 0.0, None, "refused: no listener", 0.5)
    made = AttemptMade(Delivery("dlv-1", "task-1", "http://hooks.example.com/x", 0.0, attempts=(attempt,)), attempt)
    first, second, third = written(CREATED, made, CREATED).splitlines()
    assert first.endswith("  200    250.00 ms  POST   /v1/videos/generations  scenario=completed")
    assert second.endswith("  ---     0.500 s   callback dlv-1 attempt 1 to hooks.example.com  refused: no listener")
    assert third[13:] == first[13:]


def test_a_hint_ends_the_line() -> None:
    exchange = structs.replace(CREATED, status=401, scenario=None, is_frozen=True, hint="keys begin with sk-")
    [line] = written(exchange).splitlines()
    assert line.endswith("/v1/videos/generations  clock=frozen  hint: keys begin with sk-")


def test_colours_change_no_character_of_a_line() -> None:
    exchange = structs.replace(
        CREATED, status=500, is_frozen=True, hint="x", response_body=b'{"error":{"message":"m"}}'
    )
    plain, coloured = written(exchange), written(exchange, colour=True)
    assert coloured.count(ESCAPE) == 2 * 7
    assert re.sub(r"\x1b\[\d+m", "", coloured)[13:] == plain[13:]
