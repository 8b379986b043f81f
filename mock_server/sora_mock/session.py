"""The server of one pytest session, started for it or running already, and an account for each test."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from sora_mock.client import Account, Refused, Unreachable, wait
from sora_mock.process import ServerProcess, StartError, client_variables

MAX_WAIT_SECONDS: Final = 5.0
"""Real seconds in which a running server must respond."""

MAX_END_SECONDS: Final = 1.5
"""Real seconds to wait for the end of a server that does not respond: a server that is stopping needs so long."""


def no_server(reason: str) -> BaseException:
    """The failure of each test that needs a server, where there is none. reason: on one line."""
    return pytest.fail.Exception(f"sora-mock: {reason}", pytrace=False)


class MockSession:
    """Uses the server at `url`, or starts a server if that is None or empty. Raises pytest.fail.Exception.

    flags: of `serve`, for a server that it starts. folder: where that looks for its settings file. env: whether each
    test gets its API key as a variable of SDKs. process: the server that it started, None for one that runs already.
    """

    def __init__(self, url: str | None, flags: Sequence[str], folder: Path, *, env: bool) -> None:
        self.process: ServerProcess | None = None
        self.token: str | None = None
        self.env = env
        self._variables = pytest.MonkeyPatch()
        if url:
            self.url = _reached(url)
            return
        # ids and random choices repeat from run to run, unless the user sets a seed
        seed = () if os.environ.get("SORA_MOCK_SEED") else ("--seed", "1")
        try:
            self.process = ServerProcess(["--host", "127.0.0.1", *seed, *flags], folder)
        except StartError as problem:
            raise no_server(f"the server did not start: {problem}") from None
        self.url = self.process.url
        self.token = self.process.token

    def export(self) -> None:
        """Sets the variables of SDKs until `close`."""
        for name, value in client_variables(self.url, _key("the session"), self.token).items():
            self._variables.setenv(name, value)

    @contextmanager
    def account(self, node_id: str) -> Iterator[Account]:
        """The account of a test, reset to the state of a new account. Raises pytest.fail.Exception."""
        account = Account(self.url, _key(node_id), token=self.token)
        try:
            account.reset()
        except Unreachable as problem:
            raise no_server(self.fate() or str(problem)) from None
        except Refused as problem:
            raise no_server(f"{self.url} rejects the account of this test: {problem}") from None
        with pytest.MonkeyPatch.context() as variables:
            if self.env:
                variables.setenv("EVOLINK_API_KEY", account.api_key)
            yield account

    def journal(self, account: Account) -> str:
        """What happened on the account, or why the journal is not available; never raises.

        A test may have blocked the network, and pytest must still report the failure of that test.
        """
        try:
            return account.journal()
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as problem:
            return self.fate() or f"not available: {type(problem).__name__}: {problem}"

    def fate(self) -> str | None:
        """How a server that was started here ended; None while it lives."""
        return None if self.process is None else self.process.fate(MAX_END_SECONDS)

    def close(self) -> None:
        """Stops the server that was started here, and restores the variables."""
        self._variables.undo()
        if self.process is not None:
            self.process.stop()


def _key(node_id: str) -> str:
    """An API key that is the same in every run of a test."""
    return f"sk-pytest-{sha256(node_id.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


def _reached(url: str) -> str:
    """The URL, if a mock responds there. Raises pytest.fail.Exception."""
    try:
        ready = wait(url, MAX_WAIT_SECONDS)
    except ValueError as problem:
        raise no_server(f"SORA_MOCK_URL: {problem}") from None
    if not ready:
        raise no_server(f"no mock responds at SORA_MOCK_URL {url} within {MAX_WAIT_SECONDS:g} s")
    return url.rstrip("/")
