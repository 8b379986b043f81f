"""The fixtures of the contract suite. `sora-mock verify URL` and `pytest contract_tests --base-url URL` use them."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from contract_tests.orders import GENERATION
from contract_tests.service import Service, Transport, accepted
from sora_mock.client import Account
from sora_mock.verify import plugin
from sora_mock.verify.target import PLACEHOLDER, Target

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
def _shared() -> dict[str, Any]:
    """The create request that several tests use on the live service: its response, or why there is none."""
    return {}


@pytest.fixture
def shared_task(service: Service, _shared: dict[str, Any]) -> Any:
    """The JSON of the response to a create request: a new one on a mock, one for all tests on the live service."""
    if service.is_mock:
        return service.created()
    if "response" not in _shared:
        if "lost" in _shared:
            # the service may have charged for it, so no test sends another one
            pytest.skip("the create request that several rules use was lost")
        _shared["lost"] = True
        _shared["response"] = service.create()
    return accepted(_shared["response"])


@pytest.fixture
def now(target: Target, request: pytest.FixtureRequest) -> Callable[[], float]:
    """The time in Unix seconds: of the account's clock on a mock, of this machine for the live service."""
    if target.is_mock:
        clock = request.getfixturevalue("mock").clock
        return lambda: float(clock.now)
    return lambda: datetime.now(UTC).timestamp()
