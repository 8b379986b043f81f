"""Faults that only show for requests nobody wrote by hand, or that break the link between operations."""

from typing import Any

from tests.contract.faults.answering import CREATE, CREDITS, TASKS, Answer, body, creation, status, task
from tests.contract.faults.planting import Table, answers, refused, repaired


def _text_balance(said: Any) -> None:
    said["data"]["token"]["used_credits"] = str(said["data"]["token"]["used_credits"])


def _accepts_all(answer: Answer) -> None:
    if answer.status == 400 and answer.path == CREATE:
        answer.status, answer.json = 200, {"id": "task-unified-1700000000-abcdefgh"}


def _far_plane(request: Any) -> bool:
    """Refuses what no rule sends: a prompt with a character beyond the first planes."""
    return any(ord(each) > 0x2FFFF for each in request["prompt"])


def _forgiving(request: Any) -> None:
    """Drops a ratio that is no text: rules send wrong texts, and only some wrong types."""
    if isinstance(request.get("aspect_ratio"), (list, dict)):
        del request["aspect_ratio"]


GENERATED: Table = {
    "far planes refused": ("generated.create.accepted", refused(_far_plane)),
    "no task_info": ("generated.create.accepted", answers(creation(lambda said: said.pop("task_info")))),
    "everything accepted": ("generated.create.refused", answers(_accepts_all)),
    "wrong ratios forgiven": ("generated.create.refused", repaired(_forgiving)),
    "gone instead of unknown": ("generated.query", answers(status(404, 410, TASKS))),
    "balance as text": ("generated.credits", answers(body(CREDITS, _text_balance))),
    "link to another task": (
        "generated.link",
        answers(task(lambda said: said.update(id="task-unified-1700000000-abcdefgh"))),
    ),
}
