"""The package as others import it: its names and types, a server in a thread, the application in process."""

import asyncio
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest

import sora_mock
from sora_mock import Account, MockServer, Options, Refused, SettingError, create_app
from sora_mock.client.http import wait
from sora_mock.config.settings import SETTINGS
from tests.conftest import ORDER

ROOT = Path(__file__).resolve().parents[1]
BOUND = {"Authorization": "Bearer sk-a"}
INBOX = "https://inbox.sora-mock.test/hook"


def python(code: str) -> str:
    """What another interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).strip()


# names and types


def test_the_public_names_are_these() -> None:
    names = {"Account", "MockServer", "Options", "Refused", "SettingError", "Unreachable", "__version__", "create_app"}
    assert set(sora_mock.__all__) == names
    assert len(sora_mock.__all__) == len(names) <= len(set(dir(sora_mock)))
    assert all(getattr(sora_mock, name) is not None for name in names)
    table = (ROOT / "docs" / "library.md").read_text().partition("\n## ")[0]
    documented = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(documented))) == names


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sora_mock' has no attribute 'Mock'"):
        _ = sora_mock.Mock


def test_the_import_brings_in_nothing_but_the_version() -> None:
    code = "import sys, sora_mock; print(*sorted(name for name in sys.modules if name.startswith('sora_mock')))"
    assert python(code) == "sora_mock sora_mock.version"


GOOD = """
from typing import assert_type
from sora_mock import Account, MockServer, Options, create_app

options: Options = {"credits": "unlimited", "generation_time": (60, 180)}
with MockServer(**options) as mock:
    assert_type(mock.url, str)
    account = mock.account()
    assert_type(account, Account)
    assert_type(account.credits, float)
    account.credits = "unlimited"
    assert_type(account.deliveries()[0]["attempts"][0]["status"], int | None)
    assert_type(account.inbox("a").wait()[0]["body"], str)
app = create_app(frozen_clock=True)
"""
BAD = """
from sora_mock import MockServer, create_app

MockServer(creditz=1)
MockServer(rate_limit=60)
MockServer().account().credits = "many"
create_app(port="4010")
MockServer().account().task("a").finish("done")
"""


def test_mypy_in_strict_mode_sees_types_and_mistakes(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "good.py", "bad.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    found = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    kinds = ["call-arg", "arg-type", "assignment", "arg-type", "arg-type"]
    assert found == [("bad", str(line), kind) for line, kind in enumerate(kinds, 4)], done.stdout


# options


def test_options_are_the_keys_of_the_settings_file() -> None:
    assert set(get_type_hints(Options)) == {setting.option for setting in SETTINGS}


def test_options_are_read_as_the_settings_file_is() -> None:
    settings = MockServer(
        generation_time=(60, 180),
        credits=5.76,
        rate_limit="2/hour",
        callback_route={"https://hooks.example.com": "http://127.0.0.1:9000"},
        allow_callback=("http://127.0.0.1:9000",),
        no_mock_headers=True,
        keys=("sk-a",),
        prices={10: 1.5},
        service={"queue_share": 0.5},
        scenarios={"flaky": {"extends": "failed"}},
        moderation={"strict": True, "rules": [{"prompt": "dog", "type": "policy", "stage": "input"}]},
    ).settings
    assert (settings.port, settings.generation_time, settings.credits) == (0, (60.0, 180.0), 57_600)
    assert settings.rate_limit is not None
    assert settings.rate_limit.text == "2/hour"
    assert settings.callback_route == {"https://hooks.example.com": "http://127.0.0.1:9000"}
    assert (settings.allow_callback, settings.mock_headers) == (("http://127.0.0.1:9000",), False)
    assert (settings.keys, settings.prices) == (("sk-a",), {10: 15_000})
    assert (settings.behaviour.queue_share, settings.strict_moderation) == (0.5, True)
    assert (len(settings.moderation_rules), list(settings.scenarios)) == (1, ["flaky"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"creditz": 1}, "unknown setting creditz; did you mean credits?"),
        ({"credits": -1}, "bad value -1 for credits: credits must be between 0 and 100000000000"),
        ({"port": 65536}, "bad value 65536 for port: expected a whole number from 0 to 65535"),
        ({"keys": "sk-a"}, "bad value for keys: expected a list of keys that begin with sk-"),
        ({"prices": {5: 1}}, "bad value for prices: unknown duration 5; known are 10 and 15"),
        ({"scenarios": {1: {}}}, "bad value for scenarios: 1: expected a table such as [scenarios.1]"),
        ({"scenario": "fail"}, "unknown scenario 'fail'; did you mean failed?"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_by_name(options: Any, said: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(said)}"):
        create_app(**options)
    with pytest.raises(SettingError, match=f"^{re.escape(said)}"):
        MockServer(**options).start()


@pytest.mark.parametrize("name", sorted(get_type_hints(Options)))
@pytest.mark.parametrize("value", [None, object, b"x", [None], {"x": None}, (1, 2, 3), float("nan")], ids=repr)
def test_nonsense_is_a_setting_error_for_every_option(name: str, value: Any) -> None:
    options: Any = {name: value}
    with pytest.raises(SettingError, match=f"(?i)(bad value|unknown).*{name.partition('_')[0]}"):
        create_app(**options)


# a server in a thread


def test_a_server_can_be_started_stopped_and_started_again() -> None:
    mock = MockServer()
    mock.stop()
    urls = set()
    for _ in range(2):
        assert mock.start() is mock
        urls.add(mock.url)
        assert wait(mock.url, 5)
        with pytest.raises(RuntimeError, match="started already"):
            mock.start()
        mock.stop()
        assert not wait(mock.url, 0.1)
    mock.stop()


def test_accounts_of_a_server_are_apart_and_carry_its_token() -> None:
    with MockServer(control_token="secret") as mock:
        one, other = mock.account(), mock.account()
        one.credits = 5
        assert (one.credits, other.credits) == (5, 1000)
        assert mock.account(one.api_key).credits == 5
        with pytest.raises(Refused, match="X-Mock-Token is missing or wrong"):
            Account(mock.url, one.api_key).reset()


def test_a_port_in_use_is_said_in_the_callers_thread() -> None:
    with MockServer() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(
            SettingError, match=f"cannot listen on --host 127.0.0.1 port {port}: Address already in use"
        ):
            with MockServer(port=port):
                raise AssertionError


NO_FILES = """
import os, resource
from sora_mock import MockServer
with MockServer(): pass  # so that everything is imported
free = os.open(os.devnull, os.O_RDONLY)
os.close(free)
mock = MockServer()
# one file is left: the thread gets its socket and no event loop
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, free + 1))
try:
    mock.start()
except OSError as problem:
    print("raised:", problem.strerror)
"""


def test_what_the_thread_raises_is_raised_where_it_was_started() -> None:
    assert "raised: Too many open files" in python(NO_FILES)


def test_the_log_of_the_users_own_servers_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "uvicorn.access")]
    handler = logging.NullHandler()
    loggers[1].addHandler(handler)
    before = [(logger.level, logger.propagate, logger.handlers[:], logger.filters[:]) for logger in loggers]
    with caplog.at_level(logging.DEBUG), MockServer() as mock:
        httpx.get(mock.url + "/v1/credits")
        loggers[0].error("of another server")
    after = [(logger.level, logger.propagate, logger.handlers[:], logger.filters[:]) for logger in loggers]
    loggers[1].removeHandler(handler)
    assert after == before
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == ["of another server"]


@pytest.mark.parametrize("wrong", [{"credits": 3}, None.__class__])
def test_what_is_no_settings_is_said_so(wrong: Any) -> None:
    with pytest.raises(SettingError, match="expected options by name, as in credits=20, got "):
        MockServer(wrong)


def test_a_server_may_run_the_lifespan_of_the_application() -> None:
    sent: list[str] = []

    async def story() -> None:
        received = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            return next(received)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await create_app()({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    asyncio.run(story())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_websocket_is_closed() -> None:
    async def story() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError

        await create_app()({"type": "websocket", "path": "/v1/credits"}, receive, send)
        return sent

    assert asyncio.run(story()) == [{"type": "websocket.close", "code": 1000, "reason": ""}]


def test_an_account_before_the_start_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="the server has not been started"):
        MockServer().account()


def test_an_account_of_a_server_with_listed_keys_says_which_are_accepted() -> None:
    with MockServer(keys=["sk-one"]) as mock:
        assert mock.account("sk-one").credits == 1000
        with pytest.raises(Refused, match="the key must be one of those in the setting `keys`"):
            mock.account().reset()


def test_a_deadline_that_is_missed_is_a_timeout() -> None:
    mock = MockServer().start()
    with httpx.Client(headers={**BOUND, "X-Mock-Scenario": "slow_body"}) as client:
        # an open request gets a second of grace
        with client.stream("POST", mock.url + "/v1/videos/generations", json=ORDER):
            mock.deadline = 0.01
            with pytest.raises(TimeoutError, match=r"the server did not end within 0\.01 s"):
                mock.stop()
            mock.deadline = 10
            mock.stop()


# the application in process


def in_process(**options: Any) -> httpx.AsyncClient:
    """A client of an application of its own, without a port and without a lifespan."""
    transport = httpx.ASGITransport(app=create_app(seed=1, **options))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=BOUND)


async def new_task(client: httpx.AsyncClient, **fields: Any) -> str:
    response = await client.post("/v1/videos/generations", json={**ORDER, **fields})
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def test_a_task_its_video_and_the_control_api_work_in_process() -> None:
    async def story() -> None:
        async with in_process(frozen_clock=True) as client:
            task_id = await new_task(client)
            moved = await client.post("/__mock/clock/advance", json={"seconds": 5})
            assert moved.json()["frozen"]
            done = (await client.get(f"/v1/tasks/{task_id}")).json()
            video = await client.get(done["results"][0])
            assert video.content[4:8] == b"ftyp"
            assert (await client.get("/__mock/account")).json()["used_credits"] == 5.76
            assert len((await client.get("/__mock/requests")).json()["requests"]) == 3

    asyncio.run(story())


@pytest.mark.parametrize("frozen", [True, False])
def test_callbacks_reach_the_inbox_in_process(frozen: bool) -> None:
    async def story() -> None:
        async with in_process(frozen_clock=frozen, generation_time=0.02) as client:
            task_id = await new_task(client, callback_url=INBOX)
            if frozen:
                await client.post("/__mock/clock/advance", json={"seconds": 1})
            inbox = (await client.get("/__mock/inbox/hook?wait=10")).json()
            assert [message["json"]["id"] for message in inbox["messages"]] == [task_id]

    asyncio.run(story())


@pytest.mark.parametrize("scenario", ["connection_reset", "response_lost"])
def test_a_reset_connection_raises_in_process(scenario: str) -> None:
    async def story() -> None:
        async with in_process() as client:
            with pytest.raises(ConnectionResetError):
                await client.post("/v1/videos/generations", json=ORDER, headers={"X-Mock-Scenario": scenario})
            created = len((await client.get("/__mock/tasks")).json()["tasks"])
            assert created == (scenario == "response_lost")

    asyncio.run(story())


def test_two_applications_have_nothing_in_common() -> None:
    async def story() -> None:
        async with in_process() as one, in_process() as other:
            await new_task(one)
            assert (await other.get("/__mock/tasks")).json() == {"tasks": []}

    asyncio.run(story())
