"""The nightly workflow can be read, and every command of ours in it is one that the command line takes."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from sora_mock.cli import _parser
from sora_mock.verify import runner

WORKFLOW = Path(__file__).resolve().parents[2] / "examples" / "nightly.yml"


def workflow() -> Any:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


def steps() -> list[dict[str, Any]]:
    return [step for job in workflow()["jobs"].values() for step in job["steps"]]


def commands() -> list[list[str]]:
    """Arguments of each `sora-mock` line, a budget and a target put in for the variables."""
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    ours = [line.strip() for line in lines if line.strip().startswith("sora-mock ")]
    return [shlex.split(each.replace("$TARGET", "https://x.example").replace("$BUDGET", "20.16"))[1:] for each in ours]


def test_the_workflow_runs_nightly_and_weekly_and_on_demand() -> None:
    # YAML 1.1 reads the key `on` as true
    triggers = workflow()[True]
    assert [each["cron"].split()[-1] for each in triggers["schedule"]] == ["*", "0"]
    assert "workflow_dispatch" in triggers


def test_the_weekly_schedule_is_the_one_that_has_a_budget() -> None:
    weekly = workflow()[True]["schedule"][1]["cron"]
    assert f"github.event.schedule == '{weekly}'" in workflow()["jobs"]["verify"]["env"]["BUDGET"]


def test_there_is_a_free_run_and_a_paid_one() -> None:
    assert [each[each.index("--max-credits") + 1] for each in commands()] == ["0", "20.16"]


@pytest.mark.parametrize("arguments", commands(), ids=lambda each: " ".join(each[:4]))
def test_every_command_is_accepted(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    assert options.url == "https://x.example"
    assert options.evidence == Path("evidence.json")
    rules = runner.load_rules()
    assert all(runner.matching(rules, [pattern], []) for pattern in options.only)


def test_the_budget_of_the_week_buys_every_curated_rule_that_can_be_bought() -> None:
    options = _parser().parse_args(commands()[1])
    chosen = runner.matching(runner.load_rules(), options.only, options.skip)
    bought, others, _ = runner.affordable(chosen, options.max_credits - options.surprise_credits, False)
    assert any(rule.price for rule in bought)
    assert [each.rule.id for each in others if "credits" in each.reason and not each.rule.needs] == []


def test_reports_are_uploaded_whatever_happens_and_a_failure_opens_an_issue() -> None:
    upload = next(step for step in steps() if "upload-artifact" in step.get("uses", ""))
    issue = next(step for step in steps() if "gh issue create" in step.get("run", ""))
    assert (upload["if"], issue["if"]) == ("always()", "failure()")
    assert "evidence.json" in upload["with"]["path"]
