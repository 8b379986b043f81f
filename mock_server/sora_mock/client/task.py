"""One task of an account."""

from typing import Literal
from urllib.parse import quote

from sora_mock.client.control import CALLBACK_TIMEOUT, Control, Refused
from sora_mock.client.views import TaskView

# pytest shows the caller's line instead of ours
__tracebackhide__ = True

Outcome = Literal["completed", "failed", "cancelled"]


class Task:
    """A task by its id. The mock looks the id up when a member is used."""

    def __init__(self, control: Control, task_id: str) -> None:
        self._control = control
        self.id = task_id

    @property
    def view(self) -> TaskView:
        """The task as its client sees it now. Raises Refused 404."""
        for task in self._control.call("GET", "/tasks?limit=10000")["tasks"]:
            if task["id"] == self.id:
                found: TaskView = task
                return found
        raise Refused(404, "task_not_found", f"there is no task {self.id!r} in this account")

    def finish(
        self, outcome: Outcome = "completed", *, code: str | None = None, message: str | None = None
    ) -> TaskView:
        """Ends the task now and sends its callback.

        code, message: of a failure, None for the defaults of the service. Raises Refused 404, and 409 for a task that
        has ended.
        """
        body = {"outcome": outcome, "code": code, "message": message}
        given = {name: value for name, value in body.items() if value is not None}
        path = f"/tasks/{quote(self.id, safe='')}/finish"
        view: TaskView = self._control.call("POST", path, given, timeout=CALLBACK_TIMEOUT)
        return view
