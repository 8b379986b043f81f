"""Faults in what is said: routes and envelopes, the reply to a creation, the life of a task."""

import re
from collections.abc import Callable
from typing import Any

from sora_mock.api import endpoint as api
from sora_mock.domain import lifecycle
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.service.emulator import Emulator
from tests.contract.faults.answering import (
    CREDITS,
    TASKS,
    Answer,
    Edit,
    body,
    creation,
    error,
    refusal,
    status,
    task,
    when,
    without,
)
from tests.contract.faults.planting import Table, answers, around, ids, part, then


def _strict_id(self: Any, task_id: str) -> None:
    if not re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", task_id):
        raise ApiError(400)


ENVELOPES: Table = {
    "404 as 400": (ids("query.id", "unknown", "prefix_alone", "long") + " route.unknown", answers(status(404, 400))),
    "ids unchecked": ("query.id.prefix", part(Contract, "check_task_id", lambda self, task_id: None)),
    "ids checked twice": (
        ids("query.id", "short", "prefix_alone", "other_letters", "long"),
        part(Contract, "check_task_id", _strict_id),
    ),
    "slash forgiven": (
        "query.slash",
        around(api.Service, "endpoint", lambda endpoint, self, path: endpoint(self, path.rstrip("/"))),
    ),
    "no message": ("envelope.fits", answers(refusal(lambda said: said.pop("message")))),
    "500 of all": ("envelope.500", answers(error(500, TASKS, message="Internal server error"))),
    "unknown route": ("route.unknown", answers(error(404, "/v1/nonsense", message="Not found"))),
    "route's code": ("route.unknown.post", answers(error(404, "/v1/video/", code="not_found"))),
    "405 as 404": ("route.method hostile.method", answers(status(405, 404))),
    "no Allow": ("route.method", answers(without("allow"))),
    "not successful": ("credits.shape", answers(body(CREDITS, lambda said: said.update(success=False)))),
    "no user in the balance": ("credits.shape", answers(body(CREDITS, lambda said: said["data"].pop("user")))),
}


def _constant_id(said: Any) -> None:
    said["id"] = f"task-unified-{said['created']}-00000000"


def _first_created() -> Edit:
    seen: list[int] = []

    def edit(said: Any) -> None:
        seen.append(said["created"])
        said["created"] = seen[0]

    return edit


def _settling(answer: Any, self: Any, call: Any, task_id: str) -> None:
    if call.at < self.store.tasks[task_id].plan.created_at + 1:
        raise ApiError(404)


def _scenario_named(answer: Answer) -> None:
    if "x-mock-scenario" in answer.headers:
        answer.headers["x-mock-scenario"] = "other"


def _told(**values: Any) -> Any:
    return answers(creation(lambda said: said["task_info"].update(values)))


CREATIONS: Table = {
    "price off": (
        "creation.usage money.price.1?",
        answers(creation(lambda said: said["usage"].update(credits_reserved=8.63))),
    ),
    "another group": ("creation.usage", answers(creation(lambda said: said["usage"].update(user_group="gold")))),
    "an image": ("creation.fixed", answers(creation(lambda said: said.update(type="image")))),
    "first state": (
        "creation.first_state life.first_poll",
        answers(creation(lambda said: said.update(status="processing", progress=1))),
    ),
    "cannot cancel": ("creation.can_cancel", _told(can_cancel=False)),
    "always 10": ("creation.video_duration", _told(video_duration=10)),
    "estimate off": ("creation.estimated_time", _told(estimated_time=19)),
    "id of another time": ("creation.id", answers(creation(lambda said: said.update(created=said["created"] + 1)))),
    "one id": ("creation.ids.differ", answers(creation(_constant_id))),
    "created in ms": (
        "creation.created.now creation.id creation.queried",
        answers(creation(lambda said: said.update(created=said["created"] * 1000))),
    ),
    "created stands": ("creation.created.clock", answers(creation(_first_created()))),
    "not there yet": ("creation.queried", around(Emulator, "query", then(_settling))),
    "keys unsorted": ("creation.key_order", answers(task(lambda said: said.update(created=said.pop("created"))))),
    "scenario misnamed": ("creation.scenario_header", answers(_scenario_named)),
}


def _counting(key: str) -> Edit:
    seen: list[Any] = []

    def edit(said: Any) -> None:
        seen.append(said)
        if key == "results" and "results" in said:
            said["results"] = [f"{said['results'][0]}?signature={len(seen)}"]
        elif key == "progress" and said["status"] == "processing":
            said["progress"] = min(99, said["progress"] + len(seen))

    return edit


def _failed(said: Any) -> bool:
    return bool(said["status"] == "failed")


def _fails_with(code: str) -> Callable[[Any], bool]:
    return lambda said: bool(said.get("error") and said["error"]["code"] == code)


def _completed(said: Any) -> bool:
    return bool(said["status"] == "completed")


def _another(**values: Any) -> Edit:
    """Other values in the error of a failed task."""
    return lambda said: said["error"].update(values) if said.get("error") else None


def _falls(said: Any) -> None:
    if said["status"] == "processing" and said["progress"] > 50:
        said["progress"] -= 30


def _forgotten(answer: Any, self: Any, call: Any, task_id: str) -> None:
    if call.at > self.store.tasks[task_id].plan.ended_at + 3600:
        raise ApiError(404)


def _state(starts_after: float, ends_after: bool = False) -> Callable[[Any, float], str]:
    """The states with a start that is late by so many seconds, and an end that is a moment late."""

    def state(plan: Any, now: float) -> str:
        if now > plan.ended_at or (now == plan.ended_at and not ends_after):
            return str(plan.outcome)
        return "processing" if now >= plan.processing_at + starts_after else "pending"

    return state


LIVES: Table = {
    "starts late": ("life.moments", part(lifecycle, "status", _state(0.5))),
    "ends late": ("life.end.exact", part(lifecycle, "status", _state(0, ends_after=True))),
    "no queue": ("life.order life.moments life.first_poll", part(lifecycle, "status", _state(-60))),
    "progress stands": ("life.progress.*", part(lifecycle, "progress", lambda plan, now: 0)),
    "progress falls": ("life.progress.rises", answers(task(_falls))),
    "101 percent": (
        "life.shape life.progress.bounds life.followed",
        answers(task(when(_completed, progress=101))),
    ),
    "results early": (
        "life.results",
        answers(task(when(lambda said: said["status"] == "processing", results=["https://x.y/video.mp4"]))),
    ),
    "results twice": (
        "life.results",
        answers(task(lambda said: "results" in said and said["results"].append("https://x.y/"))),
    ),
    "links are signed anew": ("life.results.stay life.final", answers(task(_counting("results")))),
    "error of no failure": ("life.no_error", answers(task(when(_completed, error={"code": "ok"})))),
    "can_cancel for ever": ("life.can_cancel", answers(task(lambda said: said["task_info"].update(can_cancel=True)))),
    "model changes": ("life.immutable", answers(task(lambda said: said.update(model=f"m{said['progress']}")))),
    "forgotten after an hour": (
        "life.final life.failed.* life.results.stay",
        around(Emulator, "query", then(_forgotten)),
    ),
    "reading is work": ("life.reading", answers(task(_counting("progress")))),
    "first poll": (
        "life.first_poll",
        answers(task(when(lambda said: said["status"] == "pending", status="processing", progress=1))),
    ),
    "another word": ("life.followed life.shape", answers(task(when(_completed, status="succeeded")))),
    "failed at 100": (
        "life.failed.* life.cancelled life.moderation",
        around(lifecycle, "progress", lambda progress, p, now: 100 if now >= p.ended_at else progress(p, now)),
    ),
    "failed with results": ("life.failed.* life.cancelled", answers(task(when(_failed, results=[])))),
    "error null": ("life.failed.* life.cancelled", answers(task(lambda s: "error" in s and s.update(error=None)))),
    "error type": ("life.failed.* life.moderation", answers(task(_another(type="error")))),
    "no code but one": ("life.failed.[!u]* life.moderation", answers(task(_another(code="unknown_error")))),
    "moderation's message": ("life.moderation", answers(task(_another(message="blocked")))),
    "a fifth state": (
        "life.cancelled life.failed.request_cancelled",
        answers(task(when(_fails_with("request_cancelled"), status="cancelled"))),
    ),
}
