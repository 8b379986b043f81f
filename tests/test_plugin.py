"""The pytest plugin in the suites of other projects: each test here runs pytest in a process of its own."""

import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sora_mock.client.http import wait
from sora_mock.process import ServerProcess, StartError
from sora_mock.server import MockServer
from tests.conftest import ORDER

ALONE = ("-p", "no:schemathesis", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Without plugins that the project of a user would not have, and that take two seconds to load."""

CREATE = f"""
import os, httpx, pytest

def create(account, **fields):
    order = {{**{ORDER!r}, **fields}}
    return httpx.post(account.url + "/v1/videos/generations", headers=account.headers, json=order)
"""


class Suite:
    """A project of a user, in which tests run pytest."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        for name in ("SORA_MOCK_URL", "EVOLINK_BASE_URL", "EVOLINK_API_KEY"):
            monkeypatch.delenv(name, raising=False)

    def write(self, tests: str, ini: str = "", name: str = "test_it.py") -> None:
        (self.folder / name).write_text(CREATE + textwrap.dedent(tests))
        (self.folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n" + textwrap.dedent(ini))

    def command(self, *flags: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-ra", *ALONE, *flags]

    def run(self, *flags: str) -> "Ran":
        done = subprocess.run(
            self.command(*flags), cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        return Ran(done.returncode, done.stdout + done.stderr)


class Ran:
    """An exit code and all that was printed."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text

    @property
    def counts(self) -> str:
        """Such as `1 failed, 2 passed`."""
        return str(re.findall(r"((?:\d+ \w+(?:, )?)+) in [\d.]+s", self.text)[-1])

    def lines(self, part: str) -> list[str]:
        return [line for line in self.text.splitlines() if part in line]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return Suite(tmp_path, monkeypatch)


# the cost for projects that do not use it


def test_the_plugin_imports_nothing_heavy_and_loads_in_under_5_ms() -> None:
    code = """
import sys, pytest, _pytest.pytester, time
before, start = set(sys.modules), time.perf_counter()
import sora_mock.pytest_plugin
print(time.perf_counter() - start, *sorted(set(sys.modules) - before))
"""
    runs = [subprocess.check_output([sys.executable, "-c", code], text=True).split() for _ in range(5)]
    assert all(set(loaded) <= {"sora_mock", "sora_mock.version", "sora_mock.pytest_plugin"} for _, *loaded in runs)
    assert min(float(seconds) for seconds, *_ in runs) < 0.005


def test_a_suite_that_does_not_use_the_fixture_sees_nothing_of_the_plugin(suite: Suite) -> None:
    suite.write("""
        def test_it():
            import sys
            loaded = [name for name in sys.modules if name.split(".")[0] in ("sora_mock", "starlette", "uvicorn")]
            assert sorted(loaded) == ["sora_mock", "sora_mock.pytest_plugin", "sora_mock.version"]
            assert "EVOLINK_BASE_URL" not in os.environ and "SORA_MOCK_URL" not in os.environ
    """)
    ran = suite.run()
    assert ran.counts == "1 passed"
    # the line is one of pytest's own
    assert [line.partition(":")[0] for line in ran.lines("sora-mock")] == ["plugins"]


# one server, an account for each test


def test_tests_use_one_server_and_do_not_see_each_other(suite: Suite) -> None:
    suite.write("""
        urls = set()

        @pytest.mark.parametrize("number", range(3))
        def test_it(sora_mock, number):
            urls.add(sora_mock.url)
            assert (sora_mock.tasks, sora_mock.requests, sora_mock.credits) == ([], [], 1000)
            sora_mock.clock.advance(1000)
            sora_mock.scenario("failed")
            sora_mock.credits = 7
            assert create(sora_mock).headers["X-Mock-Scenario"] == "failed"
            assert len(urls) == 1
    """)
    assert suite.run().counts == "3 passed"


def test_workers_of_xdist_get_along(suite: Suite) -> None:
    suite.write("""
        @pytest.mark.parametrize("number", range(8))
        def test_it(sora_mock, number):
            assert create(sora_mock).status_code == 200
            assert len(sora_mock.tasks) == 1
    """)
    ran = suite.run("-n", "2")
    assert ran.counts == "8 passed"


def test_the_same_test_gets_the_same_key_and_the_same_ids_in_every_run(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            assert sora_mock.headers == {"Authorization": f"Bearer {sora_mock.api_key}"}
            print("random:", sora_mock.api_key, create(sora_mock).json()["id"][-8:])
        def test_other(sora_mock):
            print("random:", sora_mock.api_key, create(sora_mock).json()["id"][-8:])
    """)
    first, again = suite.run("-s").lines("random:"), suite.run("-s").lines("random:")
    assert first == again
    assert len(set(first)) == 2


def test_an_async_test_uses_the_fixture_as_it_is(suite: Suite) -> None:
    suite.write("""
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_it(sora_mock, anyio_backend):
            sora_mock.clock.freeze()
            async with httpx.AsyncClient(base_url=sora_mock.url, headers=sora_mock.headers) as client:
                response = await client.post("/v1/videos/generations", json={"model": "sora-2-beta-max", "prompt": "A"})
                sora_mock.clock.advance(5)
                task = await client.get("/v1/tasks/" + response.json()["id"])
            assert task.json()["status"] == "completed"
    """)
    assert suite.run().counts == "1 passed"


def test_a_test_that_replaces_its_own_clock_does_not_change_that_of_the_server(suite: Suite) -> None:
    suite.write("""
        import time
        def test_it(sora_mock, monkeypatch):
            before = sora_mock.clock.now
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            monkeypatch.setattr(time, "time", lambda: 0.0)
            assert sora_mock.clock.now >= before
    """)
    assert suite.run().counts == "1 passed"


# a failing test


def test_a_failing_test_shows_the_requests_of_its_account_without_keys(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            sora_mock.clock.freeze()
            sora_mock.scenario("failed", match={"prompt": "dog"})
            sora_mock.inbox("hook").reply(500, 204)
            create(sora_mock, callback_url=sora_mock.inbox("hook").url)
            create(sora_mock, prompt=sora_mock.api_key, model="none")
            sora_mock.clock.advance(10)
            assert sora_mock.credits == 0
        def test_other(sora_mock):
            assert False
    """)
    ran = suite.run()
    assert ran.counts == "2 failed"
    assert ran.text.count("- sora-mock journal -") == 2
    wanted = [
        "POST /v1/videos/generations -> 200 [completed]",
        "    not used: queue rule",
        "POST /v1/videos/generations -> 400",
        '"prompt": "sk-***"',
        "callback to https://inbox.sora-mock.test/hook: succeeded, attempts: 500, 204",
        "no request with this account's key came to http://127.0.0.1:",
    ]
    found = [ran.text.find(line) for line in wanted]
    assert -1 not in found
    assert found == sorted(found)
    assert "sk-pytest" not in ran.text


def test_the_journal_reaches_the_report_from_a_worker_too(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            assert create(sora_mock).status_code == 402
    """)
    assert suite.run("-n", "1").lines("POST /v1/videos/generations -> 200 [completed]")


def test_a_request_that_reached_no_endpoint_is_in_the_journal_too(suite: Suite) -> None:
    suite.write("""
        def test_wrong_path(sora_mock):
            httpx.post(sora_mock.url + "/v1/video/generations", headers=sora_mock.headers)
            assert False
        def test_wrong_key(sora_mock):
            httpx.post(sora_mock.url + "/v1/videos/generations", headers={"Authorization": "Bearer test"})
            assert False
    """)
    ran = suite.run()
    assert ran.lines("POST /v1/video/generations -> 404")
    shown = ran.text.splitlines()
    place = shown.index(ran.lines("no request with this account's key came to http://127.0.0.1:")[0])
    assert shown[place].endswith("; the last one there without a valid key:")
    assert shown[place + 1] == "POST /v1/videos/generations -> 401"


def test_what_a_test_sends_cannot_steer_the_terminal_that_shows_its_journal(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            httpx.get(sora_mock.url + "/v1/tasks/%1b[31m%0aforged", headers=sora_mock.headers)
            url = "https://user:secret@example.com/hook"
            create(sora_mock, prompt=chr(0x9b) + chr(0x202e), callback_url=url, duration=11)
            httpx.post(sora_mock.url + "/v1/videos/generations", headers=sora_mock.headers, content=b"\\x1b]0;x\\x07")
            pytest.fail("on purpose", pytrace=False)
    """)
    ran = suite.run()
    journal = ran.text.partition("sora-mock journal")[2]
    assert "GET /v1/tasks/\\x1b[31m forged -> 400" in journal
    assert "https://***@example.com/hook" in journal
    assert "secret" not in ran.text
    assert not re.search("[\x1b\x07\x9b\u202e]", journal)


@pytest.mark.parametrize(
    "closed",
    ['setattr(socket, "socket", refuse)', 'setattr(http.client.HTTPConnection, "connect", refuse)'],
)
def test_a_failing_test_that_closed_the_network_is_reported_like_any_other(suite: Suite, closed: str) -> None:
    suite.write(f"""
        import http.client, socket

        def refuse(*ignored, **more):
            pytest.fail("no network here")

        def test_it(sora_mock, monkeypatch):
            monkeypatch.{closed}
            assert "its own failure" == 0
        def test_after(sora_mock): pass
    """)
    ran = suite.run()
    assert ran.counts == "1 failed, 1 passed"
    assert ran.lines("assert 'its own failure' == 0")
    assert ran.lines("not available: Failed: no network here")


def test_a_failing_test_that_stopped_the_time_is_reported_too(suite: Suite) -> None:
    suite.write("""
        import socket, subprocess, time

        def refuse(*ignored, **more):
            raise OSError("no network here")

        def test_it(sora_mock, monkeypatch):
            # as freezegun does with each name of these functions
            for module, name in ((time, "monotonic"), (subprocess, "_time")):
                monkeypatch.setattr(module, name, lambda: 0.0)
            monkeypatch.setattr(socket, "create_connection", refuse)
            assert "its own failure" == 0
    """)
    ran = suite.run()
    assert ran.counts == "1 failed"
    assert ran.lines("assert 'its own failure' == 0")


def test_junit_files_have_the_journal_of_a_failure_as_a_property(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            assert create(sora_mock).status_code == 402
    """)
    suite.run("--junit-xml", "report.xml")
    [found] = ElementTree.parse(suite.folder / "report.xml").iter("property")
    assert found.get("name") == "sora-mock journal"
    assert str(found.get("value")).startswith("POST /v1/videos/generations -> 200 [completed]")


# the ini file


@pytest.mark.parametrize("place", ["flag", "file", "env"])
def test_the_token_that_its_own_server_wants_is_known(suite: Suite, place: str) -> None:
    tests = """
        def test_it(sora_mock):
            assert create(sora_mock).status_code == 200
            assert httpx.get(sora_mock.url + "/__mock/clock").status_code == 403
    """
    if place == "file":
        (suite.folder / "sora-mock.toml").write_text('control-token = "secret"')
    suite.write(tests, {"flag": "sora_mock_args = --control-token secret"}.get(place, ""))
    if place == "env":
        suite.write(tests, "sora_mock_env = yes\nsora_mock_args = --control-token secret")
        assert suite.run("-n", "2").counts == "1 passed"
    assert suite.run().counts == "1 passed"


def test_flags_that_are_not_texts_are_one_line(suite: Suite) -> None:
    suite.write("def test_it(): pass")
    (suite.folder / "pytest.ini").unlink()
    (suite.folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\nsora_mock_args = ["--credits", 54]')
    ran = suite.run()
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert ran.text.strip().endswith("pyproject.toml: expected a list of texts, got ['--credits', 54]")


def test_flags_of_the_ini_file_reach_the_server(suite: Suite) -> None:
    suite.write(
        """
        def test_it(sora_mock):
            assert sora_mock.credits == 3
            assert sora_mock.clock.frozen
            assert create(sora_mock).status_code == 402
        """,
        "sora_mock_args = --credits 3 --frozen-clock",
    )
    assert suite.run().counts == "1 passed"


def test_the_settings_file_of_the_project_is_read(suite: Suite) -> None:
    (suite.folder / "sora-mock.toml").write_text("credits = 11\nport = 1\n")
    # what lies beside it does not get into the server
    (suite.folder / "msgspec.py").write_text("raise ImportError")
    suite.write("""
        def test_it(sora_mock):
            assert sora_mock.credits == 11
    """)
    assert suite.run().counts == "1 passed"


def test_variables_of_sdks_are_set_for_the_session_if_the_ini_file_says_so(suite: Suite) -> None:
    suite.write(
        """
        NAMES = "SORA_MOCK_URL", "EVOLINK_BASE_URL", "TEST_API_BASE_URL"
        AT_IMPORT = {os.environ[name] for name in NAMES}
        KEY = os.environ["EVOLINK_API_KEY"]

        @pytest.mark.parametrize("number", range(4))
        def test_with_an_account(sora_mock, number):
            assert AT_IMPORT == {sora_mock.url}
            assert os.environ["EVOLINK_API_KEY"] == sora_mock.api_key != KEY

        def test_without_one():
            assert os.environ["EVOLINK_API_KEY"] == KEY
            headers = {"Authorization": f"Bearer {KEY}"}
            assert httpx.get(os.environ["EVOLINK_BASE_URL"] + "/v1/credits", headers=headers).status_code == 200
        """,
        "sora_mock_env = yes",
    )
    assert suite.run().counts == "5 passed"
    assert suite.run("-n", "2").counts == "5 passed"


@pytest.mark.parametrize("flags", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    ("ini", "said"),
    [
        ("sora_mock_env = perhaps", "sora_mock_env in .*pytest.ini: invalid truth value 'perhaps'"),
        ("sora_mock_args = --credits '3", "sora_mock_args in .*pytest.ini: No closing quotation"),
        ("sora_mock_env = yes\nsora_mock_args = --credits x", "sora-mock: the server did not start: .*--credits.*"),
    ],
)
def test_a_wrong_value_in_the_ini_file_is_one_line(suite: Suite, ini: str, said: str, flags: tuple[str, ...]) -> None:
    suite.write("def test_it(): pass", ini)
    ran = suite.run(*flags)
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert re.fullmatch(f"ERROR: {said}", ran.text.strip())


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--credits=-1", "bad value '-1' for --credits: credits must be between 0 and 100000000000"),
        ("--creditz=1", "unknown flag --creditz; did you mean --credits?"),
        ("--port=PORT", "cannot listen on --host 127.0.0.1 port PORT: Address already in use"),
    ],
)
def test_a_server_that_does_not_start_is_one_line_for_each_test_that_needs_it(
    suite: Suite, flag: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        suite.write(
            """
            def test_it(sora_mock): pass
            def test_other(sora_mock): pass
            def test_without(): pass
            """,
            f"sora_mock_args = {flag}".replace("PORT", port),
        )
        ran = suite.run()
    assert ran.counts == "1 passed, 2 errors"
    assert ran.text.splitlines().count(f"sora-mock: the server did not start: {said}".replace("PORT", port)) == 2
    assert not re.search("Traceback|another exception", ran.text)


# a server that runs already


def test_a_running_server_is_used_and_its_accounts_begin_anew(suite: Suite, server: MockServer) -> None:
    suite.monkeypatch.setenv("SORA_MOCK_URL", server.url + "/")
    suite.write(
        f"""
        def test_it(sora_mock, sora_mock_url):
            assert sora_mock.url == sora_mock_url == "{server.url}"
            assert create(sora_mock).status_code == 200
            assert len(sora_mock.tasks) == 1
        """,
        "sora_mock_args = --credits 1",
    )
    for _ in range(2):
        ran = suite.run()
        assert ran.counts == "1 passed"
        assert ran.lines(f"sora-mock: using {server.url}/ (SORA_MOCK_URL), sora_mock_args are not applied")


def test_the_token_of_the_environment_is_sent(suite: Suite) -> None:
    suite.write("def test_it(sora_mock): create(sora_mock)")
    with MockServer(control_token="secret") as server:
        suite.monkeypatch.setenv("SORA_MOCK_URL", server.url)
        refused = suite.run()
        suite.monkeypatch.setenv("SORA_MOCK_CONTROL_TOKEN", "secret")
        assert suite.run().counts == "1 passed"
    assert refused.counts == "1 error"
    assert refused.lines("rejects the account of this test: X-Mock-Token is missing or wrong")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:PORT", "sora-mock: no mock responds at SORA_MOCK_URL http://127.0.0.1:PORT within 5 s"),
        ("http://127.0.0.1:PORT/v1", "sora-mock: SORA_MOCK_URL: expected a URL such as http://127.0.0.1:4010, got"),
        ("ftp://api", "sora-mock: SORA_MOCK_URL: expected a URL such as http://127.0.0.1:4010, got 'ftp://api'"),
    ],
)
def test_a_url_where_no_mock_is_is_one_line_and_no_hang(suite: Suite, url: str, said: str) -> None:
    # it accepts connections and never responds
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        suite.monkeypatch.setenv("SORA_MOCK_URL", url.replace("PORT", port))
        suite.write("""
            def test_it(sora_mock): pass
            def test_other(sora_mock): pass
        """)
        ran = suite.run()
    assert ran.counts == "2 errors"
    assert said.replace("PORT", port) in ran.text
    assert not re.search("Traceback|another exception", ran.text)


# the end of the server


def test_a_server_that_dies_is_one_line_for_each_test_after_it(suite: Suite) -> None:
    suite.write("""
        from sora_mock.pytest_plugin import SESSION

        def test_it(sora_mock, pytestconfig):
            process = pytestconfig.stash[SESSION].process.process
            process.kill()
            process.wait()
            sora_mock.clock.freeze()
        def test_after(sora_mock): pass
        def test_without(): pass
    """)
    ran = suite.run()
    assert ran.counts == "1 failed, 1 passed, 1 error"
    # the journal of the one, the reason of the other
    url = r"http://127\.0\.0\.1:\d+"
    assert len(re.findall(f"^the server at {url} was killed by signal 9$", ran.text, re.MULTILINE)) == 1
    assert len(re.findall(f"^sora-mock: the server at {url} was killed by signal 9$", ran.text, re.MULTILINE)) == 1
    assert "another exception" not in ran.text


def test_fate_waits_for_a_server_that_is_about_to_end(tmp_path: Path) -> None:
    server = ServerProcess([], tmp_path)
    assert server.fate() is None
    server.process.terminate()
    assert server.fate(10) == f"the server at {server.url} ended with exit code 0"
    server.stop()


def test_a_server_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"it was not ready within 0\.001 s"):
        ServerProcess([], tmp_path, deadline=0.001)


def ended(connection: socket.socket) -> bool:
    """Whether the other side goes away within its deadline."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("stop", [subprocess.Popen.kill, subprocess.Popen.terminate], ids=["killed", "terminated"])
def test_no_server_outlives_a_session_that_is_killed(
    suite: Suite, stop: Callable[["subprocess.Popen[str]"], None]
) -> None:
    suite.write("""
        def test_it(sora_mock):
            print("\\nat", sora_mock.url, flush=True)
            input()
    """)
    command = suite.command("-s")
    with subprocess.Popen(
        command, cwd=suite.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as session:
        assert session.stdout is not None
        url = next(line for line in session.stdout if line.startswith("at http")).split()[1]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            stop(session)
            assert ended(connection)


def test_a_child_that_was_forked_does_not_keep_the_server_of_a_killed_session(suite: Suite) -> None:
    suite.write("""
        def test_it(sora_mock):
            if os.fork() == 0:
                os.read(0, 1)
                os._exit(0)
            print("\\nat", sora_mock.url, flush=True)
            input()
    """)
    with subprocess.Popen(
        suite.command("-s"), cwd=suite.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        url = next(line for line in session.stdout if line.startswith("at http")).split()[1]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            session.kill()
            assert ended(connection)


def test_the_server_ends_with_the_session(suite: Suite) -> None:
    suite.write('def test_it(sora_mock): print("at", sora_mock.url)')
    url = suite.run("-s").lines("at http")[0].split()[-1]
    assert not wait(url, 0.2)
