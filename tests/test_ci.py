"""What is offered to CI: the action's steps, played as a runner does, and workflows whose commands exist."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sora_mock import MockServer
from sora_mock.cli.commands import parsed

ROOT = Path(__file__).resolve().parents[1]
ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, START = ACTION["runs"]["steps"]


class Runner:
    """A job's machine: its temporary folder, where the action is installed once, and its workspace."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.workspace = temp / "workspace"
        self.workspace.mkdir()

    def play(self, step: dict[str, Any], **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        """Runs a step; what it printed, and its outputs."""
        known = {f"inputs.{name}": inputs.pop(name, each["default"]) for name, each in ACTION["inputs"].items()}
        assert not inputs, "no such input"
        known |= {"github.action_path": str(ROOT), "runner.temp": str(self.temp)}
        expression = re.compile(r"\$\{\{ (.*?) \}\}")
        filled = {name: expression.sub(lambda found: known[found[1]], text) for name, text in step["env"].items()}
        files = {name: str(self.temp / name) for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        (self.temp / "GITHUB_OUTPUT").write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SORA_MOCK_", "PYTHON"))}
        env = kept | files | {"GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temp)} | filled
        # the python that the job has set up
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.workspace, env=env, capture_output=True, text=True, check=False, timeout=240
        )
        written = (self.temp / "GITHUB_OUTPUT").read_text().splitlines()
        return done, dict(line.split("=", 1) for line in written)

    @contextlib.contextmanager
    def started(self, **inputs: str) -> Iterator[str]:
        """The url of a server that the action started; it is ended as the end of a job does."""
        done, outputs = self.play(START, **{"port": "0", **inputs})
        assert done.returncode == 0, done.stdout + done.stderr
        # bash goes on after arithmetic that it could not do
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
    told = subprocess.run([f"{added}/sora-mock", "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("sora-mock ")


def test_a_server_is_ready_where_the_output_says(runner: Runner) -> None:
    with runner.started(args="--credits 50 --quiet") as url:
        assert account(url)["remaining_credits"] == 50
    assert ACTION["outputs"]["url"]["value"] == "${{ steps.start.outputs.url }}"


def test_args_are_split_as_a_shell_does_and_never_executed(runner: Runner) -> None:
    token = "$(touch harm) `touch harm`; touch harm *"
    with runner.started(args=f"--credits 9\n  --seed 7 --control-token '{token}'") as url:
        assert httpx.get(f"{url}/__mock/account", headers={"X-Mock-Token": token}).json()["remaining_credits"] == 9
    assert not (runner.workspace / "harm").exists()


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
def test_what_cannot_start_ends_the_step_and_says_why(runner: Runner, inputs: dict[str, str], said: str) -> None:
    done, outputs = runner.play(START, **{"port": "0", **inputs})
    assert done.returncode == 1
    assert said in done.stdout
    assert "::error::" in done.stdout
    assert outputs == {}


def test_a_port_in_use_is_told_at_once_though_somebody_answers_there(runner: Runner) -> None:
    with MockServer() as other:
        done, outputs = runner.play(START, port=other.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "Address already in use" in done.stdout
    assert "::error::sora-mock ended at its start" in done.stdout
    assert outputs == {}


def test_inputs_reach_the_scripts_as_variables_alone() -> None:
    """An expression in a script's text would be a way in for whoever writes the input."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"


def snippets() -> dict[str, list[str]]:
    """Every line of the workflows' scripts that starts one of our commands."""
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


def test_the_service_of_gitlab_is_called_by_its_alias() -> None:
    jobs: Any = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    (service,) = jobs["service"]["services"]
    assert jobs["service"]["variables"]["EVOLINK_BASE_URL"] == f"http://{service['alias']}:4010"
