"""`sora-mock guard`: checks the flags, opens the ledger and runs the proxy until a signal."""

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sora_mock.domain.contract import Contract
from sora_mock.domain.delivery import http_url
from sora_mock.domain.ledger import to_credits, to_units
from sora_mock.guard.ledger import LedgerError, SpendingLedger, SpendingLimits
from sora_mock.guard.pricing import CHEAPEST, HIGHEST, Pricing
from sora_mock.guard.secret import Secret
from sora_mock.runtime.package_data import contract_document

TIMEOUT: Final = 60.0
"""Real seconds that the service has for each step of a response."""


class GuardError(Exception):
    """The guard cannot start. The text is one line with the reason."""


def limits(max_credits: str, rejection_credits: str | None) -> SpendingLimits:
    """The main budget and the rejection budget of a cap. Raises GuardError.

    By default the rejection budget pays for one task at the highest price, if the rest of the cap pays for one task at
    the lowest price. Otherwise it is 0.
    """
    cap = _units("--max-credits", max_credits)
    if rejection_credits is None:
        return SpendingLimits(cap, HIGHEST if cap >= HIGHEST + CHEAPEST else 0)
    rejection = _units("--surprise-credits", rejection_credits)
    if rejection > cap:
        raise GuardError(f"--surprise-credits {rejection_credits} is more than --max-credits {max_credits}")
    return SpendingLimits(cap, rejection)


def _units(flag: str, text: str) -> int:
    try:
        return to_units(text)
    except ValueError as problem:
        raise GuardError(f"bad value {text[:40]!r} for {flag}: {problem}") from None


def target_url(text: str) -> str:
    """The service's URL, checked. Raises GuardError."""
    parts = http_url(text)
    if parts is None or "@" in parts.netloc or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise GuardError(f"--target must be a URL such as https://api.evolink.ai, got {text[:80]!r}")
    return text.rstrip("/")


def serve(options: Mapping[str, Any], environment: Mapping[str, str], announce: Callable[[str], None]) -> None:
    """Runs until SIGINT or SIGTERM and calls `announce` with the URL. Raises GuardError before it sends anything.

    options: the flags as the user typed them; their names are those of the command line.
    """
    target = target_url(options["target"])
    spending = limits(options["max_credits"], options["surprise_credits"])
    name = options["api_key_env"]
    try:
        secret = Secret(environment[name].strip().encode())
    except KeyError:
        raise GuardError(f"the environment variable {name} (--api-key-env) is not set") from None
    except ValueError as problem:
        raise GuardError(f"the environment variable {name} (--api-key-env) cannot be used: {problem}") from None
    try:
        # these need httpx, which only the extra `verify` installs
        from sora_mock.guard.recording import Recording, RecordingError
        from sora_mock.guard.upstream import Upstream
    except ModuleNotFoundError as missing:
        raise GuardError(f"{missing.name} is not installed; pip install 'sora-mock[verify]'") from None
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(options["port"]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if target in (url, url.replace("127.0.0.1", "localhost")):
            raise GuardError(f"--target {target} is the guard itself")
        try:
            recording = options["record"] and Recording(Path(options["record"]), target, secret)
            path = Path(options["ledger"] or _own_ledger())
            ledger = SpendingLedger(path, spending)
        except (RecordingError, LedgerError) as problem:
            raise GuardError(str(problem)) from None
        # this needs httpx too
        from sora_mock.guard.proxy import GuardProxy

        guard = GuardProxy(Upstream(target, TIMEOUT), secret, ledger, Pricing(Contract(contract_document())), recording)
        if target.startswith("http://") and urlsplit(target).hostname not in ("127.0.0.1", "localhost", "::1"):
            guard.say("the key goes to the target unencrypted: it is no https URL")
        guard.say(f"ledger {path}: spent {to_credits(ledger.book().spent)} of {to_credits(spending.cap)} credits")
        _run(guard, listener, lambda: announce(url))
        guard.say(f"spent {to_credits(ledger.book().spent)} of {to_credits(spending.cap)} credits")
        ledger.close()
        if recording:
            recording.close()
        if not options["ledger"]:
            path.unlink(missing_ok=True)


def _own_ledger() -> str:
    """A new file. The guard removes it at the end; after a crash its user finds it by its name."""
    try:
        file, path = tempfile.mkstemp(prefix="sora-mock-ledger-", suffix=".jsonl")
    except OSError as problem:
        raise GuardError(f"cannot make a ledger, name one with --ledger: {problem.strerror}") from None
    os.close(file)
    return path


def _listen(port: str) -> socket.socket:
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise GuardError(f"bad value {port[:40]!r} for --port: expected a whole number from 0 to 65535")
    try:
        return socket.create_server(("127.0.0.1", int(port)), backlog=2048)
    except OSError as problem:
        # behind the reason `create_server` names the address once more
        reason = str(problem.strerror).partition(" (while")[0]
        raise GuardError(f"cannot listen on 127.0.0.1 port {port}: {reason}") from None


def _run(guard: Any, listener: socket.socket, ready: Callable[[], None]) -> None:
    # the guard handles signals and open requests as the mock does; the server is loaded only to run
    from sora_mock.server import Server, configured, unreported

    config = configured(guard)
    config.date_header = False
    with unreported():
        Server(config, ready).run([listener])
