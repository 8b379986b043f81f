"""What a URL is, and the guard that stands between the suite and the live service."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, Final

from sora_mock.verify.target import CREDITS, LARGEST_REPLY

READY: Final = "sora-mock guard ready on "
START: Final = 15.0
"""Real seconds that the guard has to say that it is ready."""


class NoTarget(Exception):
    """Nothing answers at the URL."""


class NotAService(Exception):
    """Something answers that is neither a mock nor the service."""


class NoGuard(Exception):
    """The guard did not start; the text is what it said."""


def connect() -> Any:
    """The HTTP client of a run: no redirects, no proxies of the environment, nothing compressed."""
    import httpx

    limits = httpx.Limits(max_connections=32)
    return httpx.Client(
        timeout=15, follow_redirects=False, trust_env=False, headers={"Accept-Encoding": "identity"}, limits=limits
    )


def has_control_api(http: Any, url: str) -> bool:
    """Whether a mock answers at `url`. No key is sent. Raises NoTarget and NotAService."""
    status, body = _ask(http, url + "/__mock/health")
    if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
        return True
    status, body = _ask(http, url + CREDITS)
    if status >= 502:
        raise NoTarget(f"{url} answers {status}")
    if not isinstance(body, dict) or not {"error", "data"} & body.keys():
        raise NotAService(f"{url} is neither a mock nor the service: GET {CREDITS} is answered {status} without JSON")
    return False


def _ask(http: Any, url: str) -> tuple[int, Any]:
    import httpx

    try:
        with http.stream("GET", url) as answer:
            body = b""
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > LARGEST_REPLY:
                    raise NotAService(f"{url} answers without end")
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise NoTarget(f"{url} does not answer: {type(problem).__name__}: {problem}") from None
    try:
        return answer.status_code, httpx.Response(200, content=body).json()
    except ValueError:
        return answer.status_code, None


@contextmanager
def guarded(arguments: Sequence[str]) -> Iterator[str]:
    """The address of a guard of our own, `sora-mock guard` with these flags, ended afterwards. Raises NoGuard."""
    # it ends when its standard input does, so also when we are killed; a Ctrl-C is for us alone
    command = [sys.executable, "-P", "-m", "sora_mock.cli.child", "guard", *arguments]
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: Queue[str] = Queue()
    reader = Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        yield _ready_url(lines)
    finally:
        process.terminate()
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(START)
        process.stdout.close()


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _ready_url(lines: "Queue[str]") -> str:
    try:
        line = lines.get(timeout=START)
    except Empty:
        raise NoGuard(f"the guard was not ready within {START:g} s") from None
    if not line.startswith(READY):
        raise NoGuard("the guard did not start" + (f": {line.strip()[:200]}" if line.strip() else ""))
    return line.removeprefix(READY).strip().rstrip("/")
