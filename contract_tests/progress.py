"""The progress of tasks: its value at any time, failures during processing, and clocks that run."""

import math
from typing import Any

from sora_mock.runtime.package_data import contract_document
from sora_mock.verify.rule import TEN_SECONDS, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

QUERY = "service documentation, task query (D)"
CATALOGUE = "docs/scenarios.md; fixtures/scenarios"
QUEUE = GENERATION / 10


def progress_at(target: Target, task_id: str, *steps: float) -> list[Any]:
    """The progress after each of these steps in seconds."""
    found = []
    for step in steps:
        target.advance(step)
        found.append(target.task(task_id)["progress"])
    return found


@rule(
    id="life.progress.even",
    claim="progress climbs evenly from 1 to 99 between the end of the queue and the end",
    source=f"{QUERY}; evenly is an assumption (docs/fidelity.md)",
    needs={"clock"},
)
def even(target: Target) -> None:
    """Every half second."""
    task_id = target.created()["id"]
    span = GENERATION - QUEUE
    for number in range(1, int(GENERATION * 2)):
        target.advance(0.5)
        done = (number / 2 - QUEUE) / span
        wanted = 0 if done < 0 else min(99, math.floor(1 + 99 * done + 1e-6))
        got = target.task(task_id)["progress"]
        # a double near 1.8e9 has a resolution of 2e-7 s
        true(f"progress after {number / 2} s", got in (wanted, max(0, wanted - 1)), got, wanted)
    target.advance(0.49)
    equal("last progress", target.task(task_id)["progress"], 99)


@rule(
    id="life.progress.curve",
    claim="progress follows the points that a scenario gives: linear between them, constant outside them",
    source=CATALOGUE,
    needs={"clock"},
)
def curve(target: Target) -> None:
    """Three points over the whole, two in the middle, a step, and values beyond 99."""
    points: dict[str, tuple[Any, list[int]]] = {
        "whole": ([[0, 10], [0.5, 40], [1, 90]], [0, 10, 25, 40, 65]),
        "middle": ([[0.25, 20], [0.75, 60]], [0, 20, 20, 40, 60]),
        "step": ([[0.5, 10], [0.5, 80]], [0, 10, 10, 80, 80]),
        "bounds": ([[0, 0], [0.5, 0], [1, 100]], [0, 1, 1, 1, 50]),
        "fractions": ([[0, 0.5], [1, 63.5]], [0, 1, 16, 32, 47]),
        "one": ([[0.5, 33]], [0, 33, 33, 33, 33]),
    }
    for name, (progress, wanted) in points.items():
        target.scenario("completed", generation_time=18, queue_time=2, progress=progress)
        task_id = target.created()["id"]
        got = progress_at(target, task_id, 1.99, 0.02, 3.99, 4, 4)
        equal(f"progress of {name}", got, wanted)
        target.advance(20)
        equal("progress", target.task(task_id)["progress"], 100)
    target.scenario("completed", generation_time=1, queue_time=0.2, progress=[[0, 1], [1, 99]])
    got = progress_at(target, target.created()["id"], 0.6)
    true("progress halfway through a task of a second", 49 <= got[0] <= 50, got, 50)


@rule(
    id="life.queue.share",
    claim="the queue takes a tenth of the generation time, or what the scenario says, but never more than all of it",
    source="docs/time.md",
    needs={"clock"},
)
def queue_time(target: Target) -> None:
    """Of 30 s three; none; all."""
    overrides: tuple[tuple[dict[str, Any], float], ...] = (({}, 3), ({"queue_time": 0}, 0), ({"queue_time": 30}, 30))
    for override, pending in overrides:
        target.scenario("completed", generation_time=30, **override)
        created = target.created()
        equal("first status", created["status"], "processing" if pending == 0 else "pending")
        equal("first progress", created["progress"], 1 if pending == 0 else 0)
        for step, status in ((pending - 0.01, "pending"), (0.02, "processing" if pending < 30 else "completed")):
            if pending or status == "processing":
                target.advance(max(0.0, step))
                equal("status", target.task(created["id"])["status"], status)
        target.advance(30)


@rule(
    id="life.failure.midway",
    claim="a task can fail during processing: before, it looks like any task; then its whole reservation is returned",
    source=CATALOGUE,
    needs={"clock", "ledger"},
)
def midway(target: Target) -> None:
    """Halfway through processing: after 11 of 20 seconds, at progress 50."""
    target.scenario(
        "failed", generation_time=GENERATION, queue_time=QUEUE, at=0.5, code="service_error", message="a\nb"
    )
    created = target.created(callback_url="https://inbox.sora-mock.test/hook")
    equal("estimated_time", created["task_info"]["estimated_time"], int(GENERATION))
    target.advance(10.99)
    task = target.task(created["id"])
    equal("status", task["status"], "processing")
    true("progress", 49 <= task["progress"] <= 50, task["progress"], 50)
    equal("balance", target.balance(), (1000 - TEN_SECONDS, 0))
    target.advance(0.01)
    task = target.task(created["id"])
    equal("status and progress", (task["status"], task["progress"]), ("failed", 0))
    equal("error", task["error"], {"code": "service_error", "message": "a\nb", "type": "task_error"})
    equal("balance", target.balance(), (1000, 0))
    equal("messages", len(target.control("GET", "/inbox/hook")["messages"]), 1)


@rule(
    id="life.failure.message",
    claim="each failure code comes with its documented message; a failure without a code is unknown_error",
    source="service documentation, failure codes of a failed task (D); openapi/openapi.json, TaskError",
    needs={"clock"},
)
def failure_messages(target: Target) -> None:
    """Thirteen documented codes, and those that were seen."""
    codes = contract_document()["components"]["schemas"]["TaskError"]["properties"]["code"]
    wanted = {code: row["message"] for code, row in codes["x-failure-codes"].items()}
    wanted |= {code: code.replace("_", " ") for code in codes["x-seen-codes"]}
    for code, message in wanted.items():
        target.scenario("failed", code=code, generation_time=1)
        task_id = target.created()["id"]
        target.advance(1)
        equal("error", target.task(task_id)["error"], {"code": code, "message": message, "type": "task_error"})
    target.scenario("failed", generation_time=1)
    task_id = target.created()["id"]
    target.advance(1)
    equal("error.code", target.task(task_id)["error"]["code"], "unknown_error")
    equal("error.message", target.task(task_id)["error"]["message"], wanted["unknown_error"])


@rule(
    id="life.failure.silent",
    claim="a failed task may come without an error object",
    source="service documentation, failure codes: the error may be missing (D, C)",
    needs={"clock"},
)
def silent(target: Target) -> None:
    """Absent, and no results either."""
    target.scenario("failed_without_error_object", generation_time=GENERATION)
    task_id = target.created()["id"]
    target.advance(GENERATION)
    task = target.task(task_id)
    equal("status", (task["status"], task["progress"], "results" in task), ("failed", 0, False))
    equal("error is there", "error" in task, False)


@rule(
    id="life.stuck",
    claim="a stuck task stays at 99, keeps its reservation and never sends a callback",
    source=CATALOGUE,
    needs={"clock", "ledger"},
)
def stuck(target: Target) -> None:
    """A year; then it is ended by hand."""
    target.scenario("stuck", generation_time=GENERATION)
    created = target.created(callback_url="https://inbox.sora-mock.test/hook")
    equal("estimated_time", created["task_info"]["estimated_time"], int(GENERATION))
    for step in (GENERATION, 365 * 86_400):
        target.advance(step)
        task = target.task(created["id"])
        equal("status", (task["status"], task["progress"]), ("processing", 99))
        equal("can_cancel", task["task_info"]["can_cancel"], True)
    equal("balance", target.balance(), (1000 - TEN_SECONDS, 0))
    equal("messages", target.control("GET", "/inbox/hook")["messages"], [])
    deliveries = target.control("GET", "/deliveries")["deliveries"]
    equal("deliveries", [(each["state"], each["attempts"]) for each in deliveries], [("pending", [])])
    target.control("POST", f"/tasks/{created['id']}/finish", {"outcome": "completed"})
    equal("status", target.task(created["id"])["status"], "completed")
    equal("balance", target.balance(), (1000 - TEN_SECONDS, TEN_SECONDS))
    equal("messages", len(target.control("GET", "/inbox/hook?wait=5&count=1")["messages"]), 1)


@rule(
    id="life.instant",
    claim="a task that takes no time is completed at its first poll, and paid",
    source=CATALOGUE,
    needs={"clock", "ledger"},
)
def instant(target: Target) -> None:
    """The reply is still pending."""
    target.scenario("instant")
    created = target.created()
    equal("status", (created["status"], created["progress"]), ("pending", 0))
    equal("estimated_time", created["task_info"]["estimated_time"], 0)
    equal("balance", target.balance(), (1000 - TEN_SECONDS, TEN_SECONDS))
    task = target.task(created["id"])
    equal("status", (task["status"], task["progress"], len(task["results"])), ("completed", 100, 1))
    target.scenario("completed_first_reply_processing", generation_time=GENERATION)
    created = target.created()
    equal("status", (created["status"], created["progress"]), ("processing", 1))


@rule(
    id="life.finished",
    claim="the control API can end a task; state, credits, link and callback follow at once",
    source="docs/reference.md, control API, finish",
    needs={"clock", "ledger"},
)
def finished_by_hand(target: Target) -> None:
    """While it is still pending, and while it is processed; its planned end changes nothing more."""
    for wait, used in ((1, TEN_SECONDS), (7, TEN_SECONDS * 2)):
        task_id = target.created(callback_url="https://inbox.sora-mock.test/hook")["id"]
        now = target.advance(wait)
        target.control("POST", f"/tasks/{task_id}/finish", {"outcome": "completed"})
        first = target.get(f"/v1/tasks/{task_id}").body
        task = target.task(task_id)
        equal("status", (task["status"], task["progress"], len(task["results"])), ("completed", 100, 1))
        equal("used", target.balance()[1], round(used, 4))
        target.advance(GENERATION + 10)
        equal("body", target.get(f"/v1/tasks/{task_id}").body, first)
        equal("used", target.balance()[1], round(used, 4))
        times = [each["at"] for each in target.control("GET", "/inbox/hook")["messages"]]
        equal("last callback", round(times[-1] - now, 3), 0)
    equal("callbacks", len(times), 2)
    task_id = target.created()["id"]
    body = {"outcome": "failed", "code": "generation_timeout", "message": "by hand"}
    target.control("POST", f"/tasks/{task_id}/finish", body)
    error = {"code": "generation_timeout", "message": "by hand", "type": "task_error"}
    equal("error", target.task(task_id)["error"], error)
    equal("remaining", target.balance()[0], round(1000 - used, 4))


@rule(
    id="life.estimated.fraction",
    claim="estimated_time is the next whole second",
    source="published contract, VideoTaskInfo",
    needs={"clock"},
)
def fraction(target: Target) -> None:
    """7.2 is 8; 5 is 5; 0.4 is 1."""
    for seconds, wanted in ((7.2, 8), (5, 5), (0.4, 1), (6.99, 7)):
        target.scenario("completed", generation_time=seconds)
        equal(f"estimated_time of {seconds} s", target.created()["task_info"]["estimated_time"], wanted)


@rule(
    id="life.running",
    claim="on a running clock, a task ends, is charged and sends its callback without any request",
    source="docs/time.md",
    needs={"clock", "receiver", "ledger"},
)
def running(target: Target) -> None:
    """A hundred times as fast: 20 s are a fifth of a second; a failed attempt is repeated on time."""
    target.control("PUT", "/inbox/hook", {"replies": [{"status": 500}, {"status": 200}]})
    target.created(callback_url="https://inbox.sora-mock.test/hook")
    target.control("PATCH", "/clock", {"speed": 100})
    task_id = target.created(callback_url="https://inbox.sora-mock.test/hook")["id"]
    target.control("PATCH", "/clock", {"frozen": False})
    got = target.control("GET", "/inbox/hook?wait=10&count=3")["messages"]
    equal("messages", len(got), 3)
    equal("states", {each["json"]["status"] for each in got}, {"completed"})
    equal("status", target.task(task_id)["status"], "completed")
    equal("used", target.balance()[1], round(2 * TEN_SECONDS, 4))
    deliveries = target.control("GET", "/deliveries")["deliveries"]
    retried = next(each["attempts"] for each in deliveries if len(each["attempts"]) > 1)
    late = retried[1]["at"] - retried[0]["at"]
    true("seconds between the attempts", 1 <= late < 1000, late, "1 and what the machine needs")
    target.control("PATCH", "/clock", {"speed": 1})
    target.scenario("completed", generation_time=0.01)
    lateness = []
    for count in (1, 2, 3):
        target.created(callback_url="https://inbox.sora-mock.test/prompt")
        message = target.control("GET", f"/inbox/prompt?wait=5&count={count}")["messages"][-1]
        lateness.append(message["at"] - target.control("GET", "/tasks")["tasks"][0]["mock"]["ended_at"])
    # a machine under load may be late once
    true("seconds from the end to the callback", 0 <= min(lateness) < 0.9, lateness, "0 and what the machine needs")
