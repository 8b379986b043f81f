"""`pytest contract_tests --base-url URL`: the rules as tests, with the same ids and the same guard.

Without a URL, the suite starts a mock.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest

from sora_mock.verify import command, evidence
from sora_mock.verify.flags import API_KEY_ENV, MAX_EXAMPLES, count, credits_
from sora_mock.verify.runner import CheckResult
from sora_mock.verify.session import VerifySession


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags of `sora-mock verify`, except those that pytest has itself."""
    group = parser.getgroup("contract")
    group.addoption("--base-url", help="a mock, or the live service; without it a mock is started")
    group.addoption("--max-credits", type=_type(credits_), default=0.0, help="credits to spend on a live target (0)")
    group.addoption(
        "--surprise-credits", type=_type(credits_), help="part of them for requests that the service should reject"
    )
    group.addoption("--api-key-env", default=API_KEY_ENV, help="variable of the live key")
    group.addoption("--contract-seed", type=int, default=0, help="another seed, other accounts (0)")
    group.addoption(
        "--max-examples", type=_type(count), default=MAX_EXAMPLES, help=f"generated requests ({MAX_EXAMPLES})"
    )
    group.addoption("--ledger", help="a ledger for several live runs")
    group.addoption("--record", help="the guard's recording of a live run")
    group.addoption("--evidence", type=Path, help="file that keeps outcome and date of each check")
    group.addoption("--only", action="append", default=[], help="ids of rules to run, as in auth.*")
    group.addoption("--skip", action="append", default=[], help="ids of rules to leave out")


def _type(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader of click as a type for argparse, which reads pytest's flags."""

    def converted(text: str) -> Any:
        try:
            return read(text)
        except click.BadParameter as problem:
            raise argparse.ArgumentTypeError(problem.message) from None

    return converted


def _options(config: pytest.Config, url: str) -> argparse.Namespace:
    return argparse.Namespace(
        url=url,
        max_credits=config.getoption("--max-credits"),
        surprise_credits=config.getoption("--surprise-credits"),
        api_key_env=config.getoption("--api-key-env"),
        seed=config.getoption("--contract-seed"),
        max_examples=config.getoption("--max-examples"),
        ledger=config.getoption("--ledger"),
        record=config.getoption("--record"),
        only=config.getoption("--only"),
        skip=config.getoption("--skip"),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each rule."""
    if "contract_rule" in metafunc.fixturenames:
        try:
            rules = command.matching_rules(_options(metafunc.config, ""))
        except command.Stop as stop:
            pytest.exit(f"contract: {stop}", stop.code)
        metafunc.parametrize("contract_rule", rules, ids=[rule.id for rule in rules])


@pytest.fixture(scope="session")
def contract_session(pytestconfig: pytest.Config) -> Iterator[VerifySession]:
    """The target, behind a guard unless it is a mock."""
    with ExitStack() as stack:
        url = pytestconfig.getoption("--base-url")
        if url is None:
            from sora_mock.server import MockServer

            url = stack.enter_context(MockServer(port=0, seed=1)).url
        try:
            options = _options(pytestconfig, command.target_url(url))
            session = stack.enter_context(command.opened(options.url, options))
        except command.Stop as stop:
            pytest.exit(f"contract: {stop}", stop.code)
        yield session


@pytest.fixture(scope="session")
def contract_results(pytestconfig: pytest.Config, contract_session: VerifySession) -> Iterator[list[CheckResult]]:
    """The results so far. The fixture writes them to the evidence file at the end."""
    results: list[CheckResult] = []
    yield results
    path = pytestconfig.getoption("--evidence")
    if path is not None:
        evidence.keep(path, results, "mock" if contract_session.control else "live")


@pytest.fixture(scope="session")
def unaffordable(pytestconfig: pytest.Config, contract_session: VerifySession) -> dict[str, str]:
    """The reason for each rule that cannot run, by id."""
    options = _options(pytestconfig, contract_session.url)
    try:
        others = command.chosen_rules(contract_session, command.matching_rules(options), options)[1]
    except command.Stop as stop:
        pytest.exit(f"contract: {stop}", stop.code)
    return {result.rule.id: result.reason for result in others}
