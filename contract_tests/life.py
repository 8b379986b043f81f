"""The lifecycle of a task, checked every second on a frozen clock."""

from collections.abc import Callable
from typing import Any

from contract_tests.shapes import fits
from sora_mock.verify.rule import TEN_SECONDS, Unverified, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

QUERY = "service documentation, task query (D)"
ORDER = ("pending", "processing", "completed")


def sweep(target: Target) -> list[Any]:
    """The task at every second from the create request to five seconds after its end."""
    task_id = target.created()["id"]
    views = [target.task(task_id)]
    for _ in range(int(GENERATION) + 5):
        target.advance(1)
        views.append(target.task(task_id))
    return views


Check = Callable[[list[Any]], None]


def of_life(name: str, claim: str, source: str = QUERY) -> Callable[[Check], Check]:
    """Declares a rule about the task at every second from the create request to after its end."""

    def declare(check: Check) -> Check:
        declared = rule(id=f"life.{name}", claim=claim, source=source, needs={"clock"})
        declared(lambda target: check(sweep(target)))
        return check

    return declare


@of_life("shape", "at every second the task has the shape Task")
def shape(views: list[Any]) -> None:
    """Also the conditions between status, results and error."""
    for view in views:
        fits("Task", view)


@of_life("order", "pending, processing, completed, in this order and each seen")
def order(views: list[Any]) -> None:
    """Never back, never another word."""
    states = [view["status"] for view in views]
    equal("states", list(dict.fromkeys(states)), list(ORDER))
    ranks = [ORDER.index(state) for state in states]
    equal("states", ranks, sorted(ranks))


@of_life("progress.rises", "progress never falls")
def progress_rises(views: list[Any]) -> None:
    """And moves."""
    progress = [view["progress"] for view in views]
    equal("progress", progress, sorted(progress))
    true("progress", len(set(progress)) > 5, progress, "several values")


@of_life(
    "progress.bounds",
    "progress is 0 while pending, 1 to 99 while processing, 100 when completed",
    f"{QUERY}; recorded reply (R)",
)
def progress_bounds(views: list[Any]) -> None:
    """1 at the start of the processing."""
    bounds = {"pending": (0, 0), "processing": (1, 99), "completed": (100, 100)}
    for view in views:
        low, high = bounds.get(view["status"], (0, -1))
        true("progress", low <= view["progress"] <= high, (view["status"], view["progress"]), (low, high))
    first = next((view["progress"] for view in views if view["status"] == "processing"), None)
    equal("first progress", first, 1)


@of_life("results", "results are there exactly when the task is completed")
def results(views: list[Any]) -> None:
    """Absent before, never null or empty."""
    for view in views:
        equal("results are there", "results" in view, view["status"] == "completed")
    last = views[-1]["results"]
    true("results", len(last) == 1 and last[0], last, "one link")


@of_life("no_error", "a task that does not fail has no error")
def no_error(views: list[Any]) -> None:
    """Absent or null."""
    for view in views:
        equal("error", view.get("error"), None)


@of_life("can_cancel", "can_cancel is true while the task is unfinished and false afterwards", "recorded reply (R)")
def can_cancel(views: list[Any]) -> None:
    """At every second."""
    for view in views:
        equal("can_cancel", view["task_info"]["can_cancel"], view["status"] in ("pending", "processing"))


@of_life("immutable", "id, created, model, object and type never change")
def immutable(views: list[Any]) -> None:
    """From the first query on."""
    for name in ("id", "created", "model", "object", "type"):
        equal(name, {view[name] for view in views}, {views[0][name]})


@rule(
    id="life.moments",
    claim="the task is processing after its queue time and completed at its end, not before and not later",
    source="docs/time.md",
    needs={"clock"},
)
def exact_times(target: Target) -> None:
    """Queue 2 s, generation 20 s; 10 ms around each."""
    task_id = target.created()["id"]
    for step, wanted in ((1.99, "pending"), (0.02, "processing"), (17.98, "processing"), (0.02, "completed")):
        target.advance(step)
        equal("status", target.task(task_id)["status"], wanted)


@rule(id="life.end.exact", claim="a task is over at its own end", source="docs/time.md", needs={"clock"})
def exact_end(target: Target) -> None:
    """20 s in one step."""
    task_id = target.created()["id"]
    target.advance(GENERATION)
    equal("status", target.task(task_id)["status"], "completed")


@rule(id="life.results.stay", claim="the result link never changes", source=QUERY, needs={"clock"})
def results_stay(target: Target) -> None:
    """Over two days."""
    task_id = target.created()["id"]
    target.advance(GENERATION)
    first = target.task(task_id)["results"]
    for step in (1, 86_400, 86_400):
        target.advance(step)
        equal("results", target.task(task_id)["results"], first)


@rule(id="life.final", claim="a completed task stays as it is", source=QUERY, needs={"clock"})
def final(target: Target) -> None:
    """Byte for byte, for three days."""
    task_id = target.created()["id"]
    target.advance(GENERATION)
    first = target.get(f"/v1/tasks/{task_id}").body
    for step in (0, 1, 3600, 86_400, 172_800):
        target.advance(step)
        equal("body", target.get(f"/v1/tasks/{task_id}").body, first)


@rule(
    id="life.reading",
    claim="reading changes nothing",
    source="ARCHITECTURE.md: a query changes nothing",
    needs={"clock"},
)
def reading(target: Target) -> None:
    """Ten polls at one time."""
    task_id = target.created()["id"]
    target.advance(7)
    equal("different responses", len({target.get(f"/v1/tasks/{task_id}").body for _ in range(10)}), 1)


@rule(id="life.first_poll", claim="the first poll says what the create request said", source=QUERY, needs={"clock"})
def first_poll(target: Target) -> None:
    """Status and progress."""
    created = target.created()
    task = target.task(created["id"])
    equal("status", task["status"], created["status"])
    equal("progress", task["progress"], created["progress"])


CODES = (
    "content_policy_violation",
    "invalid_parameters",
    "image_processing_error",
    "image_dimension_mismatch",
    "request_cancelled",
    "generation_failed_no_content",
    "service_error",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "service_unavailable",
    "resource_not_found",
    "unknown_error",
)


def _failure(code: str) -> None:
    @rule(
        id=f"life.failed.{code}",
        claim=f"a task can fail with {code}: progress 0, an error of type task_error, no results, and stays so",
        source="service documentation, failure codes of a failed task (D)",
        needs={"clock"},
    )
    def check(target: Target) -> None:
        target.scenario("failed", code=code, generation_time=GENERATION)
        task_id = target.created()["id"]
        target.advance(GENERATION - 1)
        equal("status before", target.task(task_id)["status"], "processing")
        target.advance(1)
        for _ in range(2):
            _is_failed(target.task(task_id), code)
            target.advance(86_400)


for _code in CODES:
    _failure(_code)


def _is_failed(view: Any, code: str) -> None:
    fits("Task", view)
    equal("status", view["status"], "failed")
    equal("progress", view["progress"], 0)
    equal("results are there", "results" in view, False)
    equal("can_cancel", view["task_info"]["can_cancel"], False)
    error = view["error"]
    true("error", isinstance(error, dict), error, "an object")
    equal("error.code", error["code"], code)
    equal("error.type", error["type"], "task_error")
    true("error.message", error["message"], error, "a message")


@rule(
    id="life.cancelled",
    claim="a cancelled task is failed with request_cancelled",
    source="service documentation, cancelled tasks (D; an assumption)",
    needs={"clock"},
)
def cancelled(target: Target) -> None:
    """At once, and it stays so."""
    task_id = target.created()["id"]
    target.advance(5)
    target.control("POST", f"/tasks/{task_id}/finish", {"outcome": "cancelled"})
    _is_failed(target.task(task_id), "request_cancelled")
    target.advance(GENERATION)
    _is_failed(target.task(task_id), "request_cancelled")


@rule(
    id="life.moderation",
    claim="what moderation finds fails the task late, with content_policy_violation and the documented message",
    source="service documentation, failure codes of a failed task (D)",
    needs={"clock"},
)
def moderation(target: Target) -> None:
    """Never provoked on the live service."""
    target.scenario("moderation_celebrity", generation_time=GENERATION)
    task_id = target.created()["id"]
    target.advance(GENERATION)
    view = target.task(task_id)
    _is_failed(view, "content_policy_violation")
    equal("error.message", view["error"]["message"], "celebrity detected in image")


@rule(
    id="life.followed",
    claim="a task that is followed to its end passes through the documented states and ends",
    source=QUERY,
    price=TEN_SECONDS,
    shared=True,
)
def followed(target: Target) -> None:
    """The rule that follows a real task on the live service: a poll every five seconds."""
    task_id = target.shared()["id"]
    progress, rank = -1, 0
    for _ in range(400):
        view = target.task(task_id)
        fits("Task", view)
        if view["status"] == "failed":
            raise Unverified(f"the task failed: {view.get('error')}")
        true("states", ORDER.index(view["status"]) >= rank, view["status"], f"{ORDER[rank]} or later")
        true("progress", view["progress"] >= progress, view["progress"], f"at least {progress}")
        rank, progress = ORDER.index(view["status"]), view["progress"]
        if rank == 2:
            return
        target.wait(5)
    true("status", False, view["status"], "an end")
