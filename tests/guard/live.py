"""A mock that poses as the live service, and the guard in front of it as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer
from typing import Any

import httpx
import pytest

from sora_mock.app import create_app
from sora_mock.client import AllAccounts
from sora_mock.client.views import TaskView
from sora_mock.domain.ledger import UNITS
from sora_mock.server import MockServer
from tests.contract.faults.responses import Change, Faulty

REAL = "sk-evo-the-real-key-0123456789"
PLACEHOLDER = {"Authorization": "Bearer contract-live"}
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}
CREATE = "/v1/videos/generations"
DEADLINE = 30.0


class Posing:
    """A mock with a hidden control API. before: called with each request. change: applied to each response."""

    def __init__(self, mock: Any, change: Change | None) -> None:
        self.mock, self.state = mock, mock.state
        self.app = mock if change is None else Faulty(mock, change)
        self.before: Callable[[Any], None] = lambda scope: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/__mock"):
            scope = {**scope, "path": "/hidden"}
        self.before(scope)
        await self.app(scope, receive, send)

    @property
    def spent(self) -> float:
        """Credits of all tasks that were ever made."""
        return float(sum(task.price for task in self.state.service.storage.tasks.values())) / UNITS


@contextmanager
def posing_app(change: Change | None = None, **settings: Any) -> Iterator[tuple[str, Posing]]:
    """URL and application of a mock that poses as the live service."""
    made: list[Posing] = []

    def make(settings: Any) -> Posing:
        made.append(Posing(create_app(settings), change))
        return made[0]

    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            # for the start alone: servers that come later are themselves
            patch.setattr("sora_mock.server.create_app", make)
            server = MockServer(port=0, seed=1, **{"generation_time": (0.0, 0.0), **settings})
            stack.enter_context(server)
        yield server.url, made[0]


@contextmanager
def posing(change: Change | None = None) -> Iterator[str]:
    """Only the URL of such a mock."""
    with posing_app(change) as (url, _):
        yield url


class Guarding:
    """A guard process that has printed its ready line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.ready = process.stdout.readline()
        self.url = self.ready.split()[-1]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=PLACEHOLDER, timeout=DEADLINE, trust_env=False)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, err


def command(target: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sora_mock", "guard", "--target", target, "--port", "0", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SORA_MOCK_")} | more


@contextmanager
def guarding(target: str, *arguments: str, key: str = REAL) -> Iterator[Guarding]:
    process = subprocess.Popen(
        command(target, *arguments),
        env=environment(EVOLINK_API_KEY=key),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = Timer(DEADLINE, process.kill)
    watchdog.start()
    try:
        yield Guarding(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate(timeout=DEADLINE)


def created(url: str) -> list[TaskView]:
    """The tasks that exist on the mock, of all accounts."""
    return AllAccounts(url).tasks


def error_code(response: httpx.Response) -> str:
    return str(json.loads(response.content)["error"]["code"])
