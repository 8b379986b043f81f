"""`sora-mock drift RECORDING`: the recorded exchanges replayed against a mock, and every difference printed."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sora_mock.drift.compare import Difference
from sora_mock.drift.recording import BadRecording, Exchange, read
from sora_mock.drift.replay import NoAnswer, Replay
from sora_mock.verify import live

FINE, DRIFTED, USAGE, UNREACHABLE = 0, 1, 2, 5
"""Exit codes (docs/drift.md)."""

Found = dict[tuple[str, Difference], list[int]]
"""The lines of the recording at which each difference of a route was seen."""


class BadTarget(Exception):
    """A target that is no mock: nothing was replayed against it."""


def run(options: argparse.Namespace) -> int:
    """The command. options: recording, target. Whatever stops it is one line on standard error."""
    try:
        exchanges = read(Path(options.recording))
        with _target(options.target) as url:
            found = replayed(url, exchanges)
    except (BadRecording, BadTarget) as problem:
        return _stopped(USAGE, problem)
    except (live.NoTarget, NoAnswer) as problem:
        return _stopped(UNREACHABLE, problem)
    _print(found, exchanges)
    return DRIFTED if any(difference.severity == "failure" for _, difference in found) else FINE


def replayed(url: str, exchanges: Sequence[Exchange]) -> Found:
    """The differences of a whole recording. Raises NoAnswer."""
    found: Found = {}
    with live.connect() as http, Replay(url, http) as replay:
        for exchange in exchanges:
            if not can_be_replayed(exchange):
                continue
            for difference in replay.step(exchange):
                found.setdefault((exchange.route, difference), []).append(exchange.line)
    return found


def can_be_replayed(exchange: Exchange) -> bool:
    """Whether there is a reply to compare, and the request was kept whole."""
    return exchange.reply is not None and exchange.request.body.size is None


def _stopped(code: int, problem: Exception) -> int:
    print(f"sora-mock drift: {problem}", file=sys.stderr)
    return code


@contextmanager
def _target(url: str | None) -> Iterator[str]:
    """The origin of the mock: the given one, or one of our own. Raises BadTarget and live.NoTarget."""
    if url is not None:
        yield _checked(url)
        return
    from sora_mock.server import MockServer

    with MockServer(port=0, seed=0, quiet=True) as mock:
        yield mock.url


def _checked(url: str) -> str:
    """A replay creates tasks: whatever has no control API gets none of it."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment:
        raise BadTarget(f"--target must be a mock's URL such as http://127.0.0.1:4010, got {url[:80]!r}")
    origin = f"{parts.scheme}://{parts.netloc}"
    with live.connect() as http:
        try:
            if live.has_control_api(http, origin):
                return origin
        except live.NotAService as problem:
            raise BadTarget(str(problem)) from None
    raise BadTarget(f"{origin} has no control API: a recording is replayed against mocks alone")


_COLUMNS: Final = ("severity", "route", "what", "recorded", "mock", "lines")


def _print(found: Found, exchanges: Sequence[Exchange]) -> None:
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
    """Where in the recording: the first three lines and how many more."""
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ", ".join(map(str, lines[:3])) + more
