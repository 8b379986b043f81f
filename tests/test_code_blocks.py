"""Every code block of the README and of docs/ is executed: shell, Python, settings; what cannot be is named here."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sora_mock.config.loading import load
from sora_mock.server import MockServer
from tests.guard.live import REAL, environment, posing

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])
SHOWN = {"text", "yaml"}
"""Languages of what is printed, or runs on machines that are not here; yaml has to be readable all the same."""

PRELUDE = r"""
set -e -o pipefail
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT

# each status goes to a file: a refusal that the page does not speak of is a fault of the page
curl() { command curl -w '%{stderr}'"sora-status %{http_code}"'\n' "$@" 2> >(tee -a "$STATUSES" >&2); }

# only what a newcomer has done before the tests can run at all
make() { command make -C "$CHECKOUT" --dry-run "$@" > /dev/null; }
pip() { :; }
cd() { :; }
git() { :; }

# servers go on in the background, on free ports, until the page ends
sora-mock() {
  case "${1-}" in
    ""|serve|guard|--[!hv]*) ;;
    *) command sora-mock "$@"; return ;;
  esac
  command sora-mock "${@:-serve}" --port 0 > "ready-${#started[@]}" &
  local file="ready-${#started[@]}"
  started+=($!)
  for _ in $(seq 300); do [ -s "$file" ] && break; sleep 0.1; done
  local url; url=$(grep -o 'http://[0-9.:]*' "$file")
  if [ "${1-}" = guard ]; then GUARD=$url; else API=$url; fi
}
"""


class Block(NamedTuple):
    """A fenced block. line: of the fence in its page."""

    page: Path
    line: int
    language: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])
        for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{block.page.name}:{block.line}") for block in BLOCKS if block.language in languages
    ]


def pages_with(language: str, suite: bool | None = None) -> list[Any]:
    """Pages that have such blocks; suite: whether Python blocks hold tests."""
    chosen = [
        page
        for page in PAGES
        if any(b.language == language and suite in (None, "def test_" in b.code) for b in blocks_of(page))
    ]
    return [pytest.param(page, id=page.name) for page in chosen]


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with posing() as url:
        yield url


def shell(page: Path, service: str) -> str:
    """All shell blocks of a page, the service and the default addresses put in."""
    code = "\n".join(block.code for block in blocks_of(page) if block.language == "sh")
    # only the documented address gets the key without this flag
    code = code.replace("verify https://api.evolink.ai", f"verify {service} --live")
    code = code.replace("https://api.evolink.ai", service).replace("sk-...", REAL)
    code = re.sub(r"^export API=.*$", "", code, flags=re.MULTILINE)
    # a server that the page itself has in the background is left to it
    code = re.sub(r"^sora-mock (.* &)$", r"command sora-mock \1", code, flags=re.MULTILINE)
    return code.replace("http://127.0.0.1:4010", "$API").replace("http://127.0.0.1:4011", "$GUARD")


# those of examples/ are run where the examples are: tests/test_examples.py
@pytest.mark.parametrize("page", [each for each in pages_with("sh") if ROOT / "examples" not in each.values[0].parents])
def test_the_shell_blocks_of_a_page_run_in_order(page: Path, service: str, tmp_path: Path) -> None:
    statuses = tmp_path / "statuses"
    statuses.touch()
    folder = tmp_path / "work"
    folder.mkdir()
    for each in ROOT.iterdir():
        # a page may speak of what a checkout holds
        (folder / each.name).symlink_to(each)
    with MockServer(seed=1) as server:
        variables = {"API": server.url, "KEY": f"Authorization: Bearer sk-page-{page.stem}"}
        variables |= {"STATUSES": str(statuses), "CHECKOUT": str(ROOT), "EVOLINK_API_KEY": REAL}
        variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", PRELUDE + shell(page, service)],
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    refused = {each for each in re.findall(r"sora-status (\d+)", statuses.read_text()) if int(each) >= 400}
    assert {each for each in refused if each not in page.read_text(encoding="utf-8")} == set(), done.stdout[-3000:]


@pytest.mark.parametrize("page", pages_with("python", suite=True))
def test_the_python_blocks_with_tests_are_a_suite_that_passes(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.language == "python"]
    (tmp_path / "test_page.py").write_text("\n".join(block.code for block in blocks))
    command = [sys.executable, "-m", "pytest", "-p", "no:schemathesis", "-p", "no:cacheprovider", "-W", "error"]
    settings = [block.code for block in blocks_of(page) if block.language == "ini"]
    # with the settings of the page the tests are another suite: that the plugin takes them is enough
    for ini, flags in [("[pytest]\n", list[str]()), *((ini, ["--collect-only"]) for ini in settings)]:
        (tmp_path / "pytest.ini").write_text(ini)
        done = subprocess.run(
            [*command, *flags],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", pages_with("python", suite=False))
def test_other_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if any("def test_" in block.code for block in blocks_of(page)):
        return  # they belong to the page's suite
    for block in blocks_of(page):
        if block.language == "python":
            exec(compile(block.code, f"{page.name}:{block.line}", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("block", of("toml"))
def test_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    table = tomllib.loads(block.code)
    name = "pyproject.toml" if "tool" in table else "sora-mock.toml"
    (tmp_path / name).write_text(block.code)
    warned: list[str] = []
    load({}, {}, tmp_path, warn=warned.append)
    assert warned == []


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.code)


def test_no_block_is_of_a_language_that_is_never_executed() -> None:
    known = {"sh", "python", "toml", "ini"} | SHOWN
    assert [f"{block.page.name}:{block.line}" for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
