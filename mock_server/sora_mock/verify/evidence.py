"""The evidence file: date and outcome of the last check of each rule, for mocks and for the live service."""

import json
import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sora_mock.guard.file_lock import locked
from sora_mock.verify.results import FAILED, PASSED, UNVERIFIED, Result

Evidence = dict[str, dict[str, dict[str, str]]]
"""`date` and `outcome` by rule id and `mock` or `live`."""

TARGETS: Final = ("mock", "live")


class BadEvidence(Exception):
    """The file is not an evidence file. The text is one line with its name."""


def read(path: Path) -> Evidence:
    """The content of the file, empty if the file does not exist. Raises BadEvidence."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise BadEvidence(f"cannot read the evidence file {path}: {problem}") from None
    if not isinstance(found, dict) or not all(_is_entry(entry) for entry in found.values()):
        raise BadEvidence(
            f"{path} is not an evidence file: expected rules with mock and live, each a date and an outcome"
        )
    return found


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        target in TARGETS
        and isinstance(check, dict)
        and check.keys() == {"date", "outcome"}
        and check["outcome"] in (PASSED, FAILED)
        and isinstance(check["date"], str)
        for target, check in entry.items()
    )


def check(path: Path | None) -> None:
    """Raises BadEvidence for a file that is there and is no evidence file."""
    if path is not None:
        read(path)


def updated(evidence: Evidence, results: Iterable[Result], target: str) -> Evidence:
    """The evidence with today's outcomes. A rule that was not checked keeps its old entry."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    changed = {name: dict(entry) for name, entry in evidence.items()}
    for result in results:
        if result.outcome != UNVERIFIED:
            changed.setdefault(result.rule.id, {})[target] = {"date": today, "outcome": result.outcome}
    return changed


def keep(path: Path, results: Iterable[Result], target: str) -> Evidence:
    """Adds today's outcomes to the file and returns its new content. Raises BadEvidence and OSError.

    Another run may have written the file, so this reads it again under a lock. It replaces the whole file, so that an
    interrupted run leaves the old one. If the system does not allow that, it writes the file in place.
    """
    name = sha256(str(path.resolve()).encode()).hexdigest()[:16]
    # in the temporary folder: beside the evidence file, the lock file would remain
    lock = os.open(Path(tempfile.gettempdir()) / f"sora-mock-evidence-{name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with locked(lock):
            evidence = updated(read(path), results, target)
            _write(path, json.dumps(evidence, indent=1, sort_keys=True) + "\n")
            return evidence
    finally:
        os.close(lock)


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError:
        # a folder has that name, or the file is a mount point that cannot be replaced
        if beside.is_file():
            beside.unlink()
        path.write_text(text, encoding="utf-8")


def last_outcome(evidence: Evidence, rule_id: str, target: str) -> str:
    """`proved on DATE`, `broken on DATE` or `never verified`."""
    check = evidence.get(rule_id, {}).get(target)
    if check is None:
        return "never verified"
    return f"{'proved' if check['outcome'] == PASSED else 'broken'} on {check['date']}"
