"""Finds out what the target is, and puts the guard in front of a live one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sora_mock.client.http import Client, Unreachable
from sora_mock.domain.delivery import http_url
from sora_mock.guard import probe
from sora_mock.runtime.package_data import contract_document
from sora_mock.verify import live
from sora_mock.verify.choice import rejection_budget
from sora_mock.verify.exits import EXIT_UNREACHABLE, EXIT_USAGE, Stop

PLACEHOLDER: Final = "contract-live"
"""The guard replaces this key with the real one (docs/guard.md)."""

GUARDED: Final = "x-sora-mock-guard"
"""A header of the guard's own responses."""

FINDING: Final = "x-sora-mock-guard-finding"
"""A header that the guard adds to a response of the service that contained the key."""


@dataclass(frozen=True)
class Target:
    """The server under test.

    url: where the tests send their requests; for the live service, that of the guard. shown_url: as the user wrote it.
    ledger: the file in which the guard counts; None without a guard.
    """

    url: str
    is_mock: bool
    shown_url: str
    ledger: str | None = None

    @property
    def kind(self) -> str:
        """`mock` or `live`, as reports and the evidence name it."""
        return "mock" if self.is_mock else "live"


def target_url(text: str | None) -> str:
    """The origin of the target, perhaps with a path after it. Raises Stop."""
    parts = http_url(text or "")
    if parts is None or parts.username:
        raise Stop(EXIT_USAGE, f"expected a URL such as http://127.0.0.1:4010, got {text!r}")
    return str(text).rstrip("/")


def is_documented(url: str) -> bool:
    """Whether this is the address of the service that its contract names."""
    return any(f"{url}/".startswith(f"{server['url']}/") for server in contract_document()["servers"])


def is_mock(url: str, *, is_live: bool = False) -> bool:
    """Whether the server at `url` is a mock that the suite may steer. This sends no key. Raises Stop.

    is_live: the user says that a server without a control API is the service. Then what is wrong with its responses is
    a finding of the rules.
    """
    try:
        with probe.connect() as http:
            found = probe.has_control_api(http, url, is_service=is_live or is_documented(url))
    except probe.NoTarget as problem:
        raise Stop(EXIT_UNREACHABLE, str(problem)) from None
    except probe.NotAService as problem:
        raise Stop(EXIT_USAGE, str(problem)) from None
    if found:
        _check_access(url)
    return found


def check_live(url: str, options: Any) -> None:
    """Raises Stop unless the flags and the environment let the suite use the server at `url` as the live service."""
    if not options.live and not is_documented(url):
        reason = f"{url} has no control API and is not the documented address of the service: if it is the service, "
        raise Stop(EXIT_USAGE, f"{reason}add --live, which sends it the key in {options.api_key_env}")
    if not os.environ.get(options.api_key_env):
        reason = f"{url} has no control API, so it is the live service: {options.api_key_env} is not set"
        raise Stop(EXIT_USAGE, reason)
    if rejection_budget(options.max_credits, options.surprise_credits) > options.max_credits:
        raise Stop(EXIT_USAGE, "--surprise-credits is a part of --max-credits and cannot be more")


def target_of(url: str, options: Any) -> Target:
    """The target at `url`; a live one has no guard yet. This sends no key. Raises Stop.

    options: has the values of the flags as attributes (docs/verify.md).
    """
    found = is_mock(url, is_live=options.live)
    if not found:
        check_live(url, options)
    return Target(url, found, url)


@contextmanager
def guarded(target: Target, options: Any) -> Iterator[Target]:
    """A live target through a guard of its own. Raises Stop before anything is sent with a key."""
    with tempfile.TemporaryDirectory(prefix="sora-mock-ledger-") as folder:
        ledger = str(options.ledger or Path(folder, "ledger.jsonl"))
        try:
            with live.guarded(_guard_flags(target.url, options, ledger)) as guard_url:
                yield replace(target, url=guard_url, ledger=ledger)
        except live.NoGuard as problem:
            raise Stop(EXIT_USAGE, str(problem)) from None


def _check_access(url: str) -> None:
    """Raises Stop unless the suite may use the control API of the mock; without it, no rule can be checked."""
    try:
        status, body = Client(url, "sk-verify-leave").call("GET", "/clock")
    except ValueError:
        raise Stop(EXIT_USAGE, f"{url} is a mock: give its address without a path") from None
    except Unreachable as problem:
        raise Stop(EXIT_UNREACHABLE, f"{url} does not respond: {problem}") from None
    if status == 200 and not (isinstance(body, dict) and isinstance(body.get("now"), float | int)):
        raise Stop(EXIT_USAGE, f"{url} is no mock of this kind: GET /__mock/clock gets {str(body)[:80]}")
    if status != 200:
        raise Stop(EXIT_USAGE, f"the mock at {url} does not let the suite use its control API ({status}): {body}")


def _guard_flags(url: str, options: Any, ledger: str) -> list[str]:
    flags = ["--target", url, "--ledger", ledger, "--max-credits", f"{options.max_credits:.4f}", "--port", "0"]
    flags += ["--api-key-env", options.api_key_env]
    if options.surprise_credits is not None:
        flags += ["--surprise-credits", f"{options.surprise_credits:.4f}"]
    if options.record is not None:
        flags += ["--record", str(options.record)]
    return flags
