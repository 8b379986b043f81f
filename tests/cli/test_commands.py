"""The command as a user runs it: a process, its output and its exit code."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from sora_mock.config.settings import FLAGS
from sora_mock.server import MockServer
from sora_mock.version import VERSION
from tests.cli.processes import COMMAND, DEADLINE, assert_usage, environment, run, serving

HALF_A_BODY = b"POST /v1/videos/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another process listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture
def free(taken: int) -> int:
    """A port without a listener."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
    return port


# --- serve ---


def test_the_ready_line_is_the_only_one_on_standard_output(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--port", "0") as running:
        port = urlsplit(running.url).port
        assert running.ready == f"sora-mock ready on http://127.0.0.1:{port}\n"
        assert running.get("/__mock/health") == {"status": "ok", "version": VERSION}
        assert running.get("/v1/credits", Authorization="Bearer sk-a")["success"] is True
        code, out, _ = running.stop()
    assert (code, out) == (0, "")


def test_the_ready_line_as_json(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--log-format", "json") as running:
        url = json.loads(running.ready)["url"]
        assert running.ready == f'{{"event":"ready","url":"{url}"}}\n'
        assert urlsplit(url).hostname == "127.0.0.1"
        assert running.stop()[:2] == (0, "")


def test_the_chosen_seed_is_printed_beside_standard_output(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as running:
        _, out, err = running.stop()
    assert out == ""
    assert "--seed" in err


def test_with_a_seed_and_quiet_nothing_else_is_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "5", "--quiet") as running:
        assert running.stop() == (0, "", "")


def test_beyond_loopback_without_a_token_a_line_says_that_the_control_api_is_closed(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--host", "0.0.0.0", "--seed", "1") as running:
        assert running.get("/__mock/health")["status"] == "ok"
        _, out, err = running.stop()
    assert out == ""
    assert "--control-token" in err


# --- the end ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_within_2_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1") as running:
        assert running.stop(number, 2) == (0, "", "")


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/cre", b"GET /v1/credits HTTP/1.1\r\nHost: x\r\n\r\n", HALF_A_BODY],
    ids=["silent", "half-a-head", "kept-alive", "half-a-body"],
)
def test_open_connections_do_not_hold_up_the_end(tmp_path: Path, sent: bytes) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1") as running, running.connect(sent):
        # a request with a response shows that the connection before it was accepted
        running.get("/__mock/health")
        assert running.stop(signal.SIGTERM, 2)[:2] == (0, "")


def test_patterns_that_need_more_time_than_there_is_do_not_hold_up_the_end(tmp_path: Path) -> None:
    order = json.dumps({"model": "sora-2-beta-max", "prompt": "a" * 4000 + "!"}).encode()
    head = b"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-a\r\n"
    request = head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(order), order)
    rules = "".join(f'[[moderation.rules]]\nprompt = "(a|aa)+{end}$"\ntype = "policy"\n' for end in "bcdefg")
    (tmp_path / "sora-mock.toml").write_text(rules)
    with serving(tmp_path, "--port", "0", "--seed", "1", "--quiet") as running, ExitStack() as connections:
        for _ in range(8):
            connections.enter_context(running.connect(request))
        assert running.stop(signal.SIGTERM, 2) == (0, "", "")


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1") as running, running.connect(HALF_A_BODY):
        running.get("/__mock/health")
        running.process.send_signal(signal.SIGINT)
        assert running.stop(signal.SIGINT, 2)[:2] == (0, "")


def test_a_request_that_is_cut_off_by_the_end_leaves_no_traceback(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1") as running, running.connect(HALF_A_BODY):
        running.get("/__mock/health")
        assert "Traceback" not in running.stop()[2]


def test_the_port_is_free_again_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as running:
        port = str(urlsplit(running.url).port)
        running.get("/__mock/health")
        running.stop()
    with serving(tmp_path, "--port", port) as running:
        assert running.ready == f"sora-mock ready on http://127.0.0.1:{port}\n"
        assert running.stop()[0] == 0


# --- mistakes ---


def test_a_port_in_use_is_named(tmp_path: Path, taken: int) -> None:
    assert_usage(run(tmp_path, "--port", str(taken)), str(taken))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--prot", "5"), "--prot"),
        (("--port", "http"), "--port"),
        (("--port",), "--port"),
        (("--scenario", "no-such"), "no-such"),
        (("--config", "absent.toml"), "absent.toml"),
        (("serve", "now"), "now"),
        (("dance",), "dance"),
        (("--host", "no.such.host.invalid", "--port", "0"), "no.such.host.invalid"),
        (("--host", "a" * 64 + ".example", "--port", "0"), "host"),
        (("wait", "--timeout", "soon"), "--timeout"),
        (("wait", "not a url"), "not a url"),
        (("contract", "--yaml"), "--yaml"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_that_names_it(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    assert_usage(run(tmp_path, *arguments), named)


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("prot = 5", "prot"),
        ("port = ", "sora-mock.toml"),
        ("scenario = 'no-such'", "no-such"),
        ("[service]\ncolour = 1", "colour"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(tmp_path: Path, file: str, named: str) -> None:
    (tmp_path / "sora-mock.toml").write_text(file)
    assert_usage(run(tmp_path, "--port", "0"), named)


def test_a_section_of_pyproject_that_is_no_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nsora-mock = 'x'")
    assert_usage(run(tmp_path, "--port", "0"), "pyproject.toml")


def test_a_bad_variable_is_one_line_that_names_it(tmp_path: Path) -> None:
    assert_usage(run(tmp_path, SORA_MOCK_PORT="http"), "SORA_MOCK_PORT")


def test_an_unknown_variable_is_a_warning(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--seed", "1", SORA_MOCK_PROT="5", SORA_MOCK_URL="http://x") as running:
        code, out, err = running.stop()
    assert (code, out) == (0, "")
    [line] = err.splitlines()
    assert "SORA_MOCK_PROT" in line


# --- precedence ---


def test_flag_environment_file_default(tmp_path: Path) -> None:
    (tmp_path / "sora-mock.toml").write_text("port = 0\nseed = 1\ncredits = 1\nspeed = 1\nrate-limit = '1/day'")
    with serving(
        tmp_path, "--credits", "3", SORA_MOCK_CREDITS="2", SORA_MOCK_SPEED="2", SORA_MOCK_QUIET="true"
    ) as running:
        account = running.get("/__mock/account")
        clock = running.get("/__mock/clock")
    assert account["remaining_credits"] == 3
    assert clock["speed"] == 2
    assert account["rate_limit"] == "1/day"
    assert clock["frozen"] is False


def test_the_config_flag_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 0\ncredits = 'unlimited'")
    with serving(tmp_path, "--config", "other.toml") as running:
        assert running.get("/__mock/account")["remaining_credits"] == "unlimited"


# --- wait ---


def test_wait_ends_with_0_once_a_server_is_ready(tmp_path: Path) -> None:
    with MockServer(port=0) as server:
        done = run(tmp_path, "wait", server.url)
        assert (done.returncode, done.stdout) == (0, "")
        assert run(tmp_path, "wait", SORA_MOCK_URL=server.url).returncode == 0


def test_wait_uses_the_token_of_the_environment(tmp_path: Path) -> None:
    with MockServer(port=0, control_token="secret") as server:
        assert run(tmp_path, "wait", server.url, SORA_MOCK_CONTROL_TOKEN="secret").returncode == 0


def test_an_empty_url_is_none_and_not_the_default(tmp_path: Path) -> None:
    with MockServer(port=0) as server:
        assert_usage(run(tmp_path, "wait", "", SORA_MOCK_URL=server.url), "expected a URL", "''")


def test_wait_ends_with_5_where_no_server_listens(tmp_path: Path, free: int) -> None:
    done = run(tmp_path, "wait", f"http://127.0.0.1:{free}", "--timeout", "0.3")
    assert (done.returncode, done.stdout) == (5, "")
    assert len(done.stderr.splitlines()) == 1


def test_wait_ends_with_5_in_time_where_somebody_listens_and_says_nothing(tmp_path: Path, taken: int) -> None:
    done = run(tmp_path, "wait", f"http://127.0.0.1:{taken}", "--timeout", "1", deadline=4)
    assert done.returncode == 5


def test_wait_waits_for_a_server_that_starts_later(tmp_path: Path, free: int) -> None:
    waiting = subprocess.Popen(
        [*COMMAND, "wait", f"http://127.0.0.1:{free}", "--timeout", "15"], cwd=tmp_path, env=environment()
    )
    try:
        with MockServer(port=free):
            assert waiting.wait(DEADLINE) == 0
    finally:
        waiting.kill()
        waiting.wait(DEADLINE)


# --- the other commands ---


def test_contract_prints_the_same_as_yaml_and_as_json(tmp_path: Path) -> None:
    as_yaml, as_json = run(tmp_path, "contract"), run(tmp_path, "contract", "--json")
    assert (as_yaml.returncode, as_json.returncode) == (0, 0)
    document = json.loads(as_json.stdout)
    assert document == yaml.safe_load(as_yaml.stdout)
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/v1/videos/generations", "/v1/tasks/{task_id}", "/v1/credits"}


def test_contract_survives_a_reader_who_leaves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "contract", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(DEADLINE)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(DEADLINE)
        assert process.stderr is not None
        process.stderr.close()


def test_version_is_printed(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sora-mock {VERSION}\n", "")


def test_help_lists_the_commands(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in ("serve", "run", "wait", "contract", "--version") if name not in done.stdout] == []


def test_help_of_serve_lists_every_flag(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--help")
    assert done.returncode == 0
    assert [each.flag for each in FLAGS if each.flag not in done.stdout] == []
    assert "--config" in done.stdout


@pytest.mark.parametrize("seconds", ["0", "x", "-1", "nan", "1e9"])
def test_a_bad_time_to_wait_is_named_in_words(seconds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sora_mock", "wait", f"--timeout={seconds}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "expected seconds" in done.stderr


def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sora_mock", "contract"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_flag_is_written_in_full() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sora_mock", "--quie"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
