"""The result of each rule, read from pytest's reports; every report of the suite is made from one list of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sora_mock.domain.text import visible
from sora_mock.verify.rule import Rule

if TYPE_CHECKING:
    import pytest

PASSED: Final = "passed"
FAILED: Final = "failed"
UNVERIFIED: Final = "unverified"
OUTCOMES: Final = (PASSED, FAILED, UNVERIFIED)

_OF_PYTEST: Final = {"passed": PASSED, "failed": FAILED, "skipped": UNVERIFIED}


@dataclass
class Result:
    """What is known of one rule.

    reason: why it failed or stayed unverified. seconds: real seconds. details: the failure with source and exchange,
    as text without keys. repeat: the command that runs only this rule. is_claim: False for a failure that is no failed
    assertion, such as an exception in a test that could not read a response.
    """

    rule: Rule
    outcome: str = PASSED
    reason: str = ""
    seconds: float = 0.0
    details: str = ""
    repeat: str = ""
    is_claim: bool = True


@dataclass
class Results:
    """The results of a run so far, by rule id, in the order in which they came."""

    by_id: dict[str, Result] = field(default_factory=dict)

    def add(self, report: "pytest.TestReport") -> Result | None:
        """Adds the report of one phase of a test; the result, or None for a test that states no rule."""
        carried: dict[str, Any] | None = getattr(report, ATTRIBUTE, None)
        if carried is None:
            return None
        rule = Rule(**{**carried["rule"], "needs": frozenset(carried["rule"]["needs"])})
        result = self.by_id.setdefault(rule.id, Result(rule, repeat=carried["repeat"]))
        result.seconds += report.duration
        outcome = _OF_PYTEST[report.outcome]
        # a test that failed stays failed: its teardown does not change that
        if outcome != PASSED and result.outcome != FAILED:
            result.outcome, result.reason = outcome, reason_of(report)
            result.is_claim = carried["is_claim"]
            result.details = "\n\n".join(text for name, text in report.sections if name == SECTION)
        return result

    def __len__(self) -> int:
        return len(self.by_id)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rules by outcome."""
        return counts(list(self.by_id.values()))


ATTRIBUTE: Final = "contract"
"""The attribute of a pytest report that carries what `Results` needs; xdist sends it from worker to controller."""

SECTION: Final = "contract"
"""The section of a failure's report with source, exchange and command."""


def carried(rule: Rule, repeat: str, *, is_claim: bool) -> dict[str, Any]:
    """What the report of a test carries, as values that become JSON."""
    return {"rule": {**asdict(rule), "needs": sorted(rule.needs)}, "repeat": repeat, "is_claim": is_claim}


def counts(results: Sequence[Result]) -> dict[str, int]:
    """The number of results by outcome, every outcome named."""
    found = Counter(result.outcome for result in results)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def by_area(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results by the area of their rules, in the order in which the areas came."""
    areas: dict[str, list[Result]] = {}
    for result in results:
        areas.setdefault(result.rule.area, []).append(result)
    return areas


def reason_of(report: "pytest.TestReport") -> str:
    """Why a test failed or was skipped, in one line without control characters."""
    found: Any = report.longrepr
    if isinstance(found, tuple):
        text = str(found[2]).removeprefix("Skipped: ")
    else:
        crash = getattr(found, "reprcrash", None)
        text = str(found) if crash is None else crash.message
    return visible(text.strip())
