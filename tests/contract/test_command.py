"""`sora-mock verify`: what it prints and writes, what it exits with, and that it spends nothing it may not."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sora_mock.app import create_app
from sora_mock.cli import commands as cli
from sora_mock.server import MockServer
from sora_mock.verify import live, report, runner
from tests.contract.faults.responses import Faulty, Response, status

KEY = "sk-the-live-key"


class Behind:
    """A mock that poses as the live service: no control API, and the placeholder is exchanged for the key."""

    def __init__(self, app: Any) -> None:
        self.app, self.state = app, app.state
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = dict(scope)
        if scope["path"].startswith("/__mock"):
            scope["path"] = "/hidden"
        authorization = (b"authorization", b"Bearer contract-live")
        if authorization in scope["headers"]:
            kept = [each for each in scope["headers"] if each != authorization]
            scope["headers"] = [*kept, (b"authorization", f"Bearer {KEY}".encode())]

        async def seen() -> Any:
            message = await receive()
            self.bodies.append(message.get("body", b""))
            return message

        await self.app(scope, seen, send)


@pytest.fixture
def posing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The URL of such a mock and the mock; the guard is left out, so that the suite alone watches the money."""
    apps: list[Behind] = []

    def make(settings: Any) -> Behind:
        apps.append(Behind(create_app(settings)))
        return apps[0]

    @contextmanager
    def unguarded(arguments: Sequence[str]) -> Iterator[str]:
        yield arguments[arguments.index("--target") + 1]

    monkeypatch.setattr("sora_mock.server.create_app", make)
    monkeypatch.setattr(live, "guarded", unguarded)
    monkeypatch.setattr("sora_mock.verify.target.Target.wait", lambda target, seconds: None)
    monkeypatch.setenv("EVOLINK_API_KEY", KEY)
    with MockServer(port=0, seed=1, generation_time=(0.0, 0.0)) as server:
        yield server.url, apps[0]


def tasks(front: Any) -> int:
    return len(front.state.service.storage.tasks)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with MockServer(port=0, seed=1) as server:
        yield server.url


def test_without_a_budget_no_body_is_sent_in_which_an_order_could_be_found(posing: tuple[str, Any]) -> None:
    address, front = posing
    assert cli.main(["verify", address]) == 0
    sent = {body for body in front.bodies if body}
    assert len(sent) >= 5
    for body in sent:
        try:
            assert not isinstance(json.loads(body), (dict, list))
        except ValueError:
            assert b"prompt" not in body


def test_without_a_budget_no_task_is_made_and_what_was_not_checked_is_not_green(
    posing: tuple[str, Any], tmp_path: Path
) -> None:
    address, front = posing
    file = tmp_path / "report.json"
    assert cli.main(["verify", address, "--json", str(file)]) == 0
    assert tasks(front) == 0
    report = json.loads(file.read_text())
    assert report["target"] == "live"
    outcomes = {rule["id"]: rule for rule in report["rules"]}
    assert report["counts"]["passed"] > 20
    assert all(rule["outcome"] == "unverified" and rule["reason"] for rule in report["rules"] if rule["price"])
    assert outcomes["create.duration.11"]["outcome"] == "unverified"
    assert outcomes["callback.url.refuses.http"]["outcome"] == "unverified"


@pytest.mark.parametrize(("budget", "most"), [(5.75, 0), (6, 1), (12, 2), (50, 8)])
def test_create_requests_never_cost_more_than_the_budget(posing: tuple[str, Any], budget: float, most: int) -> None:
    address, front = posing
    code = cli.main(["verify", address, "--max-credits", str(budget)])
    assert code == (4 if most == 0 else 0)
    assert tasks(front) <= most
    assert (tasks(front) > 0) == (most > 0)
    assert sum(task.price for task in front.state.service.storage.tasks.values()) <= budget * 10_000


def test_a_budget_that_cannot_buy_what_only_names_is_4(posing: tuple[str, Any]) -> None:
    address, front = posing
    assert cli.main(["verify", address, "--only", "creation.id"]) == 4
    assert tasks(front) == 0


def test_no_key_for_the_live_service_is_2(posing: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLINK_API_KEY")
    assert cli.main(["verify", posing[0]]) == 2


def test_a_target_that_is_down_is_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "http://127.0.0.1:1"]) == 5
    assert "does not respond" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["", "localhost", "ftp://x", "http://", "http://a:b", "http://u:p@x"])
def test_what_is_no_url_is_2(address: str) -> None:
    assert cli.main(["verify", address]) == 2


def test_a_pattern_that_fits_nothing_is_2(url: str) -> None:
    assert cli.main(["verify", url, "--only", "no.such.rule"]) == 2


def test_a_mock_that_does_not_let_the_suite_in_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    with MockServer(port=0, keys=("sk-only",)) as server:
        assert cli.main(["verify", server.url]) == 2
    assert "does not let the suite use its control API" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["junit", "json", "html", "evidence"])
@pytest.mark.parametrize("place", ["no/such/report", "folder"])
def test_a_file_that_cannot_be_written_is_2_before_anything_is_sent(
    posing: tuple[str, Any], tmp_path: Path, kind: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address, front = posing
    (tmp_path / "folder").mkdir()
    assert cli.main(["verify", address, "--max-credits", "6", f"--{kind}", str(tmp_path / place)]) == 2
    assert front.bodies == []
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"), [("--max-credits", "nan"), ("--max-credits", "-1"), ("--max-examples", "0")]
)
def test_a_value_that_makes_no_sense_is_2_and_says_what_would(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", "http://127.0.0.1:1", flag, value]) == 2
    assert f"got '{value}'" in capsys.readouterr().err


def test_a_response_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(response: Response) -> None:
        response.status, response.body = 200, b"\x1b]0;pwned\x07\x1b[31mred\r\n::error::injected"
        response.headers["content-length"] = str(len(response.body))

    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), hostile))
    with MockServer(port=0, seed=1) as server:
        assert cli.main(["verify", server.url, "--only", "auth.*"]) == 1
    printed = capsys.readouterr().out
    assert "pwned" in printed
    assert not {each for each in printed if not each.isprintable()} - {"\n"}
    assert not any(line.startswith("::") for line in printed.splitlines())


def test_a_budget_for_rejections_above_the_whole_is_2(posing: tuple[str, Any]) -> None:
    assert cli.main(["verify", posing[0], "--max-credits", "6", "--surprise-credits", "7"]) == 2


def test_a_broken_evidence_file_is_2_and_stays(url: str, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"a": 1}', '{"a": {"mock": {"date": "x"}}}'):
        file = tmp_path / "evidence.json"
        file.write_text(text)
        assert cli.main(["verify", url, "--only", "auth.*", "--evidence", str(file)]) == 2
        assert file.read_text() == text


def test_each_report_is_written_by_itself_and_one_that_cannot_be_is_named(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ok.json"
    flags = ["--only", "auth.create.*", "--junit", "/dev/full", "--json", str(file), "--html", "/dev/full"]
    assert cli.main(["verify", url, *flags]) == 2
    assert json.loads(file.read_text())["counts"]["failed"] == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": cannot write ")[2].split(":")[0] for line in lines if "cannot" in line] == [
        "/dev/full"
    ] * 2


def test_what_an_evidence_file_says_is_no_html() -> None:
    rules = runner.load_rules()[:1]
    known = {rules[0].id: {"live": {"date": "<script>", "outcome": "passed"}}}
    results = [runner.CheckResult(rules[0], runner.PASSED)]
    assert "<script>" not in report.as_html(report.Report("http://x", "mock", 0, "verify", results, known))


def test_the_command_that_repeats_a_rule_can_pay_for_it(posing: tuple[str, Any], tmp_path: Path) -> None:
    address, _ = posing
    file = tmp_path / "report.json"
    only = ["create.duration.15", "create.duration.11", "auth.query.none"]
    flags = [part for each in only for part in ("--only", each)]
    assert cli.main(["verify", address, *flags, "--max-credits", "50", "--json", str(file)]) == 0
    commands = [rule["repeat"] for rule in json.loads(file.read_text())["rules"]]
    assert len(commands) == 3
    for command in commands:
        assert cli.main([*shlex.split(command)[1:], "--json", str(file)]) == 0
        assert json.loads(file.read_text())["counts"]["passed"] == 1


def test_the_list_shows_every_rule_and_sends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--list"]) == 0
    assert "auth.create.none" in capsys.readouterr().out


def test_evidence_is_kept_per_target(url: str, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_text('{"auth.create.none": {"live": {"date": "2025-01-02", "outcome": "passed"}}}')
    assert cli.main(["verify", url, "--only", "auth.create.*", "--evidence", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert kept["auth.create.none"]["live"] == {"date": "2025-01-02", "outcome": "passed"}
    assert kept["auth.create.none"]["mock"]["outcome"] == "passed"
    assert len(kept) == sum(rule.id.startswith("auth.create.") for rule in runner.load_rules())


class Page(HTMLParser):
    """Counts rows, and finds what would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.open, self.loads = 0, list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_reports_of_a_failure_are_well_formed_and_hold_what_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), status(401, 403)))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    files = {kind: tmp_path / f"report.{kind}" for kind in ("junit", "json", "html")}
    flags = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    with MockServer(port=0, seed=1) as server:
        assert cli.main(["verify", server.url, "--only", "auth.*", "--skip", "auth.query.*", *flags]) == 1
    printed = capsys.readouterr().out
    assert "--only 'auth.create.wrong'" in printed
    assert "Bearer ***" in printed
    suite = ElementTree.parse(files["junit"]).getroot()
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 5
    report = json.loads(files["json"].read_text())
    broken = next(rule for rule in report["rules"] if rule["id"] == "auth.create.wrong")
    assert broken["outcome"] == "failed"
    assert broken["exchanges"][-1]["reply"].startswith("403")
    page = Page()
    page.feed(files["html"].read_text())
    assert (page.rows, page.open, page.loads) == (len(report["rules"]) + 1, [], [])
    assert "auth.create.wrong" in (tmp_path / "summary.md").read_text()
    everything = printed + "".join(path.read_text() for path in tmp_path.iterdir())
    assert "wrong-key-of" not in everything
    assert "sk-verify-" not in everything
