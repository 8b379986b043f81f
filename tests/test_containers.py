"""The image without a container engine: the commands of the Dockerfile run here, and the files that it copies exist."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any

import httpx
import pytest
import yaml

from sora_mock import Account, MockServer
from sora_mock.config.loading import load
from sora_mock.config.settings import FLAGS, Settings
from tests.callbacks.receiver import receiver, responds

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-of-this-test"


def instructions(file: Path) -> list[tuple[str, str]]:
    """Name and arguments of each instruction, of all stages."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name]


def last_stage() -> dict[str, str]:
    """The last of each kind of instruction in the stage that becomes the image."""
    everything = instructions(ROOT / "Dockerfile")
    start = max(number for number, (name, _) in enumerate(everything) if name == "FROM")
    return dict(everything[start:])


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in last_stage()["ENV"].split())


def environment(**more: str) -> dict[str, str]:
    """The variables of a process in the container; PATH leads to the commands of our environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SORA_MOCK_", "EVOLINK_"))}
    image = {name: value for name, value in variables().items() if name != "PATH"}
    return kept | image | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | more


@contextmanager
def container(folder: Path, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs the entry point on a free port, with its default arguments or others. Gives the process and its URL."""
    stage = last_stage()
    command = [*json.loads(stage["ENTRYPOINT"]), *(arguments or json.loads(stage["CMD"]))]
    env = environment(SORA_MOCK_PORT="0", **more)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip().removeprefix("sora-mock ready on ")
        finally:
            process.kill()


def healthy(url: str) -> int:
    """Exit code of the health command."""
    _, _, command = last_stage()["HEALTHCHECK"].partition(" CMD ")
    port = url.rpartition(":")[2]
    return subprocess.run(
        json.loads(command), env=environment(SORA_MOCK_PORT=port), check=False, capture_output=True, timeout=20
    ).returncode


def control(url: str, **headers: str) -> int:
    return httpx.get(f"{url}/__mock/account", headers=headers).status_code


def test_the_container_listens_everywhere_is_healthy_and_steered_by_the_token(tmp_path: Path) -> None:
    with container(tmp_path, SORA_MOCK_CONTROL_TOKEN=TOKEN) as (process, url):
        assert healthy(url) == 0
        assert [control(url), control(url, **{"X-Mock-Token": TOKEN})] == [403, 200]
        # another container uses the name of the service
        headers = {"Host": "sora-mock:4010", "X-Mock-Token": TOKEN}
        assert [control(url, **headers), control(url, Host="sora-mock:4010")] == [200, 403]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert [each.name for each in tmp_path.iterdir()] == ["log"]
        assert healthy(url) != 0
    assert variables()["SORA_MOCK_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("variables", [{}, {"SORA_MOCK_CONTROL_TOKEN": ""}], ids=["absent", "empty"])
def test_without_a_token_the_service_works_and_the_control_api_is_closed(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with container(tmp_path, **variables) as (_, url):
        assert healthy(url) == 0
        assert control(url) == 403
        response = httpx.get(f"{url}/v1/credits", headers={"Authorization": "Bearer sk-a", "Host": "sora-mock:4010"})
        assert response.status_code == 200
    assert "the control API is closed" in (tmp_path / "log").read_text()


def test_flags_and_a_mounted_settings_file_are_taken(tmp_path: Path) -> None:
    (tmp_path / "sora-mock.toml").write_text("credits = 7\n")
    with container(tmp_path, "--rate-limit", "1/minute", SORA_MOCK_CONTROL_TOKEN=TOKEN) as (_, url):
        account = httpx.get(f"{url}/__mock/account", headers={"X-Mock-Token": TOKEN}).json()
        assert (account["remaining_credits"], account["rate_limit"]) == (7, "1/minute")


def test_the_image_runs_without_root_on_the_default_port() -> None:
    stage = last_stage()
    user, group = stage["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert stage["EXPOSE"] == str(Settings().port)
    assert f"127.0.0.1:${{SORA_MOCK_PORT:-{Settings().port}}} " in stage["HEALTHCHECK"]


def copied(file: Path) -> list[str]:
    """The files that COPY takes from the context of the build."""
    lines = [rest.split() for name, rest in instructions(file) if name == "COPY" and not rest.startswith("--from")]
    return [source for line in lines for source in line[:-1]]


def ignored(name: str) -> bool:
    """Whether .dockerignore excludes a name; the last pattern that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and fnmatch(name, pattern):
            out = not line.startswith("!")
    return out


@pytest.mark.parametrize("source", copied(ROOT / "Dockerfile"))
def test_the_copied_files_exist_and_are_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    assert not ignored(source)


def test_nothing_else_reaches_the_build() -> None:
    others = {each.name for each in ROOT.iterdir()} - set(copied(ROOT / "Dockerfile"))
    assert {".venv", ".git", "tests", "examples"} & others != set()
    assert all(ignored(name) for name in others)


def test_the_copied_files_are_enough_for_the_wheel(tmp_path: Path) -> None:
    for source in copied(ROOT / "Dockerfile"):
        if (ROOT / source).is_dir():
            copytree(ROOT / source, tmp_path / source, ignore=ignore_patterns("__pycache__"))
        else:
            copy(ROOT / source, tmp_path)
    build = [sys.executable, "-m", "build", "--quiet", "--wheel", "--no-isolation", "--outdir", "wheel", "."]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as names:
        held = set(names.namelist())
    assert {"sora_mock/_data/openapi/openapi.json", "sora_mock/py.typed"} <= held
    assert not [name for name in held if name.startswith(("examples", "tests"))]


def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_compose_builds_what_is_here_and_sets_what_we_know() -> None:
    services = compose()
    for service in services.values():
        assert (ROOT / service["build"] / "Dockerfile").is_file()
    given = {name: value or "t" for name, value in services["sora-mock"]["environment"].items()}
    assert given.keys() <= {each.variable for each in FLAGS}
    settings = load({}, given, ROOT / "examples", warn=pytest.fail)
    assert settings.callback_route == {services["app"]["environment"]["PUBLIC_URL"]: "http://app:8000"}
    assert services["app"]["environment"]["EVOLINK_BASE_URL"] == f"http://sora-mock:{settings.port}"


def test_compose_publishes_ports_on_this_machine_alone() -> None:
    for service in compose().values():
        for port in service["ports"]:
            address, outside, inside = port.split(":")
            assert address == "127.0.0.1"
            stage = dict(instructions(ROOT / service["build"] / "Dockerfile"))
            assert outside == inside == stage["EXPOSE"]


def test_the_application_of_compose_starts_as_its_dockerfile_says(tmp_path: Path) -> None:
    file = ROOT / "examples" / "app" / "Dockerfile"
    stage = dict(instructions(file))
    assert [name for name in copied(file) if not (file.parent / name).exists()] == []
    command = [*json.loads(stage["CMD"])[:-1], "0"]
    variables = environment(**compose()["app"]["environment"], CLIPS_FOLDER=str(tmp_path), PYTHONPATH=str(file.parent))
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        started = any("Uvicorn running on" in line for line in process.stderr)
        process.terminate()
    assert started


def test_a_route_may_lead_to_another_container_by_name(tmp_path: Path) -> None:
    """Names of services resolve to internal addresses, which callbacks reach only by a route."""
    with receiver(responds(204)) as app:
        route = f"https://app.example.com=http://localhost:{app.port}"
        variables = {
            "SORA_MOCK_CALLBACK_ROUTE": route,
            "SORA_MOCK_CONTROL_TOKEN": TOKEN,
            "SORA_MOCK_GENERATION_TIME": "0",
        }
        with container(tmp_path, **variables) as (_, url):
            account = Account(url, "sk-a", token=TOKEN)
            order = {"model": "sora-2-beta-max", "prompt": "A cat", "callback_url": "https://app.example.com/done"}
            # the application of compose uses this host name
            headers = account.headers | {"Host": "sora-mock:4010"}
            task = httpx.post(f"{url}/v1/videos/generations", json=order, headers=headers).json()
            account.clock.advance(1)
            (delivery,) = account.deliveries(task["id"])
            assert delivery["state"] == "succeeded"
            assert delivery["body"]["results"][0].startswith("http://sora-mock:4010/files/")


def test_result_links_start_with_the_host_name_of_the_request() -> None:
    """So compose needs no --public-url: each client gets links that it can follow."""
    with MockServer(generation_time=0) as server:
        for host in ("sora-mock:4010", "127.0.0.1:4010"):
            headers = {"Authorization": "Bearer sk-a", "Host": host}
            order = {"model": "sora-2-beta-max", "prompt": "A cat"}
            task = httpx.post(f"{server.url}/v1/videos/generations", json=order, headers=headers).json()
            seen = httpx.get(f"{server.url}/v1/tasks/{task['id']}", headers=headers).json()
            assert seen["results"][0].startswith(f"http://{host}/")
