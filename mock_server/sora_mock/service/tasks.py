"""`GET /v1/tasks/{task_id}`, and what else happens to tasks: credits are settled, tasks are ended and forgotten."""

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.domain.plan import Failure, Outcome
from sora_mock.domain.shape import shaped
from sora_mock.domain.task import Task, task_view
from sora_mock.service import callbacks
from sora_mock.service.admission import admit
from sora_mock.service.authentication import arrive, authenticate
from sora_mock.service.context import Service, encode
from sora_mock.storage.memory import MemoryAccount


def query(service: Service, exchange: Exchange, task_id: str) -> ApiResponse:
    """The task as it is now. Raises ApiError."""
    with authenticate(service, exchange) as account:
        now = arrive(service, account, exchange)
        admit(service, account, exchange, now, "query")
        task = service.storage.tasks.get(task_id)
        if task is None:
            service.contract.check_task_id(task_id)
            raise ApiError(404)
        if task.account != account.facts.name:
            raise ApiError(403)
        exchange.task_id = task_id
        body = shaped(task_view(task, now, service.settings.behaviour), task.scenario.shape)
        if exchange.shape != task.scenario.shape:
            body = shaped(body, exchange.shape)
        return ApiResponse(200, encode(body))


def settle(account: MemoryAccount, now: float) -> None:
    """Charges the price of every task that completed by `now`, and releases that of every other one that ended."""
    if not account.has_unsettled(now):
        return
    ledger = account.facts.ledger
    for task in account.pop_ended(now):
        ledger = ledger.charge(task.price) if task.plan.outcome == "completed" else ledger.release(task.price)
    account.facts = msgspec.structs.replace(account.facts, ledger=ledger)


def finish(service: Service, account: MemoryAccount, task: Task, outcome: Outcome, failure: Failure | None) -> Task:
    """Ends an unfinished task now; its callback follows. The caller has checked that it is unfinished."""
    now = service.now(account)
    ended = msgspec.structs.replace(task, plan=task.plan.ending(now, outcome, failure))
    account.put_task(ended)
    settle(account, now)
    callbacks.reschedule(service, account, ended)
    return ended


def forget_oldest(service: Service, account: MemoryAccount) -> None:
    """Forgets the oldest task of `account`, or of the least recently used account that has any.

    An unfinished task's reserved credits are released.
    """
    owner = account
    if owner.oldest_task() is None:
        owner = next(each for each in service.storage.accounts() if each.oldest_task() is not None)
    task = owner.oldest_task()
    assert task is not None
    now = service.now(owner)
    settle(owner, now)
    if not lifecycle.has_ended(task.plan, now):
        ledger = owner.facts.ledger.release(task.price)
        owner.facts = msgspec.structs.replace(owner.facts, ledger=ledger)
    owner.forget_oldest_task()
