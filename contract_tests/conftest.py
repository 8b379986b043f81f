"""The fixtures of the contract suite. `sora-mock verify URL` and `pytest contract_tests --base-url URL` use them."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
import pytest

from contract_tests.orders import GENERATION, SHARED_ORDERS
from contract_tests.service import Service, Transport, accepted
from sora_mock.client import Account
from sora_mock.verify import plugin
from sora_mock.verify.target import PLACEHOLDER, Target

POLL_SECONDS = 5.0
"""Real seconds between two polls on the live service."""
AFTER_SECONDS = 1.0
"""The same after the end of the task."""
MAX_POLLS = 400

pytest_plugins = ["sora_mock.verify.plugin"]


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    """The server under test."""
    return pytestconfig.stash[plugin.TARGET]


@pytest.fixture(scope="session")
def transport() -> Iterator[Transport]:
    """The connections of all clients."""
    with Transport() as transport:
        yield transport


@pytest.fixture
def key_of(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Makes API keys for accounts of this test alone: each name is another account."""
    seed, rule = request.config.stash[plugin.OPTIONS].seed, request.node.stash[plugin.RULE]

    def key(name: str) -> str:
        return f"sk-verify-{sha256(f'{seed} {rule.id} {name}'.encode()).hexdigest()[:24]}"

    return key


@pytest.fixture
def service(request: pytest.FixtureRequest, target: Target, transport: Transport, key_of: Any) -> Service:
    """A client of the target with the right key. On a mock each test has its own account, with a frozen clock."""
    exchanges = request.node.stash.setdefault(plugin.EXCHANGES, [])
    key = key_of("own") if target.is_mock else PLACEHOLDER
    if target.is_mock:
        prepare(Account(target.url, key))
    return Service(target, transport, key, exchanges)


@pytest.fixture
def mock(target: Target, service: Service) -> Account:
    """The account of this test on a mock: clock, credits, scenarios, inboxes."""
    if not target.is_mock or service.key is None:
        pytest.skip("is for mocks only")
    return Account(target.url, service.key)


@pytest.fixture
def other_service(target: Target, service: Service, key_of: Callable[[str], str]) -> Service:
    """A client with the key of a second account."""
    if not target.is_mock:
        pytest.skip("needs keys of several accounts")
    key = key_of("other")
    prepare(Account(target.url, key))
    return service.with_key(key)


def prepare(account: Account) -> None:
    """Resets an account of a mock: 1,000 credits, a frozen clock, and tasks complete after `GENERATION` seconds."""
    account.reset()
    account.clock.freeze()
    account.call("PATCH", "/account", {"remaining_credits": 1000, "rate_limit": None})
    account.scenario("completed", times=None, generation_time=GENERATION, queue_time=GENERATION / 10)


@pytest.fixture
def every_task(mock: Account) -> Callable[..., None]:
    """Sets the scenario of all later create requests: `every_task("failed", code="service_error")`."""

    def set_scenario(name: str, **override: Any) -> None:
        mock.clear_scenarios()
        mock.scenario(name, times=None, **override)

    return set_scenario


@pytest.fixture
def wait(service: Service, request: pytest.FixtureRequest) -> Callable[[float], Any]:
    """Lets seconds pass: advances the clock of a mock, and sleeps for the live service."""
    if service.is_mock:
        advance: Callable[[float], Any] = request.getfixturevalue("mock").clock.advance
        return advance
    return time.sleep


@pytest.fixture(scope="session")
def sent_once() -> dict[str, Any]:
    """What several tests use on the live service, by name: responses, or a text that says why there are none."""
    return {}


def once(sent_once: dict[str, Any], name: str, send: Callable[[], Any]) -> Any:
    """The result of `send` for the first test that asks; the same one for the others. They are skipped without it."""
    if name not in sent_once:
        # the service may have charged for a lost one, so no test sends another one
        sent_once[name] = f"the {name} that several rules use had no usable response"
        try:
            sent_once[name] = send()
        except pytest.skip.Exception as reason:
            sent_once[name] = str(reason)
            raise
    if isinstance(sent_once[name], str):
        pytest.skip(sent_once[name])
    return sent_once[name]


@pytest.fixture
def shared_response(service: Service, request: pytest.FixtureRequest, sent_once: dict[str, Any]) -> httpx.Response:
    """The response to the create request that the rule names by `shared`.

    A new one on a mock; one for all its rules on the live service, with an Idempotency-Key of this run.
    """
    name = request.node.stash[plugin.RULE].shared
    headers = {"Idempotency-Key": f"verify-{time.time_ns()}"} if name == "explicit" else {}

    def send() -> httpx.Response:
        return service.create(headers=headers, **SHARED_ORDERS[name])

    def send_to_service() -> httpx.Response:
        # where the free response is not the documented one, nothing is bought
        service.balance()
        return send()

    if service.is_mock:
        return send()
    response: httpx.Response = once(sent_once, f"{name} create request", send_to_service)
    service.remember(response)
    return response


@pytest.fixture
def shared_task(shared_response: httpx.Response) -> Any:
    """The JSON of `shared_response`."""
    return accepted(shared_response)


@pytest.fixture
def polls(
    service: Service, shared_task: Any, wait: Callable[[float], Any], sent_once: dict[str, Any]
) -> list[httpx.Response]:
    """Polls of the shared task from its create request to its end and some after it.

    On a mock one each second until five seconds after the end; on the live service every `POLL_SECONDS`, and two after
    the end, for all rules once.
    """
    path = f"/v1/tasks/{shared_task['id']}"

    def poll(count: int, seconds: float) -> list[httpx.Response]:
        found = []
        for _ in range(count):
            found.append(service.get(path))
            wait(seconds)
        return found

    def poll_to_the_end() -> list[httpx.Response]:
        found = poll(1, 0)
        while len(found) < MAX_POLLS and accepted(found[-1])["status"] in ("pending", "processing"):
            wait(POLL_SECONDS)
            found += poll(1, 0)
        wait(AFTER_SECONDS)
        return [*found, *poll(2, AFTER_SECONDS)]

    if service.is_mock:
        return poll(int(GENERATION) + 6, 1)
    found: list[httpx.Response] = once(sent_once, "polls of the task", poll_to_the_end)
    service.remember(found[-1])
    return found


@pytest.fixture
def views(polls: list[httpx.Response]) -> list[Any]:
    """The task as each of the `polls` shows it."""
    return [accepted(poll) for poll in polls]


@pytest.fixture
def completed_views(service: Service, views: list[Any]) -> list[Any]:
    """`views` of a task that did not fail. On the live service any task may fail."""
    if not service.is_mock and views[-1]["status"] == "failed":
        pytest.skip(f"the task failed: {views[-1].get('error')}")
    return views


@pytest.fixture
def now(target: Target, request: pytest.FixtureRequest) -> Callable[[], float]:
    """The time in Unix seconds: of the account's clock on a mock, of this machine for the live service."""
    if target.is_mock:
        clock = request.getfixturevalue("mock").clock
        return lambda: float(clock.now)
    return lambda: datetime.now(UTC).timestamp()
