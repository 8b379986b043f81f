"""The service without HTTP, at a real time that the test sets."""

import json
from typing import Any

from sora_mock.api import errors
from sora_mock.config.settings import Settings
from sora_mock.domain import lifecycle
from sora_mock.domain.contract import CREATE, CREDITS, QUERY
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.plan import Failure, Outcome
from sora_mock.domain.task import Task
from sora_mock.service import credits, tasks, videos
from sora_mock.service.composition import build_service

START = 1_795_341_600.25
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}


class FrozenService:
    """A service of its own.

    real: Unix seconds that the machine's clock shows; only the test changes it.
    service: the service itself. exchange: the last one that was sent.
    """

    def __init__(self, **settings: Any) -> None:
        self.real = START
        self.service = build_service(Settings(**{"seed": 7, **settings}), real_now=lambda: self.real)
        self.exchange = Exchange("-", "-", {})

    def send(
        self, operation: str, *, key: str = "sk-a", body: Any = None, task_id: str = "", **headers: str
    ) -> ApiResponse:
        """Sends one request, and returns the response as the HTTP side would send it."""
        fields = {b"authorization": f"Bearer {key}".encode()}
        fields |= {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else json.dumps(ORDER if body is None else body).encode()
        method = "POST" if operation == CREATE else "GET"
        exchange = self.exchange = Exchange(method, f"/v1/tasks/{task_id}", fields, raw, "http://localhost")
        try:
            if operation == CREATE:
                return videos.create(self.service, exchange)
            if operation == QUERY:
                return tasks.query(self.service, exchange, task_id)
            assert operation == CREDITS
            return credits.show(self.service, exchange)
        except ApiError as error:
            return errors.error_response(self.service.contract, exchange, error, operation)

    def create(self, **more: Any) -> Any:
        """The body of the response to a create request, which succeeds."""
        response = self.send(CREATE, **more)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def query(self, task_id: str, **more: Any) -> Any:
        """The body of the response to a task query."""
        return json.loads(self.send(QUERY, task_id=task_id, **more).body)

    def ledger(self, key: str = "sk-a") -> Ledger:
        """What the control API shows of an account's credits, in units."""
        with self.service.storage.account(key) as account:
            tasks.settle(account, self.service.now(account))
            return account.facts.ledger

    def finish(self, task_id: str, outcome: Outcome, key: str = "sk-a") -> Task | None:
        """Ends a task of that account now; None where the control API would respond with an error."""
        account = self.service.storage.account(key)
        task = account.task(task_id)
        if task is None or lifecycle.has_ended(task.plan, self.service.now(account)):
            return None
        failure = None if outcome == "completed" else Failure("service_error", "try later")
        return tasks.finish(self.service, account, task, outcome, failure)
