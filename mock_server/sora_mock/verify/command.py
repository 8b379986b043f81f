"""`sora-mock verify URL`: reads the flags, runs the rules, writes the reports and returns an exit code."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sora_mock.client.http import Client, Unreachable
from sora_mock.domain.contract import Contract
from sora_mock.domain.delivery import http_url
from sora_mock.guard import probe
from sora_mock.runtime import package_data as data
from sora_mock.verify import evidence, live, report, runner
from sora_mock.verify.flags import API_KEY_ENV, MAX_EXAMPLES
from sora_mock.verify.progress import Progress
from sora_mock.verify.rule import FIFTEEN_SECONDS, Rule
from sora_mock.verify.runner import FAILED, UNVERIFIED, CheckResult
from sora_mock.verify.session import VerifySession

EXIT_OK, EXIT_BROKEN, EXIT_USAGE, EXIT_BUDGET, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 4, 5, 130
"""Exit codes (docs/verify.md)."""

GUARD_ENDED: Final = "the guard ended during the run; the rules that had not ended by then are unverified"

MAX_RULE_SECONDS: Final = {True: 60.0, False: 2400.0}
MAX_RUN_SECONDS: Final = {True: 600.0, False: 7200.0}
"""Real seconds for one rule and for all rules. True: on a mock. False: on a live service."""


class Stop(Exception):
    """Ends the run with an exit code and a line for standard error."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit code. An error is one line on standard error."""
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except Stop as stop:
        print(f"sora-mock verify: {stop}", file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print("sora-mock verify: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    rules = matching_rules(options)
    if options.list:
        for rule in rules:
            print(f"{rule.id:42}  {rule.price or '-':>5}  {rule.claim}")
        return EXIT_OK
    url = target_url(options.url)
    for path in (options.junit, options.json, options.html, options.evidence):
        _check_writable(path)
    try:
        known = {} if options.evidence is None else evidence.read(options.evidence)
    except evidence.BadEvidence as problem:
        raise Stop(EXIT_USAGE, str(problem)) from None
    with opened(url, options) as session:
        results = _results(session, rules, options, known)
        kind = "mock" if session.control else "live"
    known, unwritten = _keep(options.evidence, known, results, kind)
    repeat = f"sora-mock verify {shlex.quote(url)}" + (f" --seed {options.seed}" if options.seed else "")
    repeat += f" --api-key-env {options.api_key_env}" if options.api_key_env != API_KEY_ENV and kind == "live" else ""
    repeat += f" --max-examples {options.max_examples}" if options.max_examples != MAX_EXAMPLES else ""
    finished = report.Report(url, kind, options.seed, repeat, results, known)
    unwritten += _write(finished, options)
    for line in unwritten:
        print(f"sora-mock verify: {line}", file=sys.stderr, flush=True)
    if session.interrupted:
        print("sora-mock verify: interrupted; the reports hold the results until then", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # rules that still run may wait for minutes
        os._exit(EXIT_INTERRUPTED)
    if session.guard_ended:
        raise Stop(EXIT_UNREACHABLE, GUARD_ENDED)
    if unwritten:
        return EXIT_USAGE
    return EXIT_BROKEN if finished.counts[FAILED] else EXIT_OK


def _check_writable(path: Path | None) -> None:
    """Raises Stop for a file that cannot be written, before the suite sends or spends anything."""
    if path is None:
        return
    if path.is_dir():
        raise Stop(EXIT_USAGE, f"cannot write {path}: it is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        missing = "" if path.parent.is_dir() else ": the folder does not exist"
        raise Stop(EXIT_USAGE, f"cannot write {path}{missing}")


def target_url(text: str | None) -> str:
    """The origin to call, perhaps with a path before it. Raises Stop."""
    parts = http_url(text or "")
    if parts is None or parts.username:
        raise Stop(EXIT_USAGE, f"expected a URL such as http://127.0.0.1:4010, got {text!r}")
    return str(text).rstrip("/")


@contextmanager
def opened(url: str, options: Any) -> Iterator[VerifySession]:
    """A session with the target at `url`, through a guard unless it is a mock. Raises Stop before it sends anything."""
    with probe.connect() as http:
        try:
            control = probe.has_control_api(http, url)
        except probe.NoTarget as problem:
            raise Stop(EXIT_UNREACHABLE, str(problem)) from None
        except probe.NotAService as problem:
            raise Stop(EXIT_USAGE, str(problem)) from None
        contract, count = Contract(data.contract_document()), options.max_examples
        if control:
            _check_access(url)
            yield VerifySession(url, http, contract, True, options.seed, MAX_RULE_SECONDS[True], max_examples=count)
            return
        if not os.environ.get(options.api_key_env):
            raise Stop(
                EXIT_USAGE, f"{url} has no control API, so it is the live service: {options.api_key_env} is not set"
            )
        if _rejection_budget(options) > options.max_credits:
            raise Stop(EXIT_USAGE, "--surprise-credits is a part of --max-credits and cannot be more")
        try:
            with live.guarded(_guard_flags(url, options)) as guard_url:
                may_spend = _rejection_budget(options) >= FIFTEEN_SECONDS
                yield VerifySession(
                    guard_url, http, contract, False, options.seed, MAX_RULE_SECONDS[False], may_spend, count
                )
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
    if status != 200:
        raise Stop(EXIT_USAGE, f"the mock at {url} does not let the suite use its control API ({status}): {body}")


def _rejection_budget(options: Any) -> float:
    """The rejection budget in credits (docs/verify.md, targets and budget)."""
    if options.surprise_credits is not None:
        return float(options.surprise_credits)
    return FIFTEEN_SECONDS if options.max_credits >= 14.40 else 0.0


def _guard_flags(url: str, options: Any) -> list[str]:
    flags = ["--target", url, "--max-credits", f"{options.max_credits:.4f}", "--port", "0"]
    flags += ["--api-key-env", options.api_key_env]
    if options.surprise_credits is not None:
        flags += ["--surprise-credits", f"{options.surprise_credits:.4f}"]
    for name in ("ledger", "record"):
        if getattr(options, name) is not None:
            flags += [f"--{name}", str(getattr(options, name))]
    return flags


def chosen_rules(session: VerifySession, rules: Sequence[Rule], options: Any) -> tuple[list[Rule], list[CheckResult]]:
    """The rules that run, and results with the reason for those that cannot. It also sets `session.spare`.

    Raises Stop for a budget that pays for no rule.
    """
    if session.control:
        return list(rules), []
    budget = max(0.0, options.max_credits - _rejection_budget(options))
    chosen, others, session.spare = runner.affordable(rules, budget, session.rejection_budget)
    if options.only and not chosen:
        raise Stop(EXIT_BUDGET, f"none of the rules of --only can be bought: {others[0].reason}")
    if options.max_credits > 0 and not options.only and not any(rule.price for rule in chosen):
        raise Stop(EXIT_BUDGET, f"{options.max_credits:g} credits cannot buy a single rule")
    return chosen, others


def matching_rules(options: Any) -> list[Rule]:
    """The rules that `--only` and `--skip` select. Raises Stop if there are none."""
    rules = runner.matching(runner.load_rules(), options.only, options.skip)
    if not rules:
        raise Stop(EXIT_USAGE, "no rule has such an id; --list shows them all")
    return rules


def _keep(
    path: Path | None, known: evidence.Evidence, results: Sequence[CheckResult], kind: str
) -> tuple[evidence.Evidence, list[str]]:
    """The evidence after this run, and a line if the file could not be written."""
    if path is not None:
        try:
            return evidence.keep(path, results, kind), []
        except (evidence.BadEvidence, OSError) as problem:
            return evidence.updated(known, results, kind), [f"cannot write the evidence file {path}: {problem}"]
    return evidence.updated(known, results, kind), []


def _results(
    session: VerifySession, rules: Sequence[Rule], options: Any, known: evidence.Evidence
) -> list[CheckResult]:
    chosen, others = chosen_rules(session, rules, options)
    kind = "mock" if session.control else "live"
    print(report.HEADING, flush=True)
    with Progress(len(rules), sys.stderr) as progress:

        def report_result(result: CheckResult) -> None:
            progress.step(report.row(result, kind, known), failed=result.outcome == FAILED)

        for result in others:
            report_result(result)
        found = runner.run(session, chosen, report_result, MAX_RUN_SECONDS[session.control])
    by_id = {result.rule.id: result for result in [*found, *others]}
    return [by_id[rule.id] for rule in rules]


def _write(finished: report.Report, options: argparse.Namespace) -> list[str]:
    """Writes all reports and returns a line for each that could not be written. One error does not stop the others."""
    details = report.failures(finished)
    print(f"\n{details}\n\n{finished.summary}" if details else f"\n{finished.summary}", flush=True)
    if finished.counts[UNVERIFIED]:
        print("unverified rules were not checked: each of their lines shows the reason")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    reports = (
        (options.junit, report.as_junit, "w"),
        (options.json, report.as_json, "w"),
        (options.html, report.as_html, "w"),
        (summary and Path(summary), report.as_markdown, "a"),
    )
    unwritten = []
    for path, text, mode in reports:
        if path:
            try:
                with open(path, mode, encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text(finished))
            except OSError as problem:
                unwritten.append(f"cannot write {path}: {problem.strerror}")
    return unwritten
