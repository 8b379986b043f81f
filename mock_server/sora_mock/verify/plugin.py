"""The pytest plugin of the contract suite: target, choice and order of rules, reports. PYTEST_DONT_REWRITE"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from sora_mock.verify import choice, finish, results
from sora_mock.verify.beside import ReportWriter
from sora_mock.verify.exits import EXIT_BUDGET, EXIT_UNREACHABLE, EXIT_USAGE, GUARD_ENDED, Stop
from sora_mock.verify.flags import add_pytest_flags, options_of
from sora_mock.verify.openapi import OPENAPI_FILE, is_selected, openapi_rules
from sora_mock.verify.results import Results
from sora_mock.verify.rule import FIFTEEN_SECONDS, MARKER, REJECTION_BUDGET, SOLE_USER, Rule, rule_of
from sora_mock.verify.target import Target, guarded, target_of, target_url
from sora_mock.verify.terminal import Terminal

OPTIONS: Final = pytest.StashKey[Any]()
"""The values of the suite's flags."""

TARGET: Final = pytest.StashKey[Target]()
"""The server under test, from the start of the session."""

RESULTS: Final = pytest.StashKey[Results]()
"""The results so far; in the process that reports."""

STOPPED: Final = pytest.StashKey[Stop]()
"""Why the run ended early; absent for a run that did not."""

RULE: Final = pytest.StashKey[Rule]()
"""The rule that a test states."""

EXCHANGES: Final = pytest.StashKey[list[str]]()
"""The requests of a test and their responses, as text without keys; the last ones."""

ENDS_AT: Final = pytest.StashKey[float]()
"""The monotonic time after which no further rule starts."""

MAX_RUN_SECONDS: Final = {True: 600.0, False: 7200.0}
"""Real seconds after which no further rule starts. True: on a mock. False: on a live service."""


class GuardEnded(pytest.skip.Exception):  # type: ignore[misc,name-defined]  # pytest types it by a decorator
    """The guard ended while the suite ran, so no further rule can be checked."""

    # a report shows the text without the name of this class, as for any skip
    __module__, __qualname__ = "builtins", "Skipped"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags of the suite."""
    add_pytest_flags(parser)


def pytest_configure(config: pytest.Config) -> None:
    """The marker, the results, and schemathesis where its tests are selected."""
    config.addinivalue_line("markers", f"{MARKER}(id, source, claim, price, needs, shared, greedy): a rule")
    config.stash[OPTIONS] = options_of(config)
    config.stash[RESULTS] = Results()
    config.stash[ENDS_AT] = time.monotonic() + MAX_RUN_SECONDS[True]
    if is_selected(config):
        _load_schemathesis(config)
    if config.option.contract_reports_to is not None:
        config.pluginmanager.register(ReportWriter(config, config.option.contract_reports_to), "contract-reports")
    elif not is_worker(config):
        has_bar = config.option.contract_verify and getattr(config.option, "verbose", 0) <= 0
        shown = Terminal(config.stash[RESULTS], has_bar=has_bar)
        config.pluginmanager.register(shown, "contract-terminal")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_Workers(), "contract-workers")


def _load_schemathesis(config: pytest.Config) -> None:
    # both cost every other run a second; contract_tests/pytest.ini blocks the plugin of schemathesis
    import hypothesis

    config.pluginmanager.unblock("schemathesis")
    config.pluginmanager.import_plugin("schemathesis", consider_entry_points=True)
    # it shrinks, replays and keeps nothing, because a request may cost credits
    hypothesis.settings.register_profile(
        "contract",
        max_examples=config.stash[OPTIONS].max_examples,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("contract")


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of xdist."""
    return hasattr(config, "workerinput")


class _Workers:
    """xdist: every worker uses the target that the controller opened."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["contract_target"] = vars(node.config.stash[TARGET])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """schemathesis makes its cases when its tests are collected, which takes seconds."""
    return True if collection_path.name == OPENAPI_FILE and not is_selected(config) else None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Opens the target. Without --base-url the suite starts a mock."""
    config = session.config
    if config.option.contract_list or TARGET in config.stash:
        return
    if is_worker(config):
        config.stash[TARGET] = Target(**config.workerinput["contract_target"])  # type: ignore[attr-defined]
        return
    options, stack = config.stash[OPTIONS], ExitStack()
    config.add_cleanup(stack.close)
    try:
        if options.url is None:
            # imported here, because a run against another server needs no mock
            from sora_mock.server import MockServer

            url = stack.enter_context(MockServer(port=0, seed=1)).url
        else:
            url = target_url(options.url)
        config.stash[TARGET] = target = target_of(url, options)
    except Stop as stop:
        stop_session(config, stop)
        return
    config.stash[ENDS_AT] = time.monotonic() + MAX_RUN_SECONDS[target.is_mock]
    if not target.is_mock and is_distributed(config):
        reason = (
            "a live target is checked in one process, because one guard holds its budget: leave out -n, -d and --tx"
        )
        stop_session(config, Stop(EXIT_USAGE, reason))


def is_distributed(config: pytest.Config) -> bool:
    """Whether xdist starts other processes for the tests."""
    option = config.option
    return bool(
        getattr(option, "numprocesses", None) or getattr(option, "tx", None) or getattr(option, "dist", "no") != "no"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Reads the rule of a test. Its id is a keyword for `-k`."""
    try:
        rule = rule_of(item)
    except ValueError as problem:
        raise pytest.UsageError(str(problem)) from None
    if rule is not None:
        item.stash[RULE] = rule
        item.extra_keyword_matches.add(rule.id)


def stop_session(config: pytest.Config, stop: Stop) -> None:
    """Ends the pytest run; `verify` returns the exit code of `stop`."""
    config.stash[STOPPED] = stop
    pytest.exit(f"contract: {stop}", stop.code)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the rules that the flags leave out, and orders the others."""
    options = config.stash[OPTIONS]
    _check_rules(items)
    selected: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        is_wanted = choice.selects(options.only, options.skip, item.stash[RULE].id)
        (selected if is_wanted else deselected).append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
    items[:] = selected
    # a process beside this one may have some; the one that reports knows all
    if not items and (options.only or options.skip) and not (options.list or is_worker(config)):
        stop_session(config, Stop(EXIT_USAGE, "no rule has such an id; --list shows them all"))
    target = config.stash.get(TARGET, None)
    if target is not None and not target.is_mock:
        _choose_affordable(config, items)
        _start_guard(config, target)


def _check_rules(items: list[pytest.Item]) -> None:
    """Raises UsageError for a test without a rule, and for an id that two tests have."""
    known: dict[str, str] = {}
    for item in items:
        rule = item.stash.get(RULE, None)
        if rule is None:
            raise pytest.UsageError(f"{item.nodeid} has no marker contract(id=..., source=...)")
        if rule.id in known:
            raise pytest.UsageError(f"two tests have the id {rule.id}: {known[rule.id]} and {item.nodeid}")
        known[rule.id] = item.nodeid


def _start_guard(config: pytest.Config, target: Target) -> None:
    stack = ExitStack()
    config.add_cleanup(stack.close)
    try:
        config.stash[TARGET] = stack.enter_context(guarded(target, config.stash[OPTIONS]))
    except Stop as stop:
        stop_session(config, stop)


def _choose_affordable(config: pytest.Config, items: list[pytest.Item]) -> None:
    options = config.stash[OPTIONS]
    rejection = choice.rejection_budget(options.max_credits, options.surprise_credits)
    available = {REJECTION_BUDGET} if rejection >= FIFTEEN_SECONDS else set()
    available |= {SOLE_USER} if options.sole_user else set()
    rules = [item.stash[RULE] for item in items]
    chosen, reasons, _ = choice.affordable(rules, max(0.0, options.max_credits - rejection), frozenset(available))
    if options.only and not chosen:
        stop_session(config, Stop(EXIT_BUDGET, f"none of the rules of --only can be bought: {reasons[rules[0].id]}"))
    is_priced = any(rule.price for rule in rules)
    if options.max_credits > 0 and not options.only and is_priced and not any(rule.price for rule in chosen):
        stop_session(config, Stop(EXIT_BUDGET, f"{options.max_credits:g} credits cannot buy a single rule"))
    order = {rule.id: number for number, rule in enumerate(chosen)}
    for item in items:
        if (reason := reasons.get(item.stash[RULE].id)) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=lambda item: order.get(item.stash[RULE].id, -1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    """With --list it prints the rules and runs none."""
    config, options = session.config, session.config.stash[OPTIONS]
    if not options.list:
        return None
    rules = [item.stash[RULE] for item in session.items]
    if config.option.contract_no_openapi:
        rules += [rule for rule in openapi_rules() if choice.selects(options.only, options.skip, rule.id)]
    session.testscollected = len(rules)
    lines = [
        f"{each.id:42}  {each.price or '-':>5}  {each.claim}" for each in sorted(rules, key=lambda each: each.area)
    ]
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        # the reader has seen enough, as `head` does; the interpreter flushes once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Starts no further rule after the time of the run."""
    if time.monotonic() > item.config.stash[ENDS_AT]:
        pytest.skip("the run took too long: no further rule was started")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Adds to the report of a test its rule, and to that of a failure source, exchange and command."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # pytest's result of the hook
    rule = item.stash.get(RULE, None)
    if rule is None:
        return report  # type: ignore[return-value]
    config, excinfo = item.config, call.excinfo
    repeat = repeat_command(config, rule)
    is_claim = excinfo is None or excinfo.errisinstance((AssertionError, pytest.fail.Exception, pytest.skip.Exception))
    setattr(report, results.ATTRIBUTE, results.carried(rule, repeat, is_claim=is_claim))
    if report.when == "setup":
        item.user_properties.extend([("contract", rule.id), ("source", rule.source)])
    if report.failed:
        lines = [f"FAILED {rule.id}: {rule.claim}", f"source: {rule.source}", f"repeat: {repeat}"]
        lines += item.stash.get(EXCHANGES, [])[-1:]
        report.sections.append((results.SECTION, "\n\n".join(["\n".join(lines[:3]), *lines[3:]])))
    if excinfo is not None and excinfo.errisinstance(GuardEnded):
        config.stash[STOPPED] = Stop(EXIT_UNREACHABLE, GUARD_ENDED)
        item.session.shouldstop = GUARD_ENDED
    return report  # type: ignore[return-value]


def repeat_command(config: pytest.Config, rule: Rule) -> str:
    """The command that runs only this rule."""
    return finish.repeat_command(config.stash[TARGET], config.stash[OPTIONS], rule)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the evidence and the reports, in the process that reports."""
    config, options = session.config, session.config.stash[OPTIONS]
    if (stop := config.stash.get(STOPPED, None)) is not None:
        # pytest's own code for a run that ends before its last test is 2
        session.exitstatus = stop.code
    if not config.pluginmanager.hasplugin("contract-terminal") or options.list or TARGET not in config.stash:
        return
    for line in finish.write(config.stash[TARGET], options, list(config.stash[RESULTS].by_id.values())):
        print(f"sora-mock verify: {line}", file=sys.stderr)
        config.stash[STOPPED] = Stop(EXIT_USAGE, line)
