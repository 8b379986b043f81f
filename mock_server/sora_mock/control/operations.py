"""What the control API does to the world: clocks, balances, tasks, journals; for one account or for all of them."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sora_mock.domain import lifecycle
from sora_mock.domain.clock import Clock
from sora_mock.domain.delivery import Delivery, delivery_id, next_attempt_at, state
from sora_mock.domain.errors import near_names
from sora_mock.domain.ledger import to_credits
from sora_mock.domain.plan import Failure, Outcome
from sora_mock.domain.queue_rule import QueueRule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import find_scenario, override
from sora_mock.domain.task import Task, result_url, task_view
from sora_mock.domain.text import redacted
from sora_mock.domain.token_bucket import RateLimit, TokenBucket
from sora_mock.service.emulator import NO_CREDIT, Emulator
from sora_mock.storage import inbox, journal
from sora_mock.storage.memory import Account, Store, Template

if TYPE_CHECKING:
    from sora_mock.callbacks.scheduler import Worker

SHARED_KEY: Final = "sk-mock-shared-inbox"

MOST_RULES = 1_000
"""Rules that an account's queue holds."""


class ControlError(Exception):
    """A control call that cannot be done: HTTP status, code, and a message for the person who reads it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


class Controls:
    """Each method takes the key that the call is about; None is the whole server.

    worker: gives the one that makes callback attempts, when there is one to make.
    Reads then combine all accounts, or show what new ones begin with; writes reach every account and later ones.
    """

    def __init__(self, emulator: Emulator, worker: Callable[[], "Worker"]) -> None:
        self.emulator = emulator
        self.worker = worker
        self._rule_numbers = itertools.count(1)

    @property
    def store(self) -> Store:
        """The facts."""
        return self.emulator.store

    def _subject(self, key: str | None) -> Account | Template:
        return self.emulator.template if key is None else self.emulator.account(key)

    def _subjects(self, key: str | None) -> list[Account | Template]:
        return [self.emulator.template, *self._accounts(None)] if key is None else [self.emulator.account(key)]

    def _accounts(self, key: str | None) -> list[Account]:
        return list(self.store.accounts.values()) if key is None else [self.emulator.account(key)]

    def clock(self, key: str | None) -> dict[str, Any]:
        """The clock as `GET /__mock/clock` answers it; `now` in Unix seconds."""
        shown = self._subject(key).clock
        view = {"now": shown.at(self.emulator.real_now()), "speed": shown.speed, "frozen": shown.frozen}
        return {**view, "per_request": shown.per_request}

    async def change_clock(
        self,
        key: str | None,
        *,
        now: float | None = None,
        speed: float | None = None,
        frozen: bool | None = None,
        per_request: float | None = None,
    ) -> None:
        """Sets what is not None. Raises ControlError 400 for a `now` in the past, changing nothing."""
        real = self.emulator.real_now()
        if now is not None:
            latest = max(subject.clock.at(real) for subject in self._subjects(key))
            if now < latest:
                raise ControlError(400, "clock_backwards", f"now must not lie before the clock's {latest!r}")
        for subject in self._subjects(key):
            self._set_clock(subject, subject.clock.changed(real, speed=speed, frozen=frozen, per_request=per_request))
        if now is not None:
            await self._walk(key, lambda shown: max(shown, now))
        for account in self._accounts(key):
            self.emulator.callbacks.on_due(account)

    async def advance(self, key: str | None, seconds: float) -> None:
        """Moves the clock on by `seconds`; on return all has happened that fell due, callback attempts included."""
        await self._walk(key, lambda shown: shown + seconds)

    async def _walk(self, key: str | None, until: Callable[[float], float]) -> None:
        """Moves clocks to `until(the moment they show)`, each account's callbacks made on the way."""
        real = self.emulator.real_now()
        walks = []
        for subject in self._subjects(key):
            if isinstance(subject, Account) and subject.deliveries:
                walks.append(self.worker().walk(subject, until))
            else:
                self._set_clock(subject, subject.clock.moved(real, until(subject.clock.at(real))))
        await asyncio.gather(*walks)

    def _set_clock(self, subject: Account | Template, changed: Clock) -> None:
        if isinstance(subject, Template):
            self.emulator.template = msgspec.structs.replace(subject, clock=changed)
            return
        subject.clock = changed
        self.emulator.settle(subject, changed.at(self.emulator.real_now()))

    def account(self, key: str | None) -> dict[str, Any]:
        """Balance and rate limit; without a key those of new accounts."""
        if key is None:
            template = self.emulator.template
            remaining, reserved, used, rate = template.remaining, 0, 0, template.rate
        else:
            account = self.emulator.account(key)
            self.emulator.settle(account, account.clock.at(self.emulator.real_now()))
            ledger = account.ledger
            remaining, reserved, used = ledger.remaining, ledger.reserved, ledger.used
            rate = None if account.bucket is None else account.bucket.rate
        return {
            "remaining_credits": "unlimited" if remaining is None else to_credits(remaining),
            "reserved_credits": to_credits(reserved),
            "used_credits": to_credits(used),
            "rate_limit": None if rate is None else rate.text,
        }

    def set_balance(self, key: str | None, remaining: int | None) -> None:
        """Sets what remains, in units; None is unlimited. What is reserved or used stays."""
        if key is None:
            self.emulator.template = msgspec.structs.replace(self.emulator.template, remaining=remaining)
        accounts = self._accounts(key)
        if key is None:
            # the balance of the others is what their key means
            accounts = [each for name, each in self.store.accounts.items() if not name.startswith(NO_CREDIT)]
        for account in accounts:
            self.emulator.settle(account, account.clock.at(self.emulator.real_now()))
            account.ledger = msgspec.structs.replace(account.ledger, remaining=remaining)

    def set_rate(self, key: str | None, rate: RateLimit | None) -> None:
        """Sets the rate limit, with a full bucket; None lifts it."""
        if key is None:
            self.emulator.template = msgspec.structs.replace(self.emulator.template, rate=rate)
        for account in self._accounts(key):
            now = account.clock.at(self.emulator.real_now())
            account.bucket = None if rate is None else TokenBucket.full(rate, now)

    def tasks(self, key: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` tasks, newest first."""
        if key is None:
            newest = itertools.islice(reversed(self.store.tasks.values()), limit)
        else:
            ids = itertools.islice(reversed(self.emulator.account(key).tasks), limit)
            newest = (self.store.tasks[task_id] for task_id in ids)  # type: ignore[assignment]
        real = self.emulator.real_now()
        return [self._task_view(task, real) for task in newest]

    def _task_view(self, task: Task, real: float) -> dict[str, Any]:
        """What a client sees of a task, and beside it what is decided already."""
        now = self.store.by_name[task.account].clock.at(real)
        plan = task.plan
        endless = plan.ended_at == float("inf")
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
        return {**task_view(task, now, self.emulator.settings.behaviour), "mock": decided}

    def finish(
        self, key: str | None, task_id: str, outcome: Outcome, code: str | None, message: str | None
    ) -> dict[str, Any]:
        """Ends a task now. Raises ControlError 404 for an unknown task, 409 for one that is over."""
        task = self.store.tasks.get(task_id)
        owner = None if task is None else self.store.by_name[task.account]
        if task is None or owner is None or (key is not None and owner is not self.emulator.account(key)):
            raise ControlError(404, "task_not_found", f"there is no task {task_id[:80]!r} in this account")
        real = self.emulator.real_now()
        now = owner.clock.at(real)
        if lifecycle.has_ended(task.plan, now):
            raise ControlError(409, "task_over", f"the task has {lifecycle.status(task.plan, now)} already")
        failure = self.failure(outcome, code, message)
        ended = msgspec.structs.replace(task, plan=task.plan.ending(now, outcome, failure))
        self.store.put_task(owner, ended)
        self.emulator.settle(owner, now)
        self.emulator.callbacks.moved(owner, ended)
        return self._task_view(ended, real)

    async def reported(self, task_id: str) -> None:
        """Returns when the callback attempt of a task that is under way is over, if there is one."""
        task = self.store.tasks.get(task_id)
        if task is not None and task.callback_url is not None:
            await self.worker().settled(self.store.by_name[task.account], delivery_id(task.id))

    def failure(self, outcome: Outcome, code: str | None, message: str | None) -> Failure | None:
        """What a task that ends like this says. Raises ControlError 400 for a code that is not documented."""
        if outcome == "completed":
            if code is not None or message is not None:
                raise ControlError(400, "invalid_body", "code and message are for outcome failed or cancelled")
            return None
        code = code or ("request_cancelled" if outcome == "cancelled" else "unknown_error")
        known = self.emulator.contract.failure_messages
        if code not in known:
            raise ControlError(400, "invalid_body", f"code {code[:80]!r} is no failure code{near_names(code, known)}")
        return Failure(code, message or known[code])

    def scenarios(self, key: str | None) -> dict[str, Any]:
        """The catalogue and the queue; without a key the rules of all accounts and of new ones, each once."""
        rules = {rule.number: rule for subject in self._subjects(key) for rule in subject.queue}
        listed = []
        for scenario in self.emulator.select.catalogue.values():
            fields = msgspec.structs.asdict(scenario)
            defaults = Scenario(name="", description="")
            listed.append({name: value for name, value in fields.items() if value != getattr(defaults, name)})
        return {"scenarios": listed, "queue": [_rule_view(rules[number]) for number in sorted(rules)]}

    def queue(
        self, key: str | None, name: str, times: int | None, match: tuple[str, dict[str, Any]], given: dict[str, Any]
    ) -> dict[str, Any]:
        """Puts a rule at the end of the queue. Raises ControlError 400 for what could never happen."""
        operation, fields = match
        select = self.emulator.select
        try:
            scenario = override(find_scenario(name, select.catalogue), given, select.limits)
        except ValueError as problem:
            raise ControlError(400, "unknown_scenario", str(problem)) from None
        if operation != "create" and not scenario.affects(operation):
            message = f"{name} does nothing to the answer of a {operation}: queue it for operation create"
            raise ControlError(400, "invalid_body", message)
        rule = QueueRule(next(self._rule_numbers), scenario, times, operation, fields, given)
        if any(len(subject.queue) >= MOST_RULES for subject in self._subjects(key)):
            raise ControlError(409, "queue_full", f"a queue holds {MOST_RULES} rules; DELETE empties it")
        for subject in self._subjects(key):
            self._set_queue(subject, (*subject.queue, rule))
        return _rule_view(rule)

    def empty_queue(self, key: str | None) -> None:
        """Forgets every rule."""
        for subject in self._subjects(key):
            self._set_queue(subject, ())

    def _set_queue(self, subject: Account | Template, queue: tuple[QueueRule, ...]) -> None:
        if isinstance(subject, Template):
            self.emulator.template = msgspec.structs.replace(subject, queue=queue)
        else:
            subject.queue = queue

    def deliveries(self, key: str | None, task_id: str | None) -> list[dict[str, Any]]:
        """Callbacks, newest first, perhaps of one task alone."""
        found = [
            self._delivery_view(account, delivery)
            for account in self._accounts(key)
            for delivery in account.deliveries.values()
            if task_id in (None, delivery.task_id)
        ]
        return sorted(found, key=lambda view: (view["first_at"] is None, view["first_at"] or 0.0), reverse=True)

    async def redeliver(self, key: str | None, wanted: str) -> dict[str, Any]:
        """Sends a callback once more, now. Raises ControlError 404, and 409 for a task that has not ended."""
        owners = [account for account in self._accounts(key) if wanted in account.deliveries]
        if not owners:
            raise ControlError(404, "delivery_not_found", f"there is no delivery {wanted[:80]!r} in this account")
        owner, delivery = owners[0], owners[0].deliveries[wanted]
        task = self.store.tasks.get(delivery.task_id)
        if task is None or not lifecycle.has_ended(task.plan, owner.clock.at(self.emulator.real_now())):
            raise ControlError(409, "task_not_over", "its task has not ended: there is nothing to deliver yet")
        await self.worker().redeliver(owner, delivery)
        return self._delivery_view(owner, owner.deliveries[wanted])

    def _delivery_view(self, account: Account, delivery: Delivery) -> dict[str, Any]:
        now = account.clock.at(self.emulator.real_now())
        task = self.store.tasks.get(delivery.task_id)
        over = task is not None and lifecycle.has_ended(task.plan, now)
        body = self.emulator.callback_body(delivery, now) if over else None
        upcoming = next_attempt_at(delivery)
        return {
            "id": delivery.id,
            "task_id": delivery.task_id,
            "url": redacted(delivery.url),
            "state": state(delivery),
            "note": delivery.note,
            "first_at": None if delivery.first_at == inf else delivery.first_at,
            "next_at": None if upcoming == inf else upcoming,
            "attempts": [msgspec.structs.asdict(attempt) for attempt in delivery.attempts],
            "body": None if body is None else msgspec.json.decode(body),
        }

    def set_routes(self, key: str | None, routes: dict[str, str]) -> None:
        """Where callbacks to these origins are sent, in the place of what was set before."""
        if key is None:
            self.emulator.template = msgspec.structs.replace(self.emulator.template, routes=routes)
        for account in self._accounts(key):
            account.routes = routes

    def messages(self, key: str | None, name: str) -> list[inbox.Message]:
        """What an inbox has got, oldest first; without a key those of all accounts."""
        if key is not None:
            return list(self.emulator.callbacks.inbox(self.emulator.account(key), name).messages)
        boxes = [account.inboxes[name] for account in self._accounts(None) if name in account.inboxes]
        return sorted(itertools.chain.from_iterable(box.messages for box in boxes), key=lambda message: message.at)

    def receive(self, key: str | None, name: str, headers: Mapping[str, str], body: bytes) -> inbox.Reply:
        """A POST to an inbox; without a key it lands in an account that such calls share."""
        account = self.emulator.account(key or SHARED_KEY)
        at = account.clock.at(self.emulator.real_now())
        return self.emulator.callbacks.receive(account, name, inbox.Message(at, headers, body))

    def set_replies(self, key: str | None, name: str, replies: tuple[inbox.Reply, ...]) -> None:
        """What an inbox answers next, the last one for ever."""
        if key is None:
            self.store.replies[name] = replies
        for account in self._accounts(key):
            if key is not None or name in account.inboxes:
                self.emulator.callbacks.inbox(account, name).replies = replies

    def requests(self, key: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` records of the journal, newest first, without keys."""
        if key is not None:
            records = list(self.emulator.account(key).journal)
        else:
            journals = [self.store.nobody, *(account.journal for account in self.store.accounts.values())]
            records = sorted(itertools.chain.from_iterable(journals), key=lambda record: record.number)
        return [journal.shown(record) for record in reversed(records[-limit:])]

    def reset(self, key: str | None) -> None:
        """Forgets the account, or every account and what control calls have set for new ones."""
        if key is not None:
            self.store.forget(key)
            return
        self.store.clear()
        self.emulator.template = self.emulator.first_template()


def _rule_view(rule: QueueRule) -> dict[str, Any]:
    return {
        "rule": rule.number,
        "scenario": rule.scenario.name,
        "times": rule.times,
        "match": {"operation": rule.operation, **rule.match},
        "override": rule.override,
    }
