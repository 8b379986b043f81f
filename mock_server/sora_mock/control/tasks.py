"""`/__mock/tasks`: what clients see of tasks and what is decided already; `/__mock/tasks/{task_id}/finish`."""

from functools import partial
from math import inf
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sora_mock.control.errors import ControlError, bad_body, json_response
from sora_mock.control.lists import lists_of
from sora_mock.control.reading import Fields, account_key, query_limit, read_fields, service_of
from sora_mock.domain import lifecycle
from sora_mock.domain.delivery import delivery_id
from sora_mock.domain.errors import near_names
from sora_mock.domain.plan import Failure
from sora_mock.domain.task import Task, result_url, task_view
from sora_mock.domain.text import redacted_value
from sora_mock.domain.values import short_text
from sora_mock.service import tasks
from sora_mock.service.context import Service


async def show(request: Request) -> Response:
    """GET: the newest `?limit=` tasks, newest first."""
    key, service, limit = account_key(request), service_of(request), query_limit(request)
    storage = service.storage
    newest = storage.newest_tasks(limit) if key is None else storage.account(key).newest_tasks(limit)
    # an account, with its tasks, may be forgotten while the list is built
    shown = (task for task in newest if storage.account_by_name(task.account) is not None)
    async with lists_of(request).build(request, key) as builder:
        return await builder.response("tasks", shown, partial(_view, service))


async def finish(request: Request) -> Response:
    """POST: ends a task now; responds when its callback attempt is over, if one runs."""
    key, service, task_id = account_key(request), service_of(request), request.path_params["task_id"]
    fields = await read_fields(request, outcome=_outcome, code=short_text, message=short_text)
    if "outcome" not in fields:
        raise bad_body("outcome is required: completed, failed or cancelled")
    task = service.storage.tasks.get(task_id)
    owner = None if task is None else service.storage.owner(task)
    if task is None or owner is None or (key is not None and owner is not service.storage.account(key)):
        raise ControlError(404, "task_not_found", f"there is no task {task_id[:80]!r} in this account")
    with owner:
        now = service.now(owner)
        if lifecycle.has_ended(task.plan, now):
            raise ControlError(409, "task_over", f"the task has {lifecycle.status(task.plan, now)} already")
        ended = tasks.finish(service, owner, task, fields["outcome"], _failure(service, fields))
        view = _view(service, ended)
    if ended.callback_url is not None:
        await request.app.state.scheduler.attempts_finished(owner, delivery_id(task_id))
    return json_response(view)


def _failure(service: Service, fields: Fields) -> Failure | None:
    """What the task says of its failure. Raises ControlError 400 for a code that is not documented."""
    outcome, code, message = fields["outcome"], fields.get("code"), fields.get("message")
    if outcome == "completed":
        if code is not None or message is not None:
            raise bad_body("code and message are for outcome failed or cancelled")
        return None
    code = code or ("request_cancelled" if outcome == "cancelled" else "unknown_error")
    known = service.contract.failure_messages
    if code not in known:
        raise bad_body(f"code {code[:80]!r} is no failure code{near_names(code, known)}")
    return Failure(code, message or known[code])


def _view(service: Service, task: Task) -> Fields:
    """What a client sees of a task, and under `mock` what only the mock knows."""
    now, plan = service.now(service.storage.owner(task)), task.plan
    endless = plan.ended_at == inf
    decided = {
        "account": task.account,
        "scenario": task.scenario.name,
        "outcome": None if endless else plan.outcome,
        "created_at": plan.created_at,
        "processing_at": plan.processing_at,
        "ended_at": None if endless else plan.ended_at,
        "result_url": result_url(task) if plan.outcome == "completed" and not endless else None,
        "callback_url": task.callback_url,
    }
    return {**redacted_value(task_view(task, now, service.settings.behaviour)), "mock": redacted_value(decided)}


def _outcome(value: Any) -> Any:
    if value not in ("completed", "failed", "cancelled"):
        raise ValueError("expected completed, failed or cancelled")
    return value
