"""The server of one pytest session, its own or one that runs already, and the accounts of the tests."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from sora_mock.client import Account, Refused, Unreachable, wait
from sora_mock.process import ServerProcess, StartError

PATIENCE: Final = 5.0
"""Real seconds that a server which should be there gets to answer."""

LAST_MOMENTS: Final = 1.5
"""Real seconds that a server which does not answer gets to be over: one that was told to stop needs so long."""


class NoServer(Exception):
    """There is nothing to test with; the text is one line that says why."""


class Session:
    """Uses the server at `url`, or starts one with these flags where that is None. Raises NoServer.

    folder: where the settings file of a server that is started is looked for. env: whether SDKs' variables are set.
    """

    def __init__(self, url: str | None, flags: Sequence[str], folder: Path, *, env: bool) -> None:
        self.process: ServerProcess | None = None
        self.token: str | None = None
        self.env = env
        self._variables = pytest.MonkeyPatch()
        if url:
            self.url = _reached(url)
            return
        # ids and draws repeat from run to run, unless the user chose otherwise
        seed = () if os.environ.get("SORA_MOCK_SEED") else ("--seed", "1")
        try:
            self.process = ServerProcess([*seed, *flags], folder)
        except StartError as problem:
            raise NoServer(f"the server did not start: {problem}") from None
        self.url = self.process.url
        self.token = self.process.token

    def export(self) -> None:
        """Sets the variables of SDKs until the session is closed."""
        for name in ("SORA_MOCK_URL", "EVOLINK_BASE_URL", "TEST_API_BASE_URL"):
            self._variables.setenv(name, self.url)
        self._variables.setenv("EVOLINK_API_KEY", _key("the session"))
        if self.token is not None:
            self._variables.setenv("SORA_MOCK_CONTROL_TOKEN", self.token)

    @contextmanager
    def account(self, node_id: str) -> Iterator[Account]:
        """The account of a test, as new. Raises NoServer."""
        account = Account(self.url, _key(node_id), token=self.token)
        try:
            account.reset()
        except Unreachable as problem:
            raise NoServer(self.fate() or str(problem)) from None
        except Refused as problem:
            raise NoServer(f"{self.url} refuses the account of this test: {problem}") from None
        with pytest.MonkeyPatch.context() as variables:
            if self.env:
                variables.setenv("EVOLINK_API_KEY", account.api_key)
            yield account

    def journal(self, account: Account) -> str:
        """What happened on the account, or why that cannot be told; never raises.

        A test may have closed the network to us, and its own failure must be reported all the same.
        """
        try:
            return account.journal()
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as problem:
            return self.fate() or f"not to be had: {type(problem).__name__}: {problem}"

    def fate(self) -> str | None:
        """What became of a server that was started here; None while it lives."""
        return None if self.process is None else self.process.fate(LAST_MOMENTS)

    def close(self) -> None:
        """Ends what was started, and takes the variables back."""
        self._variables.undo()
        if self.process is not None:
            self.process.stop()


def _key(node_id: str) -> str:
    """The same test has the same key in every run."""
    return f"sk-pytest-{sha256(node_id.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


def _reached(url: str) -> str:
    """The URL of a mock that answers there. Raises NoServer."""
    try:
        ready = wait(url, PATIENCE)
    except ValueError as problem:
        raise NoServer(f"SORA_MOCK_URL: {problem}") from None
    if not ready:
        raise NoServer(f"no mock answered at SORA_MOCK_URL {url} within {PATIENCE:g} s")
    return url.rstrip("/")
