"""The nightly workflow can be read, and every command of ours in it is one that the command line takes."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sora_mock.cli.commands import parsed
from sora_mock.verify.choice import affordable, selects
from tests.contract.faults.responses import status
from tests.guard.live import REAL, environment, posing
from tests.verify.running import all_rules

RULES = all_rules()
WORKFLOW = Path(__file__).resolve().parents[2] / "examples" / "nightly.yml"


def workflow() -> Any:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


def steps() -> list[dict[str, Any]]:
    return [step for job in workflow()["jobs"].values() for step in job["steps"]]


def commands() -> list[list[str]]:
    """Arguments of each `sora-mock` line, a budget and a target put in for the variables."""
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    ours = [line.strip().partition(" || ")[0] for line in lines if line.strip().startswith("sora-mock verify ")]
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
    options = SimpleNamespace(**parsed(arguments).params)
    assert options.url == "https://x.example"
    assert options.evidence == Path("evidence.json")
    assert all(any(selects([pattern], [], rule.id) for rule in RULES) for pattern in options.only)


def test_the_budget_of_the_week_buys_every_curated_rule_that_can_be_bought() -> None:
    options = SimpleNamespace(**parsed(commands()[1]).params)
    chosen = [rule for rule in RULES if selects(options.only, options.skip, rule.id)]
    bought, reasons, _ = affordable(chosen, options.max_credits - options.surprise_credits, frozenset())
    assert any(rule.price for rule in bought)
    needs = {rule.id: rule.needs for rule in chosen}
    assert [id for id, reason in reasons.items() if "credits" in reason and not needs[id]] == []


def test_reports_are_always_uploaded() -> None:
    upload = next(step for step in steps() if "upload-artifact" in step.get("uses", ""))
    assert upload["if"] == "always()"
    assert "evidence.json" in upload["with"]["path"]


def script(name: str) -> str:
    """The shell of a step, with the expressions of the workflow language replaced."""
    step = next(step for step in steps() if name in (step.get("id"), step.get("name")))
    return str(step["run"])


def play(folder: Path, target: str, *names: str) -> dict[str, str]:
    """Runs steps of the workflow in `folder` as a runner would; what each wrote to its outputs."""
    stub = folder / "gh"
    stub.write_text('#!/bin/sh\necho "$@" >> calls.txt\n')
    stub.chmod(0o755)
    outputs = {}
    for name in names:
        output = folder / f"{name}.output"
        output.write_text("")
        more = {"TARGET": target, "BUDGET": "20.16", "EVOLINK_API_KEY": REAL, "GITHUB_OUTPUT": str(output)}
        more |= {"GITHUB_REPOSITORY": "team/app", "RUN": "https://ci.example/1"}
        more["PATH"] = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = ["bash", "-e", "-c", script(name)]
        subprocess.run(command, cwd=folder, env=environment(**more), timeout=120, check=True, capture_output=True)
        outputs[name] = output.read_text()
    return outputs


@pytest.mark.parametrize("run", ["free", "paid"])
def test_a_good_night_proves_rules_and_opens_no_issue(run: str, tmp_path: Path) -> None:
    with posing() as url:
        assert play(tmp_path, url, run, "drift") == {run: "", "drift": ""}
    assert "0 failures" in (tmp_path / "drift.txt").read_text()
    proved = json.loads((tmp_path / "evidence.json").read_text())
    assert all(each["live"]["outcome"] == "passed" for each in proved.values())
    assert len(proved) > (8 if run == "paid" else 20)


def test_a_service_that_departs_opens_an_issue_with_what_differs(tmp_path: Path) -> None:
    with posing(status(401, 403)) as url:
        assert play(tmp_path, url, "free", "drift") == {"free": "code=1\n", "drift": "code=1\n"}
        play(tmp_path, url, "open an issue")
    calls = (tmp_path / "calls.txt").read_text()
    assert "issue create" in calls
    assert "https://ci.example/1" in calls
    assert "failure" in calls


@pytest.mark.parametrize(
    ("codes", "opens"),
    [
        ({"free": "1"}, True),
        ({"paid": "1"}, True),
        ({"free": "5", "drift": "1"}, True),
        ({}, False),
        ({"free": "5"}, False),
        ({"paid": "4", "drift": "2"}, False),
        # ended by a signal, as when the job is cancelled
        ({"free": "130"}, False),
        ({"paid": "137", "drift": "141"}, False),
    ],
)
def test_an_issue_is_opened_for_a_departure_alone(codes: dict[str, str], opens: bool) -> None:
    """The condition, in the little of the workflow language that it needs."""
    condition = next(step["if"] for step in steps() if step.get("name") == "open an issue")
    terms = [
        re.fullmatch(r"steps\.(free|paid|drift)\.outputs\.code == '(\d+)'", each) for each in condition.split(" || ")
    ]
    assert all(terms), condition
    assert any(codes.get(term[1]) == term[2] for term in terms if term) is opens


def test_an_outage_is_no_departure(tmp_path: Path) -> None:
    assert play(tmp_path, "http://127.0.0.1:1", "free") == {"free": "code=5\n"}
    assert not (tmp_path / "exchanges.jsonl").exists()
