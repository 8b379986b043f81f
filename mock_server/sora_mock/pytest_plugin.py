"""The pytest fixture `sora_mock`: one server for the session, an account for each test. PYTEST_DONT_REWRITE

Every pytest run of every project where sora-mock is installed loads this file. So it only declares, and each function
imports what it needs when it first runs.
"""

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sora_mock.client.account import Account
    from sora_mock.session import MockSession

SESSION = pytest.StashKey["MockSession"]()
ACCOUNT = pytest.StashKey["Account"]()
JOURNAL = "sora-mock journal"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the settings in pytest's ini file."""
    parser.addini("sora_mock_args", "flags of `sora-mock serve` for the session's server", type="args", default=[])
    parser.addini("sora_mock_env", "set the variables of SDKs for the session", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Checks the settings in the ini file. Raises UsageError."""
    for name in ("sora_mock_args", "sora_mock_env"):
        try:
            value = config.getini(name)
            if isinstance(value, list) and not all(isinstance(each, str) for each in value):
                raise TypeError(f"expected a list of texts, got {value!r}")
        except (TypeError, ValueError, pytest.UsageError) as problem:
            raise pytest.UsageError(f"{name} in {config.inipath}: {problem}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """With `sora_mock_env`, starts the server before pytest imports a file that may read the variables.

    Under pytest-xdist the process that starts the workers does this: they inherit the variables, so they share the
    server.
    """
    if session.config.getini("sora_mock_env"):
        try:
            _session(session.config).export()
        except pytest.fail.Exception as problem:
            raise pytest.UsageError(str(problem)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """A line if the flags in the ini file have no effect, because the server runs already."""
    found, url = config.stash.get(SESSION, None), os.environ.get("SORA_MOCK_URL")
    if not url or not config.getini("sora_mock_args") or (found is not None and found.process is not None):
        return None
    return f"sora-mock: using {url} (SORA_MOCK_URL), sora_mock_args are not applied"


def _session(config: pytest.Config) -> "MockSession":
    """The server of the session; the first use starts it. Raises pytest.fail.Exception."""
    found = config.stash.get(SESSION, None)
    if found is None:
        # only a run that uses a fixture, or has the setting above, needs the module
        from sora_mock.session import MockSession

        url, flags = os.environ.get("SORA_MOCK_URL"), config.getini("sora_mock_args")
        found = MockSession(url, flags, config.rootpath, env=config.getini("sora_mock_env"))
        config.stash[SESSION] = found
        config.add_cleanup(found.close)
    return found


@pytest.fixture(scope="session")
def sora_mock_url(pytestconfig: pytest.Config) -> str:
    """The URL of the session's server, for fixtures that live longer than a test."""
    return _session(pytestconfig).url


@pytest.fixture
def sora_mock(request: pytest.FixtureRequest, sora_mock_url: str) -> "Iterator[Account]":
    """The account of this test on a running mock: `sora_mock.url`, `.headers`, `.clock`, `.scenario(...)`."""
    with _session(request.config).account(request.node.nodeid) as account:
        request.node.stash[ACCOUNT] = account
        yield account


# not a `wrapper`: pluggy knows it since 1.2 only, and with an older one no pytest run would start
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> "Generator[None, Any, None]":
    """Adds the journal of the test's account to the report of a failure; JUnit files have it as a property."""
    report = (yield).get_result()
    account = item.stash.get(ACCOUNT, None)
    if report.failed and account is not None:
        journal = _session(item.config).journal(account)
        report.sections.append((JOURNAL, journal))
        # pytest writes the properties of a test when the test has ended
        item.user_properties.append((JOURNAL, journal))
        report.user_properties.append((JOURNAL, journal))
