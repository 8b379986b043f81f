"""The same create requests against sora-mock, aimock, Prism and a bare ASGI application, one after the other.

python bench/peers.py [--rounds 5] [--seconds 4] [--starts 5] [--node-modules DIR]
"""

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from servers import BARE, MOCK, Running
from throughput import ORDER, Speed, load, replies

PACKAGES = {"@copilotkit/aimock": "1.43.0", "@stoplight/prism-cli": "5.14.2"}
CREATE = "/v1/videos/generations"
HEADERS = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json"}
OPENAPI = Path(__file__).resolve().parents[1] / "openapi" / "openapi.json"
START_TIMEOUT = 60.0  # seconds
FIXTURE = {
    "match": {"userMessage": "A cat playing piano", "endpoint": "video"},
    "response": {"video": {"id": "video-1", "status": "completed", "url": "https://example.com/cat.mp4"}},
}


class Server(NamedTuple):
    """name: as printed. command: starts it. port: where it listens; None if its ready line says so. note: printed."""

    name: str
    command: tuple[str, ...]
    port: int | None
    note: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of the load (5); 0 measures the starts alone")
    parser.add_argument("--seconds", type=int, default=4, help="of the load on each server in each round (4)")
    parser.add_argument("--starts", type=int, default=5, help="of each server (5)")
    parser.add_argument("--node-modules", type=Path, metavar="DIR", help="keeps the npm packages (a temporary folder)")
    options = parser.parse_args()
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if options.rounds and shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install {package}")
    with tempfile.TemporaryDirectory() as temporary:
        servers = [
            Server("bare", BARE, None, "one constant response, bench/bare.py"),
            Server("sora-mock", mock_command(), None, "this checkout"),
            *node_servers(Path(temporary), options.node_modules),
        ]
        starts = measure_starts(servers, options.starts)
        speeds = measure_speeds(servers, options.rounds, options.seconds)
    report(servers, starts, speeds)


def mock_command() -> tuple[str, ...]:
    return *MOCK, "serve", "--credits", "unlimited", "--port", "0", "--generation-time", "1", "--quiet"


def node_servers(temporary: Path, kept: Path | None) -> list[Server]:
    """aimock and Prism; none, and the reason is printed, where Node or the packages are missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("Node and npm are missing: only the bare application is compared\n")
        return []
    folder = (kept or temporary).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if installed(folder) != PACKAGES:
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", *wanted]
        if subprocess.run(command, check=False).returncode != 0:
            print("npm cannot install the packages: only the bare application is compared\n")
            return []
    fixture = temporary / "aimock.json"
    fixture.write_text(json.dumps({"fixtures": [FIXTURE]}))
    commands = folder / "node_modules" / ".bin"
    ports = [str(port) for port in free_ports(2)]
    aimock = [str(commands / "llmock"), "--port", ports[0], "--fixtures", str(fixture), "--log-level", "silent"]
    prism = [str(commands / "prism"), "mock", "--port", ports[1], "--verboseLevel", "silent", str(OPENAPI)]
    versions = list(PACKAGES.values())
    return [
        Server("aimock", (node, *aimock), int(ports[0]), f"{versions[0]}, as xAI's Grok Imagine, one fixture, no log"),
        Server("Prism", (node, *prism), int(ports[1]), f"{versions[1]}, examples of openapi/openapi.json, no log"),
    ]


def installed(folder: Path) -> dict[str, str]:
    """The versions of PACKAGES that the folder holds."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(FileNotFoundError):
            found[name] = json.loads((folder / "node_modules" / name / "package.json").read_text())["version"]
    return found


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in listeners]


@contextlib.contextmanager
def started(server: Server, *arguments: str) -> Iterator[Running]:
    """A server on the first core. `seconds` is the time from its start to its first response to a create request."""
    command = [*pinned(), *server.command, *arguments]
    began = time.perf_counter()
    output = subprocess.PIPE if server.port is None else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, text=True)
    try:
        if server.port is None:
            assert process.stdout is not None
            url = "http" + process.stdout.readline().partition("http")[2].rstrip('"}\n')
        else:
            url = f"http://127.0.0.1:{server.port}"
        while not creates(url):
            if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT:
                sys.exit(f"{server.name} does not respond to POST {CREATE} with 200")
            time.sleep(0.002)
        yield Running(process, url, time.perf_counter() - began)
    finally:
        process.terminate()
        process.communicate()


def pinned() -> tuple[str, ...]:
    """The first core is the servers', the second wrk's."""
    taskset = shutil.which("taskset")
    return () if taskset is None else (taskset, "-c", "0")


def creates(url: str) -> bool:
    request = urllib.request.Request(url + CREATE, ORDER, HEADERS)
    try:
        with urllib.request.urlopen(request) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as problem:
        sys.exit(f"{url}{CREATE} responds with {problem.code}: {problem.read()[:500]!r}")
    except OSError:
        return False


def measure_starts(servers: list[Server], rounds: int) -> dict[str, list[float]]:
    """Seconds to the first response, all servers in turn. The first start of each is not counted: it fills caches."""
    seconds: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        for server in servers:
            with started(server) as running:
                if number:
                    seconds[server.name].append(running.seconds)
    return seconds


def measure_speeds(servers: list[Server], rounds: int, seconds: int) -> dict[str, list[Speed]]:
    """Speeds under the load of wrk, all servers in turn in each round."""
    speeds: dict[str, list[Speed]] = {server.name: [] for server in servers}
    if not rounds:
        return speeds
    bare, mock, *others = servers
    with contextlib.ExitStack() as stack:
        running = {mock.name: stack.enter_context(started(mock))}
        running[bare.name] = stack.enter_context(started(bare, *replies(running[mock.name].url)))
        running |= {server.name: stack.enter_context(started(server)) for server in others}
        for number in range(1, rounds + 1):
            for server in servers:
                speeds[server.name].append(load(running[server.name], "create", seconds))
            each = "  ".join(f"{name} {speed[-1].wall:.0f}/s" for name, speed in speeds.items())
            print(f"round {number}:  {each}", flush=True)
    return speeds


def report(servers: list[Server], starts: dict[str, list[float]], speeds: dict[str, list[Speed]]) -> None:
    """Medians of each server, and the median ratio to the bare application within a round."""
    print(f"\nPOST {CREATE} on every server; medians; in brackets the ratio to bare\n")
    print(f"{'':10}{'requests/s':>20}{'per processor second':>24}{'first response, ms':>22}")
    yard = servers[0].name
    for server in servers:
        columns = [
            column([each.wall for each in speeds[server.name]], [each.wall for each in speeds[yard]]),
            column([each.cpu for each in speeds[server.name]], [each.cpu for each in speeds[yard]]),
            column([each * 1000 for each in starts[server.name]], [each * 1000 for each in starts[yard]]),
        ]
        print(f"{server.name:10}{columns[0]:>20}{columns[1]:>24}{columns[2]:>22}  {server.note}")
    for server in servers[2:]:
        print(f"\nsora-mock compared with {server.name}:", end=" ")
        parts = []
        if speeds[yard]:
            wall = ratio([each.wall for each in speeds["sora-mock"]], [each.wall for each in speeds[server.name]])
            cpu = ratio([each.cpu for each in speeds["sora-mock"]], [each.cpu for each in speeds[server.name]])
            parts.append(f"{wall:.2f} times the requests a second, {cpu:.2f} times by processor time")
        if starts[yard]:
            parts.append(f"{ratio(starts['sora-mock'], starts[server.name]):.2f} of the time to the first response")
        print(", ".join(parts), end="")
    print()


def column(figures: list[float], yard: list[float]) -> str:
    return f"{statistics.median(figures):.0f} ({ratio(figures, yard):.2f})" if figures else "not measured"


def ratio(figures: list[float], yard: list[float]) -> float:
    """The median of the ratios of each round."""
    return statistics.median(ours / theirs for ours, theirs in zip(figures, yard, strict=True))


if __name__ == "__main__":
    main()
