"""What most tests need: a real server on a free port, a client of the service, and the account that it uses."""

import signal
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from sora_mock.client import Account
from sora_mock.server import MockServer

# Under nohup or in a background job these signals are ignored, and child processes inherit that. They do not inherit a
# handler: with one that does nothing they start as they do at a terminal.
for _number in signal.valid_signals() & {getattr(signal, name, None) for name in ("SIGINT", "SIGQUIT", "SIGHUP")}:
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}


class Api:
    """The emulated service as a client of one account sees it. `account` steers the mock."""

    def __init__(self, client: httpx.Client, key: str) -> None:
        self.client = client
        self.key = key
        self.headers = {"Authorization": f"Bearer {key}"}
        self.account = Account(str(client.base_url), key)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def create(self, body: Any = None, **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", {})
        order = {**ORDER, **fields} if body is None else body
        return self.request("POST", "/v1/videos/generations", json=order, headers=headers)

    def new_task(self, **fields: Any) -> str:
        response = self.create(**fields)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def task(self, task_id: str) -> Any:
        response = self.request("GET", f"/v1/tasks/{task_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def credits(self) -> Any:
        return self.request("GET", "/v1/credits").json()["data"]["token"]


@pytest.fixture(scope="session")
def server() -> Iterator[MockServer]:
    """One server for all tests that need no settings of their own; accounts keep them apart."""
    with MockServer(port=0, seed=1) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: MockServer) -> Iterator[httpx.Client]:
    """A pool of connections to the server."""
    with httpx.Client(base_url=server.url, timeout=20) as connected:
        yield connected


@pytest.fixture
def api(client: httpx.Client, request: pytest.FixtureRequest) -> Api:
    """A client with an account of this test's own on the shared server. The clock of the account is frozen."""
    api = Api(client, f"sk-test-{sha256(request.node.nodeid.encode()).hexdigest()}")
    api.account.clock.freeze()
    return api


@pytest.fixture
def account(api: Api) -> Account:
    """The account of `api`."""
    return api.account
