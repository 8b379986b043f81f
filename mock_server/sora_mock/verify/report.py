"""The results of a run as a table, JUnit, JSON, an HTML page and a summary for CI."""

import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from sora_mock.verify.evidence import TARGETS, Evidence, standing
from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET
from sora_mock.verify.runner import FAILED, PASSED, UNVERIFIED, CheckResult
from sora_mock.version import VERSION


@dataclass(frozen=True)
class Report:
    """A finished run. target: `mock` or `live`. repeat: the command that repeats it, without `--only`."""

    url: str
    target: str
    seed: int
    repeat: str
    results: Sequence[CheckResult]
    evidence: Evidence

    @property
    def counts(self) -> dict[str, int]:
        """The number of rules by outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in (PASSED, FAILED, UNVERIFIED)}

    @property
    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        return f"{len(self.results)} rules on {self.target} {self.url}: {counts}"

    def command(self, result: CheckResult) -> str:
        """The command that repeats only this rule."""
        rejection = FIFTEEN_SECONDS if REJECTION_BUDGET in result.rule.needs else 0.0
        credits = round(result.rule.price + rejection, 4)
        budgets = (
            f" --max-credits {credits:g} --surprise-credits {rejection:g}" if self.target == "live" and credits else ""
        )
        return f"{self.repeat} --only '{result.rule.id}'{budgets}"


_COLUMNS: Final = "{:42}  {:20}  {:20}  {:>5}  {:>9}"

HEADING: Final = _COLUMNS.format("rule", "mock", "live", "price", "time")
"""The heading of the table."""


def row(result: CheckResult, target: str, evidence: Evidence) -> str:
    """A line of the table: the outcome of the rule, and the evidence for the other kind of target."""
    known = {each: standing(evidence, result.rule.id, each) for each in TARGETS} | {target: result.outcome}
    price = f"{result.rule.price:g}" if result.rule.price else "-"
    line = _COLUMNS.format(result.rule.id, known["mock"], known["live"], price, f"{result.seconds:.2f} s")
    return line if result.outcome != UNVERIFIED else f"{line}  {result.reason}"


def failures(report: Report) -> str:
    """Every failure with its exchange, source and command."""
    parts = []
    for result in report.results:
        if result.outcome == FAILED:
            lines = [f"FAILED {result.rule.id}: {result.rule.claim}", f"  {result.reason}"]
            lines += [f"  source: {result.rule.source}", f"  repeat: {report.command(result)}"]
            for exchange in result.exchanges[-1:]:
                lines += [f"  > {line}" for line in exchange.request.splitlines()]
                lines += [f"  < {line}" for line in exchange.reply.splitlines()]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


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
            "repeat": report.command(result),
            "mock": standing(report.evidence, result.rule.id, "mock"),
            "live": standing(report.evidence, result.rule.id, "live"),
            "exchanges": _exchanges(result),
        }
        for result in report.results
    ]
    head = {"version": VERSION, "url": report.url, "target": report.target, "seed": report.seed}
    return json.dumps({**head, "counts": report.counts, "rules": rules}, indent=1) + "\n"


def _exchanges(result: CheckResult) -> list[dict[str, Any]]:
    if result.outcome != FAILED:
        return []
    return [{"request": each.request, "reply": each.reply} for each in result.exchanges]


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """The report as JUnit XML. An unverified rule is a skipped test."""
    counts = report.counts
    suite = ElementTree.Element(
        "testsuite",
        name="sora-mock verify",
        tests=str(len(report.results)),
        failures=str(counts[FAILED]),
        skipped=str(counts[UNVERIFIED]),
        errors="0",
        time=f"{sum(result.seconds for result in report.results):.3f}",
    )
    for result in report.results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"contract.{result.rule.area}",
            name=result.rule.id,
            time=f"{result.seconds:.3f}",
        )
        if result.outcome == FAILED:
            problem = ElementTree.SubElement(case, "failure", message=_xml(result.reason))
            problem.text = _xml(_failure_text(report, result))
        elif result.outcome == UNVERIFIED:
            ElementTree.SubElement(case, "skipped", message=_xml(result.reason))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _failure_text(report: Report, result: CheckResult) -> str:
    parts = [result.rule.claim, f"source: {result.rule.source}", f"repeat: {report.command(result)}"]
    for each in result.exchanges:
        parts += ["", each.request, "", each.reply]
    return "\n".join(parts)


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
pre{background:#f4f4f4;padding:.6rem;overflow:auto;white-space:pre-wrap}
.passed{color:#05603a}.failed{color:#b00020;font-weight:600}.unverified{color:#7a4f00}code{font-size:.9em}
"""


def as_html(report: Report) -> str:
    """The report as one HTML page without other files."""
    rows = "\n".join(_html_row(report, result) for result in report.results)
    title = html.escape(report.summary)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Contract suite</h1><p>{title}, seed {report.seed}</p>"
        "<table><thead><tr><th>Rule</th><th>Outcome</th><th>Price</th><th>Time</th><th>Mock</th><th>Live</th></tr>"
        f"</thead><tbody>\n{rows}\n</tbody></table></body></html>\n"
    )


def _html_row(report: Report, result: CheckResult) -> str:
    rule = result.rule
    details = ""
    if result.outcome != PASSED:
        details = f"<br>{html.escape(result.reason)}"
    if result.outcome == FAILED:
        details += (
            f"<details><summary>details</summary><pre>{html.escape(_failure_text(report, result))}</pre></details>"
        )
    cells = [
        f"<code>{html.escape(rule.id)}</code><br>{html.escape(rule.claim)}{details}",
        f'<span class="{result.outcome}">{result.outcome}</span>',
        f"{rule.price:g}" if rule.price else "-",
        f"{result.seconds:.2f} s",
        html.escape(standing(report.evidence, rule.id, "mock")),
        html.escape(standing(report.evidence, rule.id, "live")),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


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
