"""Requests a second of sora-mock compared with a bare ASGI application under the same uvicorn."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from servers import BARE, MOCK, Running, running

CONNECTIONS = 16
TARGETS = {"mix": 0.42, "create": 0.38}
ORDER = b'{"model":"sora-2-beta-max","prompt":"A cat playing piano on a rainy street at night"}'
TICK = os.sysconf("SC_CLK_TCK")


class Speed(NamedTuple):
    """Requests in a second of the wall, and in a second of the server's processor, which neighbours disturb less."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run (4)")
    parser.add_argument("--log", choices=("text", "json"), help="with a line for each request (none)")
    parser.add_argument("kinds", nargs="*", default=["mix", "create", "poll"], help="mix, create, poll (all three)")
    options = parser.parse_args()
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install {package}")
    # tasks end during a run, so that polls see every status
    flags = ("--credits", "unlimited", "--port", "0", "--generation-time", "1")
    log = ("--log-format", options.log) if options.log else ("--quiet",)
    with (
        running(("taskset", "-c", "0", *MOCK, "serve", *flags, *log), subprocess.DEVNULL) as mock,
        running(("taskset", "-c", "0", *BARE, *replies(mock.url))) as bare,
    ):
        for kind in options.kinds:
            compare(kind, bare, mock, options.rounds, options.seconds)


def replies(url: str) -> tuple[str, str]:
    """The mock's responses to a create request and to a poll of a finished task: the bodies of the bare server."""
    headers = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/videos/generations", ORDER, headers)
    created: str = urllib.request.urlopen(request).read().decode()
    task_id = created.split('"id":"')[1].split('"')[0]
    time.sleep(1.2)
    request = urllib.request.Request(f"{url}/v1/tasks/{task_id}", headers=headers)
    return created, urllib.request.urlopen(request).read().decode()


def compare(kind: str, bare: Running, mock: Running, rounds: int, seconds: int) -> None:
    walls, cpus = [], []
    for number in range(1, rounds + 1):
        yard, ours = load(bare, kind, seconds), load(mock, kind, seconds)
        walls.append(ours.wall / yard.wall)
        cpus.append(ours.cpu / yard.cpu)
        print(
            f"{kind:6} {number:2}  bare {yard.wall:6.0f}/s  mock {ours.wall:6.0f}/s"
            f"  ratio {walls[-1]:.2f}  by processor time {cpus[-1]:.2f}",
            flush=True,
        )
    target = f"; target by processor time at least {TARGETS[kind]:.2f}" if kind in TARGETS else ""
    median, by_cpu = statistics.median(walls), statistics.median(cpus)
    print(f"{kind:6} median ratio {median:.2f} (by processor time {by_cpu:.2f}){target}\n", flush=True)


def load(server: Running, kind: str, seconds: int) -> Speed:
    """One run of wrk on the second core. Exits if a response is not a 200."""
    script = Path(__file__).with_name("mix.lua")
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
    command = ["taskset", "-c", "1", *wrk, server.url]
    before = processor_seconds(server.process.pid)
    run = subprocess.run([*command, "--", kind], capture_output=True, text=True, check=False)
    spent = processor_seconds(server.process.pid) - before
    result = [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    if run.returncode != 0 or not result:
        sys.exit(f"wrk failed:\n{run.stdout}{run.stderr}")
    requests, microseconds, refused, errors = (int(figure) for figure in result[0])
    if refused or errors or not requests:
        sys.exit(f"{refused} replies of {requests} were not 200, {errors} socket errors:\n{run.stdout}")
    return Speed(requests / microseconds * 1e6, requests / spent)


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


if __name__ == "__main__":
    main()
