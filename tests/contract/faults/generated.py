"""Faults that only show for generated requests, or that break the link between operations."""

from typing import Any

from tests.contract.faults.planting import Table, rejected, repaired, responses
from tests.contract.faults.responses import CREATE, CREDITS, TASKS, Response, body, created, status, task


def _text_balance(view: Any) -> None:
    view["data"]["token"]["used_credits"] = str(view["data"]["token"]["used_credits"])


def _accepts_all(response: Response) -> None:
    if response.status == 400 and response.path == CREATE:
        response.status, response.json = 200, {"id": "task-unified-1700000000-abcdefgh"}


def _far_plane(request: Any) -> bool:
    """Fits what no rule sends: a prompt with a character beyond the first planes."""
    return any(ord(each) > 0x2FFFF for each in request["prompt"])


def _forgiving(request: Any) -> None:
    """Drops a ratio that is an array or an object: rules send wrong texts, and only some wrong types."""
    if isinstance(request.get("aspect_ratio"), (list, dict)):
        del request["aspect_ratio"]


GENERATED: Table = {
    "far planes rejected": ("generated.create.accepted", rejected(_far_plane)),
    "no task_info": ("generated.create.accepted", responses(created(lambda view: view.pop("task_info")))),
    "everything accepted": ("generated.create.refused", responses(_accepts_all)),
    "wrong ratios forgiven": ("generated.create.refused", repaired(_forgiving)),
    "gone instead of unknown": ("generated.query", responses(status(404, 410, TASKS))),
    "balance as text": ("generated.credits", responses(body(CREDITS, _text_balance))),
    "link to another task": (
        "generated.link",
        responses(task(lambda view: view.update(id="task-unified-1700000000-abcdefgh"))),
    ),
}
