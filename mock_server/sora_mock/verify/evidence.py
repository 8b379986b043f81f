"""What was proved when: per rule and kind of target the date and the outcome of the last check, kept in a file."""

import json
import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sora_mock.guard.file_lock import locked
from sora_mock.verify.runner import FAILED, PASSED, UNVERIFIED, CheckResult

Evidence = dict[str, dict[str, dict[str, str]]]
"""By rule id, then `mock` or `live`: `date` and `outcome`."""

TARGETS: Final = ("mock", "live")


class BadEvidence(Exception):
    """The file is not one of ours."""


def read(path: Path) -> Evidence:
    """What the file holds; nothing where there is none. Raises BadEvidence."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise BadEvidence(f"cannot read the evidence file {path}: {problem}") from None
    if not isinstance(found, dict) or not all(_is_entry(entry) for entry in found.values()):
        raise BadEvidence(f"{path} is no evidence file: expected rules with mock and live, each a date and an outcome")
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


def updated(evidence: Evidence, results: Iterable[CheckResult], target: str) -> Evidence:
    """With today's outcomes. A rule that was not checked keeps what was known of it."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    changed = {name: dict(entry) for name, entry in evidence.items()}
    for result in results:
        if result.outcome != UNVERIFIED:
            changed.setdefault(result.rule.id, {})[target] = {"date": today, "outcome": result.outcome}
    return changed


def keep(path: Path, results: Iterable[CheckResult], target: str) -> Evidence:
    """Takes today's outcomes into the file; gives what it holds then. Raises BadEvidence and OSError.

    Another run may have written meanwhile: the file is read again, under a lock. It is replaced as a whole, so that an
    interrupted run leaves the old one; where that is refused, it is written in place.
    """
    name = sha256(str(path.resolve()).encode()).hexdigest()[:16]
    # not beside the file, where it would stay for ever
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
        # a folder of that name, or a file that is mounted by itself and that nothing replaces
        if beside.is_file():
            beside.unlink()
        path.write_text(text, encoding="utf-8")


def standing(evidence: Evidence, rule_id: str, target: str) -> str:
    """`proved on DATE`, `broken on DATE` or `never verified`."""
    check = evidence.get(rule_id, {}).get(target)
    if check is None:
        return "never verified"
    return f"{'proved' if check['outcome'] == PASSED else 'broken'} on {check['date']}"
