"""Faults in what is sent: routes and error bodies, the response to a create request, the life of a task."""

import re
from collections.abc import Callable
from typing import Any

from sora_mock.api.endpoint import ServiceRoute
from sora_mock.domain import lifecycle
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.service import tasks
from tests.contract.faults.planting import Table, around, ids, part, responses, then, wrapped
from tests.contract.faults.responses import (
    CREDITS,
    TASKS,
    Edit,
    Response,
    body,
    created,
    envelope,
    error,
    status,
    task,
    when,
    without,
)


def _strict_id(self: Any, task_id: str) -> None:
    if not re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", task_id):
        raise ApiError(400)


def _match_without_slash(matches: Any, self: Any, scope: Any) -> Any:
    return matches(self, {**scope, "path": scope["path"].rstrip("/")})


ENVELOPES: Table = {
    "404 as 400": (ids("query.id", "unknown", "prefix_alone", "long") + " route.unknown", responses(status(404, 400))),
    "ids unchecked": ("query.id.prefix", part(Contract, "check_task_id", lambda self, task_id: None)),
    "ids checked twice": (
        ids("query.id", "short", "prefix_alone", "other_letters", "long"),
        part(Contract, "check_task_id", _strict_id),
    ),
    "slash forgiven": (
        "query.slash",
        around(ServiceRoute, "matches", _match_without_slash),
    ),
    "no message": ("envelope.fits", responses(envelope(lambda view: view.pop("message")))),
    "500 of all": ("envelope.500", responses(error(500, TASKS, message="Internal server error"))),
    "unknown route": ("route.unknown", responses(error(404, "/v1/nonsense", message="Not found"))),
    "route's code": ("route.unknown.post", responses(error(404, "/v1/video/", code="not_found"))),
    "405 as 404": ("route.method hostile.method", responses(status(405, 404))),
    "no Allow": ("route.method", responses(without("allow"))),
    "not successful": ("credits.shape", responses(body(CREDITS, lambda view: view.update(success=False)))),
    "no user in the balance": ("credits.shape", responses(body(CREDITS, lambda view: view["data"].pop("user")))),
}


def _constant_id(view: Any) -> None:
    view["id"] = f"task-unified-{view['created']}-00000000"


def _first_created() -> Edit:
    seen: list[int] = []

    def edit(view: Any) -> None:
        seen.append(view["created"])
        view["created"] = seen[0]

    return edit


def _not_at_once(response: Any, service: Any, exchange: Any, task_id: str) -> None:
    if exchange.at < service.storage.tasks[task_id].plan.created_at + 1:
        raise ApiError(404)


def _scenario_named(response: Response) -> None:
    if "x-mock-scenario" in response.headers:
        response.headers["x-mock-scenario"] = "other"


def _task_info(**values: Any) -> Any:
    return responses(created(lambda view: view["task_info"].update(values)))


CREATED: Table = {
    "price off": (
        "creation.usage money.price.1?",
        responses(created(lambda view: view["usage"].update(credits_reserved=8.63))),
    ),
    "another group": ("creation.usage", responses(created(lambda view: view["usage"].update(user_group="gold")))),
    "an image": ("creation.fixed", responses(created(lambda view: view.update(type="image")))),
    "first state": (
        "creation.first_state life.first_poll",
        responses(created(lambda view: view.update(status="processing", progress=1))),
    ),
    "cannot cancel": ("creation.can_cancel", _task_info(can_cancel=False)),
    "always 10": ("creation.video_duration", _task_info(video_duration=10)),
    "estimate off": ("creation.estimated_time", _task_info(estimated_time=19)),
    "id of another time": (
        "creation.id life.immutable",
        responses(created(lambda view: view.update(created=view["created"] + 1))),
    ),
    "one id": ("creation.ids.differ", responses(created(_constant_id))),
    "created in ms": (
        "creation.created.now creation.id creation.queried",
        responses(created(lambda view: view.update(created=view["created"] * 1000))),
    ),
    "created is constant": ("creation.created.clock", responses(created(_first_created()))),
    "not there yet": ("creation.queried", wrapped(tasks.query, then(_not_at_once))),
    "keys unsorted": ("creation.key_order", responses(task(lambda view: view.update(created=view.pop("created"))))),
    "scenario misnamed": ("creation.scenario_header", responses(_scenario_named)),
}


def _counting(key: str) -> Edit:
    seen: list[Any] = []

    def edit(view: Any) -> None:
        seen.append(view)
        if key == "results" and "results" in view:
            view["results"] = [f"{view['results'][0]}?signature={len(seen)}"]
        elif key == "progress" and view["status"] == "processing":
            view["progress"] = min(99, view["progress"] + len(seen))

    return edit


def _failed(view: Any) -> bool:
    return bool(view["status"] == "failed")


def _fails_with(code: str) -> Callable[[Any], bool]:
    return lambda view: bool(view.get("error") and view["error"]["code"] == code)


def _completed(view: Any) -> bool:
    return bool(view["status"] == "completed")


def _another(**values: Any) -> Edit:
    """Other values in the error of a failed task."""
    return lambda view: view["error"].update(values) if view.get("error") else None


def _falls(view: Any) -> None:
    if view["status"] == "processing" and view["progress"] > 50:
        view["progress"] -= 30


def _forgotten(response: Any, service: Any, exchange: Any, task_id: str) -> None:
    if exchange.at > service.storage.tasks[task_id].plan.ended_at + 3600:
        raise ApiError(404)


def _status(starts_after: float, ends_after: bool = False) -> Callable[[Any, float], str]:
    """The status of a task that starts so many seconds late; `ends_after`: it still runs at its exact end."""

    def status_of(plan: Any, now: float) -> str:
        if now > plan.ended_at or (now == plan.ended_at and not ends_after):
            return str(plan.outcome)
        return "processing" if now >= plan.processing_at + starts_after else "pending"

    return status_of


LIVES: Table = {
    "starts late": ("life.moments", part(lifecycle, "status", _status(0.5))),
    "ends late": ("life.end.exact", part(lifecycle, "status", _status(0, ends_after=True))),
    "no queue": ("life.order life.moments life.first_poll", part(lifecycle, "status", _status(-60))),
    "progress is constant": ("life.progress.*", part(lifecycle, "progress", lambda plan, now: 0)),
    "progress falls": ("life.progress.rises", responses(task(_falls))),
    "101 percent": (
        "life.shape life.progress.bounds life.followed",
        responses(task(when(_completed, progress=101))),
    ),
    "results early": (
        "life.results",
        responses(task(when(lambda view: view["status"] == "processing", results=["https://x.y/video.mp4"]))),
    ),
    "results twice": (
        "life.results",
        responses(task(lambda view: "results" in view and view["results"].append("https://x.y/"))),
    ),
    "links are signed anew": ("life.results.stay life.final", responses(task(_counting("results")))),
    "error of no failure": ("life.no_error", responses(task(when(_completed, error={"code": "ok"})))),
    "can_cancel for ever": ("life.can_cancel", responses(task(lambda view: view["task_info"].update(can_cancel=True)))),
    "created is another in polls": (
        "life.immutable creation.queried",
        responses(task(lambda view: view.update(created=view["created"] + 1))),
    ),
    "completed at 99": (
        "life.shape life.progress.bounds life.followed",
        responses(task(when(_completed, progress=99))),
    ),
    "model changes": ("life.immutable", responses(task(lambda view: view.update(model=f"m{view['progress']}")))),
    "forgotten after an hour": (
        "life.final life.failed.* life.results.stay",
        wrapped(tasks.query, then(_forgotten)),
    ),
    "reading changes progress": ("life.reading", responses(task(_counting("progress")))),
    "first poll": (
        "life.first_poll",
        responses(task(when(lambda view: view["status"] == "pending", status="processing", progress=1))),
    ),
    "another word": ("life.followed life.shape", responses(task(when(_completed, status="succeeded")))),
    "failed at 100": (
        "life.failed.* life.cancelled life.moderation",
        around(lifecycle, "progress", lambda progress, p, now: 100 if now >= p.ended_at else progress(p, now)),
    ),
    "failed with results": ("life.failed.* life.cancelled", responses(task(when(_failed, results=[])))),
    "error null": ("life.failed.* life.cancelled", responses(task(lambda v: "error" in v and v.update(error=None)))),
    "error type": ("life.failed.* life.moderation", responses(task(_another(type="error")))),
    "no code but one": ("life.failed.[!u]* life.moderation", responses(task(_another(code="unknown_error")))),
    "moderation's message": ("life.moderation", responses(task(_another(message="blocked")))),
    "a fifth state": (
        "life.cancelled life.failed.request_cancelled",
        responses(task(when(_fails_with("request_cancelled"), status="cancelled"))),
    ),
}
