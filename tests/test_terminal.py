"""What `serve` shows on standard error: a line for each request and callback attempt, at nobody's cost."""

import json
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sora_mock.app import create_app
from sora_mock.config.settings import Settings
from sora_mock.runtime.log import MOST_WAITING, Terminal, wants_colour
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


def test_a_creation_is_a_line_with_moment_status_duration_path_scenario_and_task(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        order(running, prompt="A cat [[mock:failed]]")
        [line] = lines_of(running)
    shape = (
        r"\d\d:\d\d:\d\d\.\d{3}  200  +\d+\.\d\d ms  POST   /v1/videos/generations  failed  task-unified-\d{10}-\w{8}"
    )
    assert re.fullmatch(shape, line)


def test_a_refusal_says_why(tmp_path: Path) -> None:
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
    assert created == {
        "event": "request",
        "method": "POST",
        "path": "/v1/videos/generations",
        "status": 200,
        "scenario": "completed",
        "error": None,
    }


def test_a_connection_that_is_reset_has_no_status(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        assert ask(running, "/v1/credits", **{"X-Mock-Scenario": "connection_reset"}) == 0
        [reset] = objects_of(running)
    assert (reset["status"], reset["scenario"]) == (None, "connection_reset")


def test_what_is_no_http_is_a_line_too(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE) as running:
        with running.connect(b"\x16\x03\x01 a greeting of TLS\r\n\r\n") as connection:
            assert connection.recv(12) == b"HTTP/1.1 400"
        [line] = lines_of(running)
    assert re.search(r"  400  .*  -      -  The request is not valid HTTP$", line)


def test_an_answer_that_is_held_back_counts_with_the_time_it_took(tmp_path: Path) -> None:
    with serving(tmp_path, *SERVE, "--log-format", "json") as running:
        assert ask(running, "/v1/credits", **{"X-Mock-Scenario": "slow_headers latency=0.1"}) == 200
        [slow] = objects_of(running)
    assert 100 <= slow["duration_ms"] < 1000 * DEADLINE


def test_control_calls_are_not_shown(tmp_path: Path) -> None:
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


# --- whether, and how ---


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


# --- a reader that is no good ---


def test_a_reader_that_is_stuck_holds_up_neither_answers_nor_the_end(tmp_path: Path) -> None:
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


def test_a_file_that_does_not_wait_gets_every_line() -> None:
    reader, writer = os.pipe()
    # as a program of Node's leaves it that shares it
    os.set_blocking(writer, False)
    terminal = Terminal(writer)
    for number in range(3000):
        terminal.tell(f"{number} " + "x" * 100)
    with os.fdopen(reader) as lines:
        assert [int(lines.readline().split()[1]) for _ in range(3000)] == list(range(3000))
        terminal.close()
    os.close(writer)


def test_lines_that_a_full_disk_did_not_take_are_counted_and_the_next_ones_written() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    terminal = Terminal(descriptor)
    terminal.tell("lost")
    assert any(terminal._dropped for _ in range(10**8))
    # that it was dropped is tried to be told, and is no line of its own
    terminal.tell("lost too")
    assert any(terminal._dropped == 2 for _ in range(10**8))
    reader, writer = os.pipe()
    os.dup2(writer, descriptor)
    terminal.tell("kept")
    with os.fdopen(reader) as lines:
        assert lines.readline() == "sora-mock: kept\n"
        assert lines.readline().startswith("sora-mock: 2 lines were dropped")
        terminal.close()
    os.close(writer)
    os.close(descriptor)


def test_lines_beyond_the_bound_are_dropped_counted_and_told() -> None:
    reader, writer = os.pipe()
    terminal = Terminal(writer, as_json=True)
    number = 30
    for _ in range(number):
        terminal.tell("x" * (MOST_WAITING // 10))
    with os.fdopen(reader, "rb") as lines:
        kept = 0
        while (line := json.loads(lines.readline()))["event"] != "dropped":
            kept += 1
        assert 0 < line["lines"] == number - kept
        terminal.tell("the end")
        assert json.loads(lines.readline())["text"] == "the end"
        terminal.close()
    os.close(writer)


def test_without_standard_error_nothing_is_kept() -> None:
    terminal = Terminal(None)
    terminal.tell("x")
    terminal.close()


def test_a_bug_is_told_whatever_else_is_shown() -> None:
    reader, writer = os.pipe()
    terminal, emulator = Terminal(writer), create_app(Settings(seed=1)).emulator
    terminal.watch(emulator, requests=False)
    emulator.on_bug(f"Traceback\n  {ESCAPE}[31mKeyError")
    terminal.close(DEADLINE)
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert lines.read() == "sora-mock: Traceback\n  \\x1b[31mKeyError\n"
    assert emulator.on_request is None
