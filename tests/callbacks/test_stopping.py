"""The end of a server whose look-ups hang, and what hanging look-ups delay."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from sora_mock.callbacks import resolver as module
from sora_mock.callbacks.resolver import Resolver, UnknownHost
from sora_mock.domain.callback_url import Address
from tests.cli.processes import DEADLINE, Running, environment
from tests.conftest import Api

HERE: list[Address] = [ip_address("127.0.0.1")]

SERVER = """
import itertools, os, socket, sys
from sora_mock.cli.commands import main

count, (never, _), original = itertools.count(1), os.pipe(), socket.getaddrinfo

def getaddrinfo(host, *more, **named):
    if not str(host).endswith(".hanging.example"):
        return original(host, *more, **named)
    if next(count) == 700:
        print("700 hang", flush=True)
    os.read(never, 1)

socket.getaddrinfo = getaddrinfo
sys.exit(main(sys.argv[1:]))
"""
"""A server in whose process the look-up of some names never returns."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    arguments = ["serve", "--port", "0", "--quiet", "--seed", "1", "--credits", "unlimited"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(2 * DEADLINE, process.kill)
    watchdog.start()
    assert process.stdout is not None
    yield Running(process, process.stdout.readline())
    watchdog.cancel()
    process.kill()
    process.communicate()


def test_a_signal_ends_a_server_with_700_look_ups_that_hang_within_2_seconds(running: Running) -> None:
    with httpx.Client(base_url=running.url, timeout=20) as client:
        api = Api(client, "sk-hanging")
        for number in range(700):
            headers = {"X-Mock-Scenario": "instant"}
            api.new_task(callback_url=f"https://name{number}.hanging.example/hook", headers=headers)
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "700 hang\n"
    assert running.stop(signal.SIGTERM, 2) == (0, "", "")


def test_no_hanging_name_delays_a_good_one_before_the_bound_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOOKUPS", 700)
    over = threading.Event()

    def look_up(host: str) -> list[Address]:
        if host.startswith("hanging"):
            over.wait(20)
        return HERE

    async def run() -> None:
        resolver = Resolver(look_up)
        hanging = [asyncio.create_task(resolver.addresses(f"hanging{n}.example")) for n in range(699)]
        for number in range(50):
            assert await resolver.addresses(f"good{number}.example") == HERE
        assert not any(task.done() for task in hanging)
        over.set()
        await asyncio.gather(*hanging)

    asyncio.run(run())


def test_a_look_up_for_which_no_thread_can_start_is_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        resolver = Resolver(lambda host: HERE)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(UnknownHost, match=r"good\.example cannot be resolved: can't start new thread"):
                await resolver.addresses("good.example")
        assert await resolver.addresses("good.example") == HERE

    asyncio.run(run())


def test_an_attempt_that_stops_waiting_for_a_lookup_slot_uses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOOKUPS", 1)
    over = threading.Event()

    def look_up(host: str) -> list[Address]:
        over.wait(20)
        return HERE

    async def run() -> None:
        resolver = Resolver(look_up)
        first, second, third = [asyncio.create_task(resolver.addresses(f"{n}.example")) for n in range(3)]
        await asyncio.wait([first], timeout=0.01)
        second.cancel()
        over.set()
        assert await first == await third == HERE

    asyncio.run(run())
