"""The fixture `sora_mock`: one server for the session, an account of its own for each test. PYTEST_DONT_REWRITE

Everything but the declarations is imported when the fixture is first used: each pytest run of every project pays for
what stands here.
"""

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sora_mock.client.account import Account
    from sora_mock.session import Session

SESSION = pytest.StashKey["Session"]()
ACCOUNT = pytest.StashKey["Account"]()
JOURNAL = "sora-mock journal"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What pytest's ini file may say."""
    parser.addini("sora_mock_args", "flags of `sora-mock serve` for the session's server", type="args", default=[])
    parser.addini("sora_mock_env", "set the variables of SDKs for the session", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Raises UsageError for values in the ini file that cannot be used."""
    for name in ("sora_mock_args", "sora_mock_env"):
        try:
            value = config.getini(name)
            if isinstance(value, list) and not all(isinstance(each, str) for each in value):
                raise TypeError(f"expected a list of texts, got {value!r}")
        except (TypeError, ValueError, pytest.UsageError) as problem:
            raise pytest.UsageError(f"{name} in {config.inipath}: {problem}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Where variables are asked for, the server starts before anything is imported that may read them.

    Under pytest-xdist that is in the process that starts the workers: they inherit the variables, and so the server.
    """
    if session.config.getini("sora_mock_env"):
        from sora_mock.session import NoServer

        try:
            _session(session.config).export()
        except NoServer as problem:
            raise pytest.UsageError(f"sora-mock: {problem}") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Says so where flags have no effect, because the server runs already."""
    found, url = config.stash.get(SESSION, None), os.environ.get("SORA_MOCK_URL")
    if not url or not config.getini("sora_mock_args") or (found is not None and found.process is not None):
        return None
    return f"sora-mock: using {url} (SORA_MOCK_URL), sora_mock_args are not applied"


def _session(config: pytest.Config) -> "Session":
    """The session's server, started when it is first asked for. Raises NoServer."""
    found = config.stash.get(SESSION, None)
    if found is None:
        from sora_mock.session import Session

        url, flags = os.environ.get("SORA_MOCK_URL"), config.getini("sora_mock_args")
        found = Session(url, flags, config.rootpath, env=config.getini("sora_mock_env"))
        config.stash[SESSION] = found
        config.add_cleanup(found.close)
    return found


@pytest.fixture(scope="session")
def sora_mock_url(pytestconfig: pytest.Config) -> str:
    """Where the session's server listens, for fixtures that live longer than a test."""
    from sora_mock.session import NoServer

    try:
        return _session(pytestconfig).url
    except NoServer as problem:
        raise pytest.fail.Exception(f"sora-mock: {problem}", pytrace=False) from None


@pytest.fixture
def sora_mock(request: pytest.FixtureRequest, sora_mock_url: str) -> "Iterator[Account]":
    """An account of this test's own on a running mock: `sora_mock.url`, `.headers`, `.clock`, `.scenario(...)`."""
    from sora_mock.session import NoServer

    try:
        with _session(request.config).account(request.node.nodeid) as account:
            request.node.stash[ACCOUNT] = account
            yield account
    except NoServer as problem:
        raise pytest.fail.Exception(f"sora-mock: {problem}", pytrace=False) from None


# not a `wrapper`, which pluggy knows only since 1.2: with an older one no pytest run of the environment would begin
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> "Generator[None, Any, None]":
    """Attaches to a failure what the test's account was asked and answered; JUnit files have it as a property."""
    report = (yield).get_result()
    account = item.stash.get(ACCOUNT, None)
    if report.failed and account is not None:
        journal = _session(item.config).journal(account)
        report.sections.append((JOURNAL, journal))
        # pytest writes those of a test when it is over
        item.user_properties.append((JOURNAL, journal))
        report.user_properties.append((JOURNAL, journal))
