"""The results of a run as JSON, an HTML page and a summary for a CI job. JUnit is pytest's own."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Template

from sora_mock.runtime.package_data import data_folder
from sora_mock.verify.evidence import TARGETS, Evidence, last_outcome
from sora_mock.verify.results import FAILED, OUTCOMES, PASSED, UNVERIFIED, Result, by_area, counts
from sora_mock.version import VERSION


@dataclass(frozen=True)
class Report:
    """A finished run. target: `mock` or `live`. max_credits, spent: of a live run; spent: None for unknown."""

    url: str
    target: str
    seed: int
    results: Sequence[Result]
    evidence: Evidence
    max_credits: float = 0.0
    spent: float | None = None

    @property
    def summary(self) -> str:
        """One line."""
        found = ", ".join(f"{count} {outcome}" for outcome, count in counts(self.results).items())
        return f"{len(self.results)} rules on {self.target} {self.url}: {found}"

    @property
    def worst_first(self) -> list[Result]:
        """The results: failures, then unverified ones, then the others."""
        order = (FAILED, UNVERIFIED, PASSED)
        return sorted(self.results, key=lambda result: order.index(result.outcome))


def as_json(report: Report) -> str:
    """The whole report as JSON."""
    rules = [
        {
            "id": result.rule.id,
            "claim": result.rule.claim,
            "source": result.rule.source,
            "price": result.rule.price,
            "needs": sorted(result.rule.needs),
            "outcome": result.outcome,
            "reason": result.reason,
            "seconds": round(result.seconds, 4),
            "repeat": result.repeat,
            **{target: last_outcome(report.evidence, result.rule.id, target) for target in TARGETS},
            "details": result.details,
        }
        for result in report.results
    ]
    head = {"version": VERSION, "url": report.url, "target": report.target, "seed": report.seed}
    head |= {"max_credits": report.max_credits, "spent": report.spent}
    return json.dumps({**head, "counts": counts(report.results), "rules": rules}, indent=1) + "\n"


def as_html(report: Report) -> str:
    """The report as one HTML page without other files: failures first, with a filter."""
    template = Template((data_folder("contract_tests") / "report.html").read_text(encoding="utf-8"))
    budget = f", {report.max_credits:g} credits at most" if report.target == "live" else ""
    spent = "" if report.spent is None else f", {report.spent:g} reserved"
    return template.substitute(
        title=html.escape(report.summary),
        about=html.escape(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, sora-mock {VERSION}, seed {report.seed}{budget}{spent}"
        ),
        areas="\n".join(_area_row(area, results) for area, results in by_area(report.results).items()),
        rules="\n".join(_rule_row(report, result) for result in report.worst_first),
    )


def _row(cells: Sequence[str], more: str = "") -> str:
    return f"<tr{more}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _area_row(area: str, results: Sequence[Result]) -> str:
    found = counts(results)
    numbers = [str(found[outcome] or "") for outcome in OUTCOMES]
    return _row([html.escape(area), *numbers, f"{sum(each.seconds for each in results):.2f} s"])


def _rule_row(report: Report, result: Result) -> str:
    rule = result.rule
    about = f"<code>{html.escape(rule.id)}</code><br>{html.escape(rule.claim)}"
    about += f"<br><small>source: {html.escape(rule.source)}</small>"
    if result.outcome != PASSED:
        about += f"<br>{html.escape(result.reason)}"
    if result.outcome == FAILED:
        about += f"<details open><summary>details</summary><pre>{html.escape(result.details)}</pre></details>"
    cells = [
        about,
        f'<span class="{result.outcome}">{result.outcome}</span>',
        f"{rule.price:g}" if rule.price else "-",
        f"{result.seconds:.2f} s",
        *(html.escape(last_outcome(report.evidence, rule.id, target)) for target in TARGETS),
    ]
    return _row(cells, f' class="rule" data-outcome="{result.outcome}"')


def as_markdown(report: Report) -> str:
    """A summary for a CI job: the counts, the failures, and the rules that were not checked."""
    lines = [f"### {report.summary}", ""]
    for outcome in (FAILED, UNVERIFIED):
        found = [result for result in report.results if result.outcome == outcome]
        if found:
            lines += [f"| {outcome} | reason |", "|---|---|"]
            lines += [f"| `{each.rule.id}` | {_cell(each.reason)} |" for each in found] + [""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return html.escape(text[:300]).replace("|", "&#124;").replace("\n", " ")
