"""`sora-mock verify`: what it prints and writes, what it exits with, and that bad input sends nothing."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sora_mock.app import create_app
from sora_mock.server import MockServer
from sora_mock.verify.terminal import CLEAR
from tests.contract.faults.responses import Faulty, Response, status
from tests.guard.live import environment, posing_app
from tests.verify.running import verify


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with MockServer(port=0, seed=1) as server:
        yield server.url


def test_no_key_for_the_live_service_is_2_and_names_the_variable() -> None:
    with posing_app() as (address, front):
        code, _, err = verify(address, "--live", key="")
        assert (code, front.spent) == (2, 0)
    assert "EVOLINK_API_KEY is not set" in err


def test_a_target_that_is_down_is_5() -> None:
    code, _, err = verify("http://127.0.0.1:1")
    assert code == 5
    assert "does not respond" in err


@pytest.mark.parametrize("address", ["", "localhost", "ftp://x", "http://a:b", "http://u:p@x"])
def test_an_address_that_is_no_url_is_2(address: str) -> None:
    code, _, err = verify(address)
    assert code == 2
    assert err.startswith("sora-mock verify: expected a URL such as")


@pytest.mark.parametrize("flags", [("--only", "no.such.rule"), ("--", "-k", "no_such_test")])
def test_a_choice_that_selects_no_rule_is_2(url: str, flags: tuple[str, ...]) -> None:
    code, _, err = verify(url, *flags)
    assert code == 2
    assert "sora-mock verify: no rule" in err


@pytest.mark.parametrize("only", ["nosuch.*", "auth.*?nothing"])
def test_a_pattern_that_selects_no_rule_is_2_with_workers_too(url: str, only: str) -> None:
    code, out, err = verify(url, "--only", only)
    assert (code, err.count("no rule")) == (2, 1), out


def test_a_pattern_that_selects_only_generated_requests_runs_them(url: str) -> None:
    code, out, err = verify(url, "--only", "generated.c*", "--skip", "generated.create.*", "--max-examples", "1")
    assert code == 0, out + err
    assert re.search("^generated +1 passed", out, re.MULTILINE)


def test_a_wrong_expression_for_pytest_is_2(url: str) -> None:
    code, _, err = verify(url, "--", "-k", "money and (")
    assert code == 2
    assert "Traceback" not in err


def test_pytest_selects_by_ids_too(url: str) -> None:
    code, out, _ = verify(url, "--", "-k", "auth.key.works")
    assert code == 0
    assert "1 passed" in out


def test_what_a_project_sets_for_its_own_tests_is_ignored(url: str) -> None:
    code, out, err = verify(url, "--only", "auth.key.works", PYTEST_ADDOPTS="--nosuch", PYTEST_PLUGINS="nosuch")
    assert code == 0, out + err


def test_a_mock_that_does_not_let_the_suite_in_is_2() -> None:
    with MockServer(port=0, keys=("sk-only",)) as server:
        code, _, err = verify(server.url)
    assert code == 2
    assert "does not let the suite use its control API" in err


def test_files_that_cannot_be_written_are_2_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with posing_app() as (address, front):
        seen: list[str] = []
        front.before = lambda scope: seen.append(scope["path"])
        for kind, place in (("junit", "no/such/report"), ("json", "folder"), ("html", "folder"), ("evidence", "no/x")):
            code, _, err = verify(address, "--max-credits", "6", f"--{kind}", str(tmp_path / place))
            assert code == 2, kind
            assert "cannot write" in err, kind
        assert seen == []


@pytest.mark.parametrize(
    ("flag", "value"), [("--max-credits", "nan"), ("--max-credits", "-1"), ("--max-examples", "0")]
)
def test_a_value_that_makes_no_sense_is_2_and_says_what_would(flag: str, value: str) -> None:
    code, _, err = verify("http://127.0.0.1:1", flag, value)
    assert code == 2
    assert f"got '{value}'" in err


def test_a_budget_for_rejections_above_the_whole_is_2() -> None:
    with posing_app() as (address, front):
        code, _, err = verify(address, "--live", "--max-credits", "6", "--surprise-credits", "7")
        assert (code, front.spent) == (2, 0)
    assert "part of --max-credits" in err


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {"mock": {"date": "x"}}}'])
def test_a_broken_evidence_file_is_2_and_stays(url: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(text)
    code, _, err = verify(url, "--only", "auth.*", "--evidence", str(file))
    assert (code, file.read_text(), len(err.splitlines())) == (2, text, 1)


def test_arguments_of_pytest_are_passed_on_and_a_wrong_one_is_2(url: str) -> None:
    code, out, _ = verify(url, "--", "-k", "right_key", "-vv")
    assert code == 0
    assert "test_the_right_key_is_accepted" in out
    code, _, err = verify(url, "--", "--no-such-flag")
    assert code == 2
    assert "--no-such-flag" in err


def test_a_response_cannot_control_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(response: Response) -> None:
        response.status, response.body = 200, b"\x1b]0;pwned\x07\x1b[31mred\r\n::error::injected"
        response.headers["content-length"] = str(len(response.body))

    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), hostile))
    with MockServer(port=0, seed=1) as server:
        code, out, err = verify(server.url, "--only", "auth.create.*")
    assert code == 1
    assert "pwned" in out
    assert not {each for each in out + err if not each.isprintable()} - {"\n"}
    assert not any(line.startswith("::") for line in out.splitlines())


def test_each_report_is_written_by_itself_and_one_that_cannot_be_is_named(url: str, tmp_path: Path) -> None:
    file = tmp_path / "ok.json"
    code, _, err = verify(url, "--only", "auth.create.*", "--html", "/dev/full", "--json", str(file))
    assert code == 2
    assert json.loads(file.read_text())["counts"]["failed"] == 0
    assert "cannot write /dev/full" in err


def test_the_list_shows_every_rule_and_sends_nothing() -> None:
    code, out, err = verify("--list")
    assert (code, err) == (0, "")
    ids = [line.split()[0] for line in out.splitlines()]
    assert len(ids) == len(set(ids)) >= 416
    assert {"auth.create.none", "generated.link", "callback.timeout"} <= set(ids)


def test_evidence_is_kept_per_target(url: str, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_text('{"auth.create.none": {"live": {"date": "2025-01-02", "outcome": "passed"}}}')
    code, out, err = verify(url, "--only", "auth.create.*", "--evidence", str(file))
    assert code == 0, out + err
    kept = json.loads(file.read_text())
    assert kept["auth.create.none"]["live"] == {"date": "2025-01-02", "outcome": "passed"}
    assert kept["auth.create.none"]["mock"]["outcome"] == "passed"
    assert len(kept) == 7


class Page(HTMLParser):
    """Counts rows, and finds what would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.open, self.loads = list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("class") == "rule":
            self.rows.append(found["data-outcome"] or "")
        self.loads += [found[name] or "" for name in ("src", "href") if name in found]
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_reports_of_a_failure_are_well_formed_and_hold_what_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sora_mock.server.create_app", lambda settings: Faulty(create_app(settings), status(401, 403)))
    files = {kind: tmp_path / f"report.{kind}" for kind in ("junit", "json", "html")}
    flags = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    summary = tmp_path / "summary.md"
    with MockServer(port=0, seed=1) as server:
        code, out, err = verify(
            server.url, "--only", "auth.*", "--skip", "auth.query.*", *flags, GITHUB_STEP_SUMMARY=str(summary)
        )
    assert code == 1
    assert "--only 'auth.create.wrong'" in out
    assert "authorization: Bearer ***" in out
    cases = ElementTree.parse(files["junit"]).getroot()
    assert len(cases.findall(".//testcase/failure")) > 5
    report = json.loads(files["json"].read_text())
    broken = next(rule for rule in report["rules"] if rule["id"] == "auth.create.wrong")
    assert broken["outcome"] == "failed"
    assert "< 403" in broken["details"]
    page = Page()
    page.feed(files["html"].read_text())
    assert (len(page.rows), page.open, page.loads) == (len(report["rules"]), [], [])
    # failures first
    assert page.rows == sorted(page.rows)
    assert "auth.create.wrong" in summary.read_text()
    everything = out + err + "".join(path.read_text() for path in tmp_path.iterdir())
    assert "sk-verify-" not in everything


def on_a_screen(url: str) -> str:
    """What a person would see: both streams go to one pseudo terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "sora_mock", "verify", url, "--only", "auth.*"]
    with subprocess.Popen(command, stdout=child, stderr=child, env=environment()) as process:
        os.close(child)
        seen = b""
        try:
            while part := os.read(parent, 65536):
                seen += part
        except OSError:
            # the pseudo terminal closes with its last user
            pass
        finally:
            os.close(parent)
        assert process.wait(60) == 0
    return seen.decode()


def test_a_screen_shows_a_bar_until_the_end_and_a_line_for_each_area(url: str) -> None:
    seen = on_a_screen(url)
    total = int(re.findall(r"of (\d+)", seen)[-1])
    assert f"[{'#' * 24}] {total} of {total}" in seen
    # only the text after the last clearing of each line stays visible
    lines = [line.rpartition(CLEAR)[2].rstrip("\r") for line in seen.split("\n")]
    assert [line for line in lines if re.fullmatch(rf"auth +{total} passed +[0-9.]+ s", line)]


def test_a_pipe_gets_no_bar(url: str) -> None:
    code, out, err = verify(url, "--only", "auth.create.*")
    assert (code, err) == (0, "")
    assert "\r" not in out
    assert re.search("^auth +7 passed +[0-9.]+ s$", out, re.MULTILINE)
