"""`sora-mock verify URL`: flags in, rules run, reports written, an exit code out."""

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

FINE, BROKEN, USAGE, BUDGET, UNREACHABLE, INTERRUPTED = 0, 1, 2, 4, 5, 130
"""Exit codes (docs/verify.md)."""

GONE: Final = "the guard ended during the run; the rules that had not ended by then are unverified"

LONGEST_RULE: Final = {True: 60.0, False: 2400.0}
LONGEST_RUN: Final = {True: 600.0, False: 7200.0}
"""Real seconds for one rule and for all of them, on a mock and elsewhere."""


class Stop(Exception):
    """The run ends here: exit code and line."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


def run(options: argparse.Namespace) -> int:
    """The command. Whatever stops it is one line on standard error and an exit code."""
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except Stop as stop:
        print(f"sora-mock verify: {stop}", file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print("sora-mock verify: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    rules = matching_rules(options)
    if options.list:
        for rule in rules:
            print(f"{rule.id:42}  {rule.price or '-':>5}  {rule.claim}")
        return FINE
    url = target_url(options.url)
    for path in (options.junit, options.json, options.html, options.evidence):
        _check_writable(path)
    try:
        known = {} if options.evidence is None else evidence.read(options.evidence)
    except evidence.BadEvidence as problem:
        raise Stop(USAGE, str(problem)) from None
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
        print("sora-mock verify: interrupted; the reports hold what was found by then", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # rules that were under way may wait for minutes yet
        os._exit(INTERRUPTED)
    if session.gone:
        raise Stop(UNREACHABLE, GONE)
    if unwritten:
        return USAGE
    return BROKEN if finished.counts[FAILED] else FINE


def _check_writable(path: Path | None) -> None:
    """Raises Stop for a file that could not be written in the end, before anything is sent or spent."""
    if path is None:
        return
    if path.is_dir():
        raise Stop(USAGE, f"cannot write {path}: it is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        missing = "" if path.parent.is_dir() else ": there is no such folder"
        raise Stop(USAGE, f"cannot write {path}{missing}")


def target_url(text: str | None) -> str:
    """The origin to call, perhaps with a path before it. Raises Stop."""
    parts = http_url(text or "")
    if parts is None or parts.username:
        raise Stop(USAGE, f"expected a URL such as http://127.0.0.1:4010, got {text!r}")
    return str(text).rstrip("/")


@contextmanager
def opened(url: str, options: Any) -> Iterator[VerifySession]:
    """A session with the target at `url`, behind a guard unless it is a mock. Raises Stop before anything is sent."""
    with probe.connect() as http:
        try:
            control = probe.has_control_api(http, url)
        except probe.NoTarget as problem:
            raise Stop(UNREACHABLE, str(problem)) from None
        except probe.NotAService as problem:
            raise Stop(USAGE, str(problem)) from None
        contract, count = Contract(data.contract_document()), options.max_examples
        if control:
            _ask_leave(url)
            yield VerifySession(url, http, contract, True, options.seed, LONGEST_RULE[True], max_examples=count)
            return
        if not os.environ.get(options.api_key_env):
            raise Stop(USAGE, f"{url} has no control API, so it is the live service: {options.api_key_env} is not set")
        if _surprise(options) > options.max_credits:
            raise Stop(USAGE, "--surprise-credits is a part of --max-credits and cannot be more")
        try:
            with live.guarded(_guard_flags(url, options)) as guard_url:
                surprise = _surprise(options) >= FIFTEEN_SECONDS
                yield VerifySession(
                    guard_url, http, contract, False, options.seed, LONGEST_RULE[False], surprise, count
                )
        except live.NoGuard as problem:
            raise Stop(USAGE, str(problem)) from None


def _ask_leave(url: str) -> None:
    """Raises Stop unless the mock lets the suite use keys and control API: otherwise nothing could be checked."""
    try:
        status, answer = Client(url, "sk-verify-leave").call("GET", "/clock")
    except ValueError:
        raise Stop(USAGE, f"{url} is a mock: give its address without a path") from None
    except Unreachable as problem:
        raise Stop(UNREACHABLE, f"{url} does not answer: {problem}") from None
    if status != 200:
        raise Stop(USAGE, f"the mock at {url} does not let the suite in ({status}): {answer}")


def _surprise(options: Any) -> float:
    """The surprise purse (interface.md, Verify)."""
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
    """The rules that run, and those that cannot, with the reason; the session learns what a greedy one may spend.

    Raises Stop for a budget that buys nothing.
    """
    if session.control:
        return list(rules), []
    budget = max(0.0, options.max_credits - _surprise(options))
    chosen, others, session.spare = runner.affordable(rules, budget, session.surprise)
    if options.only and not chosen:
        raise Stop(BUDGET, f"none of the rules of --only can be bought: {others[0].reason}")
    if options.max_credits > 0 and not options.only and not any(rule.price for rule in chosen):
        raise Stop(BUDGET, f"{options.max_credits:g} credits cannot buy a single rule")
    return chosen, others


def matching_rules(options: Any) -> list[Rule]:
    """The rules that `--only` and `--skip` leave. Raises Stop where there are none."""
    rules = runner.matching(runner.load_rules(), options.only, options.skip)
    if not rules:
        raise Stop(USAGE, "no rule has such an id; --list shows them all")
    return rules


def _keep(
    path: Path | None, known: evidence.Evidence, results: Sequence[CheckResult], kind: str
) -> tuple[evidence.Evidence, list[str]]:
    """What is known after this run, and a line for a file that could not be written."""
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

        def tell(result: CheckResult) -> None:
            progress.step(report.row(result, kind, known), failed=result.outcome == FAILED)

        for result in others:
            tell(result)
        found = runner.run(session, chosen, tell, LONGEST_RUN[session.control])
    by_id = {result.rule.id: result for result in [*found, *others]}
    return [by_id[rule.id] for rule in rules]


def _write(finished: report.Report, options: argparse.Namespace) -> list[str]:
    """All reports; a line for each that could not be written. None keeps another from its file."""
    at_length = report.failures(finished)
    print(f"\n{at_length}\n\n{finished.summary}" if at_length else f"\n{finished.summary}", flush=True)
    if finished.counts[UNVERIFIED]:
        print("unverified rules were not checked: the reason stands beside each of them")
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
