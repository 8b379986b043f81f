"""Loads the rules, selects those that the target and the budget allow, and runs a few at a time."""

import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sora_mock.client.http import Unreachable
from sora_mock.runtime import package_data as data
from sora_mock.verify.reply import ExchangeText, plain
from sora_mock.verify.rule import NEEDS, REGISTRY, REJECTION_BUDGET, Broken, GuardEnded, Rule, Unverified
from sora_mock.verify.session import VerifySession
from sora_mock.verify.target import Target

PASSED, FAILED, UNVERIFIED = "passed", "failed", "unverified"

GENERATED = "generated"
"""The area of the rules whose requests schemathesis generates."""

AT_ONCE = 4
"""How many rules run at the same time on a mock. On the live service they run one by one."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a rule. reason: why it failed or stayed unverified. seconds: real seconds.

    tripped: the rule failed because it could not read a response, not because its claim is wrong.
    """

    rule: Rule
    outcome: str
    reason: str = ""
    seconds: float = 0.0
    exchanges: Sequence[ExchangeText] = field(default=())
    tripped: bool = False


def load_rules() -> list[Rule]:
    """Every rule of `contract_tests`, in the order of its files. Raises FileNotFoundError."""
    if "contract_tests" not in sys.modules:
        folder = data.data_folder("contract_tests")
        # by its path: in a wheel the folder is not on the import path
        spec = importlib.util.spec_from_file_location(
            "contract_tests", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["contract_tests"] = module
        spec.loader.exec_module(module)
    return list(REGISTRY.values())


def matching(rules: Sequence[Rule], only: Sequence[str], skip: Sequence[str]) -> list[Rule]:
    """The rules whose ids match a pattern of `only` (all if it is empty) and none of `skip`."""
    return [
        rule
        for rule in rules
        if (not only or any(fnmatchcase(rule.id, each) for each in only))
        and not any(fnmatchcase(rule.id, each) for each in skip)
    ]


def affordable(
    rules: Sequence[Rule], budget: float, rejection_budget: bool
) -> tuple[list[Rule], list[CheckResult], float]:
    """For a live target: the rules that run, results with the reason for the others, and the rest of the budget.

    budget: the main budget in credits. rejection_budget: whether there is one. The rules with a common create request
    come first, then the free rules, then the cheapest, and the greedy rules last.
    """
    chosen, others, is_shared_paid = [], [], False
    for rule in sorted(rules, key=lambda each: (each.greedy, not each.shared, each.price)):
        missing = sorted(rule.needs - ({REJECTION_BUDGET} if rejection_budget else set()))
        price = 0.0 if rule.shared and is_shared_paid else rule.price
        if missing:
            others.append(CheckResult(rule, UNVERIFIED, "; ".join(NEEDS[each] for each in missing)))
        elif price > budget + 1e-9:
            others.append(CheckResult(rule, UNVERIFIED, f"costs {price:g} credits, {budget:g} are left of the budget"))
        else:
            budget = round(budget - price, 4)
            is_shared_paid = is_shared_paid or rule.shared
            chosen.append(rule)
    return chosen, others, budget


def run(
    session: VerifySession, rules: Sequence[Rule], report: Callable[[CheckResult], None], limit: float
) -> list[CheckResult]:
    """Runs the rules and calls `report` with each result. limit: real seconds, after which no further rule starts.

    Ctrl-C ends the run and sets `session.interrupted`. The rules that had not ended by then are unverified.
    """
    over_at = time.monotonic() + limit
    found: dict[str, CheckResult] = {}

    def one(rule: Rule) -> None:
        if time.monotonic() > over_at:
            result = CheckResult(rule, UNVERIFIED, f"the run took more than {limit:g} s")
        elif session.guard_ended:
            result = CheckResult(rule, UNVERIFIED, "the guard ended before")
        else:
            result = check(session, rule)
        if not session.interrupted:
            found[rule.id] = result
            report(result)

    together = [rule for rule in rules if rule.area != GENERATED]
    # this rule waits for real seconds, so it starts first and the others run meanwhile
    together.sort(key=lambda rule: rule.id != "callback.timeout")
    pool = ThreadPoolExecutor(AT_ONCE if session.control else 1)
    try:
        pending = [pool.submit(one, rule) for rule in together]
        if not session.control:
            # on the live service, generated requests come last and spend the rest of the budget
            wait(pending)
        for rule in rules:
            if rule.area == GENERATED:
                # one by one: hypothesis does not support several threads
                one(rule)
        for each in pending:
            each.result()
    except KeyboardInterrupt:
        session.interrupted = True
    # after an interrupt, do not wait for the rules that still run
    pool.shutdown(wait=not session.interrupted, cancel_futures=True)
    return [found.get(rule.id) or CheckResult(rule, UNVERIFIED, "the run was interrupted") for rule in rules]


def check(session: VerifySession, rule: Rule) -> CheckResult:
    """Runs one rule. Every exception that it raises becomes its outcome."""
    began = time.monotonic()
    target, tripped = None, False
    try:
        target = Target(session, rule)
        rule.check(target)
        outcome, reason = PASSED, ""
    except Broken as problem:
        outcome, reason = FAILED, str(problem)
    except Unverified as problem:
        outcome, reason = UNVERIFIED, str(problem)
        session.guard_ended = session.guard_ended or isinstance(problem, GuardEnded)
    except Unreachable as problem:
        outcome, reason, tripped = FAILED, f"the control API did not respond: {problem}", True
    except Exception as problem:
        # the response has an unexpected shape: a missing field, a list instead of an object
        place = traceback.extract_tb(problem.__traceback__)[-1]
        outcome, reason, tripped = FAILED, f"{type(problem).__name__}: {problem} (at `{place.line}`)", True
    seconds = time.monotonic() - began
    # one line, so that a response cannot imitate other lines of the report
    reason = plain(reason).replace("\n", "\\n")
    exchanges = () if target is None else tuple(target.exchanges[-3:])
    return CheckResult(rule, outcome, reason, seconds, exchanges, tripped)
