"""CI: the steps of the action run as on a runner, and the workflows use commands that exist."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sora_mock import MockServer
from sora_mock.cli.commands import parsed
from sora_mock.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, START = ACTION["runs"]["steps"]


class Runner:
    """The machine of a job: a temporary folder, in which the action is installed once, and a workspace."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.workspace = temp / "workspace"
        self.workspace.mkdir()

    def play(self, step: dict[str, Any], **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        """Runs a step. Returns the finished process and the outputs of the step."""
        known = {f"inputs.{name}": inputs.pop(name, each["default"]) for name, each in ACTION["inputs"].items()}
        assert not inputs, "no such input"
        known |= {"github.action_path": str(ROOT), "runner.temp": str(self.temp)}
        expression = re.compile(r"\$\{\{ (.*?) \}\}")
        filled = {name: expression.sub(lambda found: known[found[1]], text) for name, text in step["env"].items()}
        files = {name: str(self.temp / name) for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        (self.temp / "GITHUB_OUTPUT").write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SORA_MOCK_", "PYTHON"))}
        env = kept | files | {"GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temp)} | filled
        # the job has set up this Python
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.workspace, env=env, capture_output=True, text=True, check=False, timeout=240
        )
        written = (self.temp / "GITHUB_OUTPUT").read_text().splitlines()
        return done, dict(line.split("=", 1) for line in written)

    @contextlib.contextmanager
    def started(self, **inputs: str) -> Iterator[str]:
        """Starts a server with the action and gives its URL; the end of the block ends it, as the end of a job does."""
        done, outputs = self.play(START, **{"port": "0", **inputs})
        assert done.returncode == 0, done.stdout + done.stderr
        # bash prints an error and continues after arithmetic that fails
        assert done.stderr == ""
        try:
            yield outputs["url"]
        finally:
            os.kill(int((self.temp / "sora-mock" / "pid").read_text()), signal.SIGTERM)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    machine = Runner(tmp_path_factory.mktemp("runner"))
    done, _ = machine.play(INSTALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return machine


def account(url: str) -> Any:
    return httpx.get(f"{url}/__mock/account", headers={"Authorization": "Bearer sk-a"}).json()


def test_the_action_puts_its_command_on_the_path_and_nothing_else(runner: Runner) -> None:
    (added,) = (runner.temp / "GITHUB_PATH").read_text().split()
    assert [each.name for each in Path(added).iterdir()] == ["sora-mock"]
    printed = subprocess.run([f"{added}/sora-mock", "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("sora-mock ")


def test_a_server_is_ready_where_the_output_says(runner: Runner) -> None:
    with runner.started(args="--credits 50 --quiet") as url:
        assert account(url)["remaining_credits"] == 50
    assert ACTION["outputs"]["url"]["value"] == "${{ steps.start.outputs.url }}"


def test_args_are_split_as_a_shell_does_and_never_executed(runner: Runner) -> None:
    token = "$(touch injected) `touch injected`; touch injected *"
    with runner.started(args=f"--credits 9\n  --seed 7 --control-token '{token}'") as url:
        assert httpx.get(f"{url}/__mock/account", headers={"X-Mock-Token": token}).json()["remaining_credits"] == 9
    assert not (runner.workspace / "injected").exists()


def test_a_timeout_may_begin_with_a_zero(runner: Runner) -> None:
    with runner.started(**{"wait-timeout": "08"}) as url:
        assert account(url)["remaining_credits"] == 1000


def test_the_settings_file_of_the_repository_is_read(runner: Runner) -> None:
    (runner.workspace / "sora-mock.toml").write_text("credits = 7\n")
    with runner.started(args="--log-format json") as url:
        assert account(url)["remaining_credits"] == 7
    (runner.workspace / "sora-mock.toml").unlink()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"args": "--creditz 5"}, "unknown flag --creditz; did you mean --credits?"),
        ({"args": "--scenario 'failed"}, "No closing quotation"),
        ({"wait-timeout": "soon"}, "wait-timeout: expected whole seconds"),
        ({"wait-timeout": "0"}, "was not ready within 0 s"),
        ({"wait-timeout": "00"}, "was not ready within 0 s"),
        ({"args": "--creditz 5"}, "::error::sora-mock ended at its start"),
        ({"port": "70000"}, "::error::sora-mock ended at its start"),
        ({"args": "--cors '' --quiet"}, "bad value '' for --cors"),
    ],
)
def test_a_failing_start_fails_the_step_with_the_reason(runner: Runner, inputs: dict[str, str], said: str) -> None:
    done, outputs = runner.play(START, **{"port": "0", **inputs})
    assert done.returncode == 1
    assert said in done.stdout
    assert "::error::" in done.stdout
    assert outputs == {}


def test_a_port_in_use_is_reported_at_once_although_another_server_responds_there(runner: Runner) -> None:
    with MockServer() as other:
        done, outputs = runner.play(START, port=other.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "Address already in use" in done.stdout
    assert "::error::sora-mock ended at its start" in done.stdout
    assert outputs == {}


def test_inputs_reach_the_scripts_as_variables_alone() -> None:
    """An expression in the text of a script lets an input inject commands."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"


def snippets() -> dict[str, list[str]]:
    """Every line of the scripts in the example workflows."""
    actions: Any = yaml.safe_load((ROOT / "examples" / "github-actions.yml").read_text(encoding="utf-8"))
    gitlab: Any = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in actions["jobs"].values() for step in job["steps"]]
    return {
        "github": [line for step in steps for line in step.get("run", "").splitlines()],
        "gitlab": [line for job in gitlab.values() for line in job["script"]],
    }


def test_the_commands_of_the_snippets_exist() -> None:
    ours = [line for lines in snippets().values() for line in lines if line.startswith("sora-mock ")]
    assert ours
    for line in ours:
        assert parsed(shlex.split(line)[1:]).params["command"]


def test_the_workflow_uses_the_action_as_it_is(runner: Runner) -> None:
    workflow: Any = yaml.safe_load((ROOT / "examples" / "github-actions.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (used,) = [step for step in steps if "/sora-mock@" in step.get("uses", "")]
    with runner.started(**used["with"]) as url:
        assert account(url)["remaining_credits"] == 100
    asked = {output for step in steps for output in re.findall(rf"steps\.{used['id']}\.outputs\.(\w+)", str(step))}
    assert asked == {"url"} == ACTION["outputs"].keys()
    (log,) = re.findall(r'"\$RUNNER_TEMP/(\S+)"', str(steps))
    assert (runner.temp / log).is_file()


def test_the_service_of_gitlab_is_reached_by_its_alias() -> None:
    jobs: Any = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    (service,) = jobs["service"]["services"]
    assert jobs["service"]["variables"]["EVOLINK_BASE_URL"] == f"http://{service['alias']}:4010"


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


WORKFLOWS = ("ci.yml", "release.yml")


def test_ci_runs_each_python_that_the_package_is_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    ours = [found[1] for each in classifiers if (found := re.search(r":: (3\.\d+)$", each))]
    job = workflow("ci.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ours
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make check", "make test"]


def test_ci_tries_the_server_on_windows_and_macos() -> None:
    job = workflow("ci.yml")["jobs"]["serve"]
    assert job["strategy"]["matrix"]["os"] == ["windows-latest", "macos-latest"]
    *_, install, check = [step["run"] for step in job["steps"] if "run" in step]
    assert install == "python -m pip install --constraint constraints.txt ."
    done = subprocess.run([sys.executable, *check.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "it created task-unified-" in done.stdout


def test_only_the_jobs_that_publish_may_write() -> None:
    more: dict[str, Any] = {}
    for name in WORKFLOWS:
        assert workflow(name)["permissions"] == {"contents": "read"}
        more |= {job: each["permissions"] for job, each in workflow(name)["jobs"].items() if "permissions" in each}
    # with trusted publishing, the job gets a token, and the repository holds no password
    assert more == {"publish": {"id-token": "write"}, "image": {"contents": "read", "packages": "write"}}


def test_a_release_comes_after_ci_and_only_from_a_tag() -> None:
    release = workflow("release.yml")
    # YAML 1.1 reads `on` as true
    assert release[True] == {"push": {"tags": ["v*"]}}
    jobs = release["jobs"]
    assert jobs["ci"] == {"uses": "./.github/workflows/ci.yml"}
    assert "workflow_call" in workflow("ci.yml")[True]
    assert [jobs[name]["needs"] for name in ("build", "publish", "image")] == ["ci", "build", "build"]


def test_a_tag_that_is_not_the_version_ends_the_release() -> None:
    (compare,) = [step["run"] for step in workflow("release.yml")["jobs"]["build"]["steps"] if "VERSION" in str(step)]
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for tag, code in ((f"v{VERSION}", 0), ("v999", 1), (VERSION, 1)):
        env = {"PATH": python, "GITHUB_REF_NAME": tag}
        done = subprocess.run(["bash", "-e", "-c", compare], cwd=ROOT, env=env, capture_output=True, check=False)
        assert done.returncode == code


@pytest.mark.parametrize("name", WORKFLOWS)
def test_other_actions_are_pinned_to_a_major_version(name: str) -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    assert used
    assert [each for each in used if not re.search(r"^\./|@v\d+$|@release/v\d+$", each)] == []


def planned(target: str, folder: Path) -> str:
    """The commands of a target in a checkout that has no environment yet."""
    command = ["make", "--dry-run", f"VENV={folder}/venv", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_serve_installs_the_server_alone_and_the_others_the_tools(tmp_path: Path) -> None:
    plain, tools = "--editable .\n", "--editable '.[dev]'\n"
    assert plain in planned("serve", tmp_path)
    assert tools not in planned("serve", tmp_path)
    for target in ("test", "check", "docs", "evidence", "install"):
        assert plain in planned(target, tmp_path)
        assert tools in planned(target, tmp_path)


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    for stamp in ("installed-server", "installed-dev"):
        (tmp_path / "venv" / stamp).touch()
    for target in ("serve", "test"):
        assert "pip install" not in planned(target, tmp_path)
