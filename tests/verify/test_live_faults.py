"""Services with several faults behind a guard: each fault turns its own rules red, and no other rule."""

import json
from pathlib import Path
from typing import Any

import pytest

from sora_mock.domain.ledger import Ledger
from sora_mock.storage.memory import MemoryAccount
from tests.contract.faults.money import _charge_twice
from tests.contract.faults.planting import around, part, then
from tests.contract.faults.responses import Change, Response, task, when
from tests.contract.faults.tasks import _counting
from tests.guard.live import posing_app
from tests.verify.running import verify

RULES = ("creation.*", "life.*", "link.*", "money.*", "idempotency.*", "create.unknown_fields")


def all_of(*changes: Change) -> Change:
    """Several changes of each response."""

    def change(response: Response) -> None:
        for each in changes:
            each(response)

    return change


def failed_rules(url: str, folder: Path, *flags: str) -> set[str]:
    """The ids of the rules that fail on a live service, with a budget for all of them."""
    file = folder / "report.json"
    only = [part for each in RULES for part in ("--only", each)]
    code, out, err = verify(
        url, "--live", *only, "--max-credits", "30", "--surprise-credits", "0", *flags, "--json", str(file)
    )
    assert code in (0, 1), out + err
    rules = json.loads(file.read_text())["rules"]
    assert sum(rule["outcome"] != "unverified" for rule in rules) >= 24
    return {rule["id"] for rule in rules if rule["outcome"] == "failed"}


def test_a_task_that_runs_is_checked_at_its_polls(tmp_path: Path) -> None:
    def runs(view: Any) -> bool:
        return view["status"] in ("pending", "processing")

    failure = {"code": "unknown_error", "message": "unknown error", "type": "task_error"}
    # the first poll finds the task running, the second one completed
    change = task(when(runs, progress=100, results=["https://x.example/"], error=failure))
    with posing_app(change, generation_time=(3.0, 3.0)) as (url, _):
        failed = failed_rules(url, tmp_path)
    assert failed == {
        *("life.progress.bounds", "life.results", "life.no_error", "creation.key_order", "life.shape", "life.followed")
    }


def test_what_may_never_change_is_compared_with_the_create_request_and_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around(Ledger, "charge", then(_charge_twice))(monkeypatch)
    part(MemoryAccount, "store_reply", lambda self, key, response: None)(monkeypatch)
    change = all_of(
        task(lambda view: view.update(created=view["created"] + 1)),
        task(lambda view: view["task_info"].update(can_cancel=True)),
        task(_counting("results")),
    )
    with posing_app(change) as (url, _):
        failed = failed_rules(url, tmp_path, "--sole-user")
    assert failed == {
        *("life.immutable", "creation.queried", "life.can_cancel", "life.results.stay", "life.final", "link.form"),
        *("money.charged", "idempotency.replay"),
    }


def test_a_service_without_faults_has_no_findings(tmp_path: Path) -> None:
    with posing_app() as (url, front):
        files: list[dict[bytes, bytes]] = []
        front.before = lambda scope: files.append(dict(scope["headers"])) if "/files/" in scope["path"] else None
        assert failed_rules(url, tmp_path, "--sole-user") == set()
        # a repeated create request costs nothing
        assert front.spent == 20.16
    assert [b"authorization" in headers for headers in files] == [False]
