"""`sora-mock drift RECORDING`: replays the recorded exchanges against a mock and prints every difference.

With `--suggest` it prints the settings that the recording shows instead.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sora_mock.domain.delivery import http_url
from sora_mock.drift.compare import Difference
from sora_mock.drift.recording import BadRecording, RecordedExchange, read
from sora_mock.drift.replay import MockFailed, Replay
from sora_mock.drift.suggest import suggestions, toml
from sora_mock.guard import probe
from sora_mock.runtime.console import complain

PROGRAM: Final = "sora-mock drift"
EXIT_OK, EXIT_DRIFTED, EXIT_USAGE, EXIT_UNREACHABLE = 0, 1, 2, 5
"""Exit codes (docs/drift.md)."""

Differences = dict[tuple[str, Difference], list[int]]
"""By route and difference: the lines of the recording where it occurs."""


class BadTarget(Exception):
    """The target is not a mock. Nothing was sent to it except a health check."""


def run(recording: Path, target: str | None) -> int:
    """Runs the command and returns the exit code. An error is one line on standard error.

    target: a URL, None for a mock of its own.
    """
    try:
        exchanges = read(recording)
        with _target(target) as url:
            found = replayed(url, exchanges)
    except (BadRecording, BadTarget) as problem:
        complain(str(problem), PROGRAM)
        return EXIT_USAGE
    except (probe.NoTarget, MockFailed) as problem:
        complain(str(problem), PROGRAM)
        return EXIT_UNREACHABLE
    _print(found, exchanges)
    return EXIT_DRIFTED if any(difference.severity == "failure" for _, difference in found) else EXIT_OK


def suggest(recording: Path) -> int:
    """Prints the settings with which the mock behaves as the recorded service, and returns the exit code.

    An error is one line on standard error.
    """
    try:
        exchanges = read(recording)
    except BadRecording as problem:
        complain(str(problem), PROGRAM)
        return EXIT_USAGE
    print(toml(suggestions(exchanges)))
    return EXIT_OK


def replayed(url: str, exchanges: Sequence[RecordedExchange]) -> Differences:
    """The differences between the mock at `url` and a whole recording. Raises MockFailed."""
    found: Differences = {}
    with probe.connect() as http, Replay(url, http) as replay:
        for exchange in exchanges:
            if not can_be_replayed(exchange):
                continue
            for difference in replay.step(exchange):
                found.setdefault((exchange.route, difference), []).append(exchange.line)
    return found


def can_be_replayed(exchange: RecordedExchange) -> bool:
    """Whether the exchange has a response to compare and its whole request was recorded."""
    return exchange.response is not None and exchange.request.body.size is None


@contextmanager
def _target(url: str | None) -> Iterator[str]:
    """The origin of the mock: the given one, or that of a new one. Raises BadTarget and probe.NoTarget."""
    if url is not None:
        yield _checked(url)
        return
    # the server is not needed for a mock that runs already
    from sora_mock.server import MockServer

    with MockServer(port=0, seed=0, quiet=True) as mock:
        yield mock.url


def _checked(url: str) -> str:
    """The origin of a URL, after a check that it is a mock: a replay creates tasks. Raises BadTarget."""
    parts = http_url(url)
    if parts is None or parts.scheme != "http" or "@" in parts.netloc or parts.path.strip("/"):
        raise BadTarget(f"--target must be a mock's URL such as http://127.0.0.1:4010, got {url[:80]!r}")
    origin = f"{parts.scheme}://{parts.netloc}"
    with probe.connect() as http:
        try:
            if probe.has_control_api(http, origin):
                return origin
        except probe.NotAService as problem:
            raise BadTarget(str(problem)) from None
    raise BadTarget(f"{origin} has no control API: a recording can only be replayed against a mock")


_COLUMNS: Final = ("severity", "route", "what", "recorded", "mock", "lines")


def _print(found: Differences, exchanges: Sequence[RecordedExchange]) -> None:
    rows = [
        (each.severity, route, each.what, each.recorded, each.mock, _lines(lines))
        for (route, each), lines in sorted(found.items(), key=lambda item: (item[0][1].severity, item[1][0]))
    ]
    if rows:
        _table([_COLUMNS, *rows])
    counts = Counter(row[0] for row in rows)
    sent = sum(map(can_be_replayed, exchanges))
    skipped = f", {len(exchanges) - sent} could not be replayed" if sent < len(exchanges) else ""
    print(f"{sent} exchanges replayed{skipped}: {counts['failure']} failures, {counts['info']} for information")


def _table(rows: Sequence[tuple[Any, ...]]) -> None:
    plain = [[str(cell).encode("ascii", "backslashreplace").decode() for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in plain) for column in range(len(_COLUMNS))]
    for row in plain:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _lines(lines: Sequence[int]) -> str:
    """The first three numbers of lines, and how many more there are."""
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ", ".join(map(str, lines[:3])) + more
