"""What is written at the end of a run: the evidence, the reports, the summary of a CI job."""

import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sora_mock.domain.ledger import to_credits
from sora_mock.guard.ledger import LedgerError, SpendingLedger, SpendingLimits
from sora_mock.verify import choice, evidence, report
from sora_mock.verify.exits import EXIT_USAGE, Stop
from sora_mock.verify.flags import API_KEY_ENV, MAX_EXAMPLES
from sora_mock.verify.results import Result
from sora_mock.verify.rule import Rule
from sora_mock.verify.target import Target


def repeat_command(target: Target, options: Namespace, rule: Rule) -> str:
    """The command that runs only this rule."""
    parts = [f"sora-mock verify {shlex.quote(target.shown_url)}"]
    parts += [f"--seed {options.seed}"] if options.seed else []
    parts += [f"--max-examples {options.max_examples}"] if options.max_examples != MAX_EXAMPLES else []
    if not target.is_mock:
        parts += [f"--api-key-env {options.api_key_env}"] if options.api_key_env != API_KEY_ENV else []
        parts += [flag for flag, given in (("--live", options.live), ("--sole-user", options.sole_user)) if given]
    return " ".join([*parts, choice.repeat_flags(rule, is_live=not target.is_mock)])


def check_writable(path: Path | None) -> None:
    """Raises Stop for a file that cannot be written, before the suite sends or spends anything."""
    if path is None:
        return
    if path.is_dir():
        raise Stop(EXIT_USAGE, f"cannot write {path}: it is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        missing = "" if path.parent.is_dir() else ": the folder does not exist"
        raise Stop(EXIT_USAGE, f"cannot write {path}{missing}")


def write(target: Target, options: Namespace, results: Sequence[Result]) -> list[str]:
    """Writes what the flags ask for; a line for each file that could not be written, which does not stop the others."""
    known, unwritten = _keep(options.evidence, results, target.kind)
    spent = None if target.ledger is None else spent_credits(Path(target.ledger))
    finished = report.Report(target.shown_url, target.kind, options.seed, results, known, options.max_credits, spent)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    files = (
        (options.json, report.as_json, "w"),
        (options.html, report.as_html, "w"),
        (summary and Path(summary), report.as_markdown, "a"),
    )
    for path, text, mode in files:
        if path:
            try:
                with open(path, mode, encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text(finished))
            except OSError as problem:
                unwritten.append(f"cannot write {path}: {problem.strerror}")
    return unwritten


def spent_credits(ledger: Path) -> float | None:
    """The credits that a guard counts in its ledger, reservations included; None where it cannot be read."""
    try:
        with closing(SpendingLedger(ledger, SpendingLimits(0))) as opened:
            return float(to_credits(opened.book().spent))
    except LedgerError:
        return None


def _keep(path: Path | None, results: Sequence[Result], kind: str) -> tuple[evidence.Evidence, list[str]]:
    """The evidence after this run, and a line if the file could not be written."""
    if path is None:
        return evidence.updated({}, results, kind), []
    try:
        return evidence.keep(path, results, kind), []
    except (evidence.BadEvidence, OSError) as problem:
        return evidence.updated({}, results, kind), [f"cannot write the evidence file {path}: {problem}"]
