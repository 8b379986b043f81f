"""`sora-mock run` as a user runs it: variables of the command, output, signals, exit code, processes that are left."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from threading import Timer
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from sora_mock.cli.run import _is_dead
from tests.cli.processes import COMMAND, DEADLINE, assert_usage, environment, run

linux = pytest.mark.skipif(sys.platform != "linux", reason="checked with parts of Linux")

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
ASK = """
import os, sys, urllib.request, urllib.error
for path in sys.argv[1:]:
    headers = {"Authorization": "Bearer " + os.environ["EVOLINK_API_KEY"]}
    request = urllib.request.Request(os.environ["SORA_MOCK_URL"] + path, headers=headers)
    try:
        print(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as refused:
        print(refused.code)
"""
FAIL = ASK + "sys.exit(3)"
COUNT = """
import signal, sys
seen = []
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), lambda number, _: (seen.append(number), print("got", flush=True)))
signal.signal(signal.SIGUSR2, lambda *_: (print("counted", len(seen), flush=True), sys.exit(7)))
print("up", flush=True)
while True:
    signal.pause()
"""
"""Counts the signals that its arguments name, until SIGUSR2 comes."""


def running(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "run", *arguments)


def python(program: str, *arguments: str) -> tuple[str, ...]:
    """A command behind the flags of `run`."""
    return ("--", sys.executable, "-c", program, *arguments)


def variables_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return cast("dict[str, str]", json.loads(done.stdout))


@contextmanager
def started(folder: Path, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A run whose command has printed `up`."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--seed", "1", *arguments],
        cwd=folder,
        env=environment(),
        text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )
    watchdog = Timer(DEADLINE, process.kill)
    watchdog.start()
    try:
        if process.stdout is not None:
            assert process.stdout.readline() == "up\n"
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate(timeout=DEADLINE)


# --- the variables of the command ---


def test_the_variables_name_one_server_and_a_valid_key(tmp_path: Path) -> None:
    variables = variables_of(running(tmp_path, *python(SHOW)))
    origin = urlsplit(variables["SORA_MOCK_URL"])
    assert (origin.scheme, origin.hostname, origin.path) == ("http", "127.0.0.1", "")
    assert variables["EVOLINK_BASE_URL"] == variables["TEST_API_BASE_URL"] == variables["SORA_MOCK_URL"]
    assert variables["EVOLINK_API_KEY"].startswith("sk-")
    assert "SORA_MOCK_CONTROL_TOKEN" not in variables


@pytest.mark.parametrize("file", ["", "keys = ['sk-a', 'sk-b']"], ids=["any-key", "listed-keys"])
def test_the_server_is_ready_and_accepts_the_key_before_the_command_starts(tmp_path: Path, file: str) -> None:
    (tmp_path / "sora-mock.toml").write_text(file)
    assert running(tmp_path, *python(ASK, "/v1/credits")).stdout == "200\n"


def test_the_key_is_the_first_one_of_the_setting_keys(tmp_path: Path) -> None:
    (tmp_path / "sora-mock.toml").write_text("keys = ['sk-a', 'sk-b']")
    assert variables_of(running(tmp_path, *python(SHOW)))["EVOLINK_API_KEY"] == "sk-a"


def test_the_key_follows_from_the_seed(tmp_path: Path) -> None:
    keys = [
        variables_of(running(tmp_path, "--seed", seed, *python(SHOW)))["EVOLINK_API_KEY"] for seed in ("1", "1", "2")
    ]
    assert keys[0] == keys[1] != keys[2]


def test_more_variables_are_made_from_templates(tmp_path: Path) -> None:
    more = ("--env", "BASE={url}/v1", "--env", "LOGIN={api_key}@{url}={api_key}", "--env", "EVOLINK_BASE_URL=x")
    variables = variables_of(running(tmp_path, *more, *python(SHOW)))
    url, key = variables["SORA_MOCK_URL"], variables["EVOLINK_API_KEY"]
    assert (variables["BASE"], variables["LOGIN"]) == (f"{url}/v1", f"{key}@{url}={key}")
    assert variables["EVOLINK_BASE_URL"] == "x"


def test_the_control_token_is_a_variable_too(tmp_path: Path) -> None:
    assert variables_of(running(tmp_path, "--control-token", "t", *python(SHOW)))["SORA_MOCK_CONTROL_TOKEN"] == "t"


def test_the_port_is_free_unless_the_flag_names_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        (tmp_path / "sora-mock.toml").write_text(f"port = {port}")
        assert urlsplit(variables_of(running(tmp_path, *python(SHOW)))["SORA_MOCK_URL"]).port != int(port)
    assert urlsplit(variables_of(running(tmp_path, "--port", port, *python(SHOW)))["SORA_MOCK_URL"]).port == int(port)


# --- output and exit code ---


@pytest.mark.parametrize(
    ("program", "code"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
    ids=["fine", "failed", "killed"],
)
def test_the_exit_code_is_the_commands(tmp_path: Path, program: str, code: int) -> None:
    assert running(tmp_path, *python(program)).returncode == code


def test_input_and_output_are_the_commands_alone(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    program = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer); print('x', file=sys.stderr)"
    done = subprocess.run(
        [*COMMAND, "run", *python(program)],
        input=data,
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"x\n")


@linux
def test_files_that_are_open_for_the_command_stay_open(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        program = f"import os; print(os.read({reader}, 1))"
        done = subprocess.run(
            [*COMMAND, "run", *python(program)],
            pass_fds=[reader],
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            timeout=DEADLINE,
            check=False,
        )
        assert done.stdout == b"b'x'\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_it_works_with_standard_files_closed(tmp_path: Path) -> None:
    command = f"{sys.executable} -m sora_mock run -- {sys.executable} -c 'raise SystemExit(5)' <&- >&- 2>&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=environment(), timeout=DEADLINE, check=False)
    assert done.returncode == 5


def test_a_failure_shows_the_last_requests_without_keys(tmp_path: Path) -> None:
    paths = [f"/v1/{number}" for number in range(11)]
    done = running(tmp_path, *python(FAIL, *paths, "/v1/tasks/sk-secret"))
    assert done.returncode == 3
    first, *lines = done.stderr.splitlines()
    assert [word for word in ("ended with 3", "10 of its 12", "--seed") if word not in first] == []
    assert [line.split()[1:2] + line.split()[4:6] for line in lines] == [
        *([["404", "GET", path] for path in paths[2:]]),
        ["400", "GET", "/v1/tasks/sk-***"],
    ]
    assert "Invalid task ID" in lines[-1]


def test_a_command_that_resets_the_journal_sees_the_requests_after_it_and_the_number_of_all(tmp_path: Path) -> None:
    reset = "import urllib.request; urllib.request.urlopen(os.environ['SORA_MOCK_URL'] + '/__mock/reset', b'')"
    first, *lines = running(
        tmp_path,
        *python(f"{ASK.replace('sys.argv[1:]', '(sys.argv[1],)')}{reset}\n{FAIL}", "/v1/credits", "/v1/tasks/x"),
    ).stderr.splitlines()
    assert "the last 2 of its 3 requests" in first
    assert [line.split()[5] for line in lines] == ["/v1/credits", "/v1/tasks/x"]


@pytest.mark.parametrize("flags", [("--control-token", "t"), ("--host", "0.0.0.0", "--control-token", "t")], ids=str)
def test_a_failure_shows_requests_of_a_server_with_a_control_token_too(tmp_path: Path, flags: tuple[str, ...]) -> None:
    lines = running(tmp_path, *flags, *python(FAIL, "/v1/credits")).stderr.splitlines()
    assert ["/v1/credits" in line for line in lines] == [False, True]


def test_a_failure_says_why_the_requests_are_not_available(tmp_path: Path) -> None:
    *_, line = running(tmp_path, "--host", "0.0.0.0", *python(FAIL, "/v1/credits")).stderr.splitlines()
    assert line.startswith("sora-mock: the command ended with 3; its requests are not available: ")


def test_a_failure_as_json_names_its_exit_code_and_the_seed(tmp_path: Path) -> None:
    done = running(tmp_path, "--log-format", "json", "--seed", "7", *python(FAIL, "/v1/credits"))
    live, ended, again = map(json.loads, done.stderr.splitlines())
    assert (ended["event"], ended["exit_code"], ended["requests"], ended["seed"]) == ("message", 3, 1, 7)
    assert (live["path"], again["path"]) == ("/v1/credits", "/v1/credits")
    assert live.keys() == again.keys()


NO_REQUESTS = (
    r"sora-mock: the command ended with 3; no request is in the journal of the server "
    r"\(repeat this run with --seed \d+\)\n"
)


def test_a_failure_without_requests_says_so_and_names_the_seed(tmp_path: Path) -> None:
    assert re.fullmatch(NO_REQUESTS, running(tmp_path, *python("raise SystemExit(3)")).stderr)


@pytest.mark.parametrize(
    ("flags", "program"),
    [((), ASK), (("--quiet",), FAIL), (("--quiet", "--log-format", "text"), FAIL)],
    ids=["fine", "quiet", "quiet-text"],
)
def test_run_itself_prints_nothing_after_a_success_or_when_quiet(
    tmp_path: Path, flags: tuple[str, ...], program: str
) -> None:
    done = run(tmp_path, "run", *flags, *python(program, "/v1/credits"), SORA_MOCK_LOG_FORMAT="json")
    assert (done.stdout, done.stderr) == ("200\n", "")


def test_requests_are_shown_as_they_come_where_asked(tmp_path: Path) -> None:
    done = running(tmp_path, "--log-format", "json", *python(ASK, "/v1/credits"))
    [line] = done.stderr.splitlines()
    assert json.loads(line)["path"] == "/v1/credits"


def test_a_warning_is_printed_once_though_the_server_reads_the_settings_too(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--log-format", "text", "--", "true", SORA_MOCK_PROT="5")
    [line] = done.stderr.splitlines()
    assert "SORA_MOCK_PROT" in line


# --- mistakes ---


@pytest.mark.parametrize("flags", [(), ("--log-format", "text"), ("--quiet",)], ids=str)
def test_a_port_in_use_is_one_line_that_names_it(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_usage(running(tmp_path, "--port", port, *flags, "--", "true"), f"port {port}")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--"),
        (("--",), "--"),
        (("true",), "--"),
        (("--env", "A={port}", "--", "true"), "{port}"),
        (("--env", "A={", "--", "true"), "A={"),
        (("--env", "A", "--", "true"), "NAME=TEMPLATE"),
        (("--env", "1A=x", "--", "true"), "1A=x"),
        (("--env", "=x", "--", "true"), "=x"),
        (("--prot", "1", "--", "true"), "--prot"),
        (("--port", "http", "--", "true"), "--port"),
        (("--scenario", "no-such", "--", "true"), "no-such"),
        (("--host", "no.such.host.invalid", "--", "true"), "no.such.host.invalid"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_that_names_it(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    assert_usage(running(tmp_path, *arguments), named)


def test_a_command_that_cannot_be_run_is_one_line_and_a_shells_exit_code(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    for command, code in (("no-such-command", 127), (str(plain / "x"), 127), ("", 127), (str(plain), 126)):
        done = running(tmp_path, "--", command)
        assert (done.returncode, done.stdout) == (code, "")
        [line] = done.stderr.splitlines()
        assert repr(command) in line


# each has something to print first, the warning of an unknown variable
UNREADABLE = [
    (("--", "no-such-command"), 127),
    (("--port", "x", "--", "true"), 2),
    ((), 2),
    (("--", "sh", "-c", "exit 3"), 3),
]


@linux
@pytest.mark.parametrize("standard_error", ["no reader", "full disk", "full pipe"])
@pytest.mark.parametrize(("arguments", "code"), UNREADABLE, ids=str)
def test_a_message_that_cannot_be_read_changes_no_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, standard_error: str
) -> None:
    reader, writer = os.pipe()
    if standard_error == "no reader":
        os.close(reader)
    elif standard_error == "full disk":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)))
    variables = environment(SORA_MOCK_NO_SUCH_SETTING="a warning")
    done = subprocess.run(
        [*COMMAND, "run", *arguments], cwd=tmp_path, env=variables, stderr=writer, timeout=DEADLINE, check=False
    )
    assert done.returncode == code


def test_a_strict_interpreter_prints_no_warning(tmp_path: Path) -> None:
    done = run(tmp_path, "run", *python(ASK, "/v1/credits"), PYTHONDEVMODE="1", PYTHONWARNINGS="always")
    assert (done.returncode, done.stdout, done.stderr) == (0, "200\n", "")


def test_an_interrupt_before_the_command_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "sora-mock.toml"
    os.mkfifo(file)
    command = [*COMMAND, "run", "--config", str(file), "--", "true"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        # `run` reads its settings now, and waits for them
        with file.open("w"):
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (130, "")


# --- signals ---


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_a_signal_is_passed_on_once(tmp_path: Path, name: str) -> None:
    with started(tmp_path, *python(COUNT, name)) as process:
        assert process.stdout is not None
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "got\n"
        process.send_signal(signal.SIGUSR2)
        assert process.stdout.readline() == "counted 1\n"
        assert process.wait(DEADLINE) == 7


def test_a_command_that_a_signal_ends_gives_128_and_its_number(tmp_path: Path) -> None:
    with started(tmp_path, *python("import signal; print('up', flush=True); signal.pause()")) as process:
        process.terminate()
        assert process.communicate(timeout=DEADLINE)[1].count("143 (SIGTERM)") == 1
        assert process.returncode == 143


IGNORED = """
import signal
print(*(name for name in ("SIGINT", "SIGQUIT", "SIGHUP") if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN))
"""


def ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def test_a_signal_that_is_ignored_stays_ignored_for_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "run", *python(IGNORED)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        preexec_fn=ignore_signals,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGINT SIGQUIT SIGHUP\n", "")


def test_a_signal_that_is_ignored_is_not_passed_on(tmp_path: Path) -> None:
    with started(tmp_path, *python(COUNT, "SIGHUP"), preexec_fn=ignore_signals) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR2)
        assert process.stdout.readline() == "counted 0\n"
        assert process.wait(DEADLINE) == 7


def test_signals_are_ignored_no_longer_where_only_the_test_runner_ignores_them(tmp_path: Path) -> None:
    assert running(tmp_path, *python(IGNORED)).stdout == "\n"


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def test_the_server_stops_at_once_where_the_parent_of_run_has_blocked_its_signals(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "run", *python("raise SystemExit(3)")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=block_signals,
    )
    assert done.returncode == 3
    assert re.fullmatch(NO_REQUESTS, done.stderr)


@linux
def test_a_group_whose_processes_have_ended_is_dead_before_somebody_reaps_them() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as process:
        assert not _is_dead(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert _is_dead(process.pid)
    assert not _is_dead(process.pid)


class Screen:
    """The user's side of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self.shown = b""

    def hang_up(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def type(self, keys: bytes) -> None:
        assert self.descriptor is not None
        os.write(self.descriptor, keys)

    def wait_for(self, text: bytes, after: bytes = b"") -> None:
        assert self.descriptor is not None
        while text not in self.shown.partition(after)[2] if after else text not in self.shown:
            assert select([self.descriptor], [], [], DEADLINE)[0], self.shown
            self.shown += os.read(self.descriptor, 4096)


@contextmanager
def at_a_terminal(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Screen]]:
    ours, theirs = pty.openpty()
    own = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    screen = Screen(ours)
    try:
        with started(folder, *arguments, **own, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as process:
            yield process, screen
    finally:
        os.close(theirs)
        screen.hang_up()


@linux
@pytest.mark.parametrize("source", ["keyboard", "kill"])
def test_at_a_terminal_an_interrupt_arrives_exactly_once(tmp_path: Path, source: str) -> None:
    with at_a_terminal(tmp_path, *python(COUNT, "SIGINT")) as (process, screen):
        screen.wait_for(b"up")
        if source == "keyboard":
            screen.type(b"\x03")
        else:
            process.send_signal(signal.SIGINT)
        screen.wait_for(b"got")
        # `run` passes it on after all others
        process.send_signal(signal.SIGUSR2)
        screen.wait_for(b"counted 1")
        assert process.wait(DEADLINE) == 7


def test_at_a_terminal_the_command_reads_what_is_typed(tmp_path: Path) -> None:
    with at_a_terminal(tmp_path, *python("print('read', input())")) as (process, screen):
        screen.type(b"hello\n")
        screen.wait_for(b"read hello")
        assert process.wait(DEADLINE) == 0


@linux
def test_a_terminal_that_hangs_up_ends_the_command_and_the_run(tmp_path: Path) -> None:
    with at_a_terminal(tmp_path, *python("import signal; print('up', flush=True); signal.pause()")) as (
        process,
        screen,
    ):
        screen.wait_for(b"up")
        # the kernel sends the signal to the leader of the session alone, here `run`
        screen.hang_up()
        assert process.wait(DEADLINE) == 128 + signal.SIGHUP


@linux
def test_a_stop_key_stops_nothing_if_no_shell_could_continue_the_command(tmp_path: Path) -> None:
    # not a program in Python: its `input` can miss a Ctrl-C that arrives just before it begins to read
    with at_a_terminal(tmp_path, "--", "sh", "-c", "echo up; exec cat") as (run, screen):
        screen.wait_for(b"up\r\n")
        # `run` leads the session: there is no shell whose `fg` would continue it
        screen.type(b"\x1a")
        screen.type(b"still here\n")
        screen.wait_for(b"still here\r\nstill here")
        screen.type(b"\x03")
        assert run.wait(DEADLINE) == 128 + signal.SIGINT


# --- processes that are left ---

FAMILY = """
import os, signal, subprocess, sys
reader, writer = os.pipe()
polite = '''
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("terminated", flush=True), sys.exit()))
os.write(int(sys.argv[1]), b"x")
signal.pause()
'''
stubborn = polite.replace("lambda *_: (print(\\"terminated\\", flush=True), sys.exit())", "signal.SIG_IGN")
assert polite != stubborn
for program in polite, stubborn:
    subprocess.Popen([sys.executable, "-c", program, str(writer)], pass_fds=[writer])
    os.read(reader, 1)
print("up", flush=True)
"""
"""Leaves two processes that hold standard output open; one of them ignores SIGTERM."""


def test_processes_that_the_command_leaves_in_its_group_get_sigterm_then_sigkill(tmp_path: Path) -> None:
    with started(tmp_path, *python(FAMILY)) as process:
        # the output ends when the last process that could write there has ended
        assert process.communicate(timeout=DEADLINE)[0] == "terminated\n"
        assert process.returncode == 0


SHOW_URL = "import os, sys; print('up', flush=True); print(os.environ['SORA_MOCK_URL'], flush=True); sys.stdin.read()"
"""Ends when standard input ends: nothing else ends it when `run` is killed."""


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url.strip())
    with socket.create_connection((parts.hostname, parts.port), DEADLINE) as connection:
        yield connection


def assert_closed(connection: socket.socket) -> None:
    """The other side closes the connection before the deadline."""
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""


@pytest.mark.parametrize("kills_group", [False, True], ids=["alone", "group"])
def test_the_server_ends_when_run_is_killed(tmp_path: Path, kills_group: bool) -> None:
    with started(tmp_path, *python(SHOW_URL), stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        with connected(process.stdout.readline()) as connection:
            if kills_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            assert_closed(connection)


@linux
def test_at_a_terminal_too_the_server_ends_when_the_group_of_run_is_killed(tmp_path: Path) -> None:
    with at_a_terminal(tmp_path, *python(SHOW_URL)) as (process, screen):
        screen.wait_for(b"http:")
        screen.wait_for(b"\n", after=b"http:")
        with connected(screen.shown.decode().split()[-1]) as connection:
            os.killpg(process.pid, signal.SIGKILL)
            assert_closed(connection)


def test_the_server_ends_with_the_command(tmp_path: Path) -> None:
    url = urlsplit(variables_of(running(tmp_path, *python(SHOW)))["SORA_MOCK_URL"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((url.hostname, url.port), DEADLINE)


KILL_SERVER = """
import os, signal, subprocess, sys
[server] = [int(pid) for pid in subprocess.check_output(["pgrep", "-P", str(os.getppid())]).split()
            if int(pid) != os.getpid()]
os.kill(server, signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""


@linux
@pytest.mark.parametrize(("code", "expected"), [(0, 1), (3, 3)], ids=["fine", "failed"])
def test_a_server_that_dies_under_the_command_is_one_line_and_a_failure(
    tmp_path: Path, code: int, expected: int
) -> None:
    done = running(tmp_path, *python(KILL_SERVER, str(code)))
    assert done.returncode == expected
    [line] = done.stderr.splitlines()
    assert re.fullmatch(r"sora-mock: the server at http://127\.0\.0\.1:\d+ was killed by signal 9", line)
