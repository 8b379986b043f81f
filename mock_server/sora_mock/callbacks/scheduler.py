"""Makes each callback attempt at its time of the account's clock, many at once, also while a clock is advanced."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sora_mock.domain.clock import MAX_TIME
from sora_mock.domain.delivery import TIMEOUT, Attempt, Delivery, Destination
from sora_mock.domain.events import CallbackPlanned
from sora_mock.runtime.clock import stopwatch
from sora_mock.service import callbacks, clocks
from sora_mock.service.context import Service
from sora_mock.service.tasks import settle
from sora_mock.storage.inboxes import InboxMessage
from sora_mock.storage.memory import MAX_ACCOUNTS, MemoryAccount

if TYPE_CHECKING:
    from sora_mock.callbacks.sender import AttemptResult, Sender

MAX_CONCURRENT: Final = 2_000
"""Attempts that run at once; far above what receivers that hang for 10 s can occupy."""

SPARE_FILES: Final = 200
"""Open files that are left to everything else, where the system allows fewer than `MAX_CONCURRENT`."""

MAX_TIMER: Final = 86_400.0
"""Seconds of the longest timer; a later attempt gets a new timer when this one fires."""


class _Schedule:
    """What runs for one account.

    running: delivery id of each running attempt, by its asyncio task. timer: for the next attempt; None for none.
    advance_lock: held while the clock is advanced.
    """

    __slots__ = ("account", "advance_lock", "running", "timer")

    def __init__(self, account: MemoryAccount) -> None:
        self.account = account
        self.running: dict[asyncio.Task[bool], str] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.advance_lock = asyncio.Lock()


class Scheduler:
    """The only active part of the server. It belongs to the event loop in which the first callback is planned."""

    def __init__(self, service: Service, sender: "Sender | None" = None) -> None:
        """`sender` makes the POSTs; None for one that is made with the first attempt."""
        self._service = service
        self._sender = sender
        self._schedules: dict[str, _Schedule] = {}
        self._slots = asyncio.Semaphore(max_concurrent())
        service.events.subscribe(CallbackPlanned, lambda event: self.wake(event.account))

    def _schedule(self, account: MemoryAccount) -> _Schedule:
        """The account's schedule. An account that was reset has the same name and gets a new one."""
        found = self._schedules.get(account.facts.name)
        if found is None or found.account is not account:
            if len(self._schedules) >= 2 * MAX_ACCOUNTS:
                self._forget_former_accounts()
            found = self._schedules[account.facts.name] = _Schedule(account)
        return found

    def _forget_former_accounts(self) -> None:
        """Accounts that the storage has forgotten need no schedule; attempts that run hold what they need."""
        find = self._service.storage.account_by_name
        self._schedules = {name: each for name, each in self._schedules.items() if find(name) is each.account}

    def wake(self, name: str) -> None:
        """Starts the attempts that are due and sets the timer for the next one. Called when either may have changed."""
        known = self._schedules.get(name)
        if known is not None and known.timer is not None:
            known.timer.cancel()
            known.timer = None
        account = self._service.storage.account_by_name(name)
        if account is None or (known is not None and known.account is not account):
            self._schedules.pop(name, None)
        if account is None or not len(account.deliveries):
            return
        schedule, real = self._schedule(account), self._service.real_now()
        clock = account.facts.clock
        self._start_due(schedule, clock.at(real))
        due_at = account.deliveries.next_due_at()
        if due_at is not None and not clock.frozen and due_at <= MAX_TIME:
            delay = min(max(0.0, clock.real_at(due_at) - real), MAX_TIMER)
            schedule.timer = asyncio.get_running_loop().call_later(delay, self.wake, name)

    async def attempts_finished(self, account: MemoryAccount, delivery_id: str | None = None) -> None:
        """Returns when the attempts that run now are over: those of one delivery, or all of the account."""
        schedule = self._schedules.get(account.facts.name)
        if schedule is not None and schedule.account is account:
            await _finished(schedule, delivery_id)

    async def advance(self, account: MemoryAccount, target_time: Callable[[float], float]) -> None:
        """Advances an account's clock, and stops at every due time until the attempts there are over.

        target_time: the time to reach, given the time that the clock shows when it is this call's turn.
        An account that is forgotten meanwhile ends it.
        """
        service, schedule = self._service, self._schedule(account)
        async with schedule.advance_lock:
            target = target_time(service.now(account))
            while True:
                # The end of one attempt may have started another one.
                while schedule.running:
                    await _finished(schedule)
                if not self._is_current(account):
                    return
                now, due_at = service.now(account), account.deliveries.next_due_at()
                # A clock that runs may have passed the target while the attempts took place.
                if due_at is None or due_at > max(target, now):
                    break
                clocks.move(service, account, max(due_at, now))
                self._start_due(schedule, max(due_at, now))
            clocks.move(service, account, max(target, now))
            self.wake(account.facts.name)

    def _is_current(self, account: MemoryAccount) -> bool:
        """Whether the account was not forgotten. A new account of the same key is another one."""
        return self._service.storage.account_by_name(account.facts.name) is account

    async def redeliver(self, account: MemoryAccount, delivery: Delivery) -> None:
        """Makes one more attempt, outside the retry schedule; returns when it is over."""
        await asyncio.wait([self._start(self._schedule(account), delivery.id, extra=True)])

    def _start_due(self, schedule: _Schedule, now: float) -> None:
        busy = set(schedule.running.values())
        for delivery in schedule.account.deliveries.pop_due(now):
            # Where an attempt of the delivery runs already, its end schedules the next one.
            if delivery.id not in busy:
                busy.add(delivery.id)
                self._start(schedule, delivery.id)

    def _start(self, schedule: _Schedule, delivery_id: str, *, extra: bool = False) -> asyncio.Task[bool]:
        attempt = asyncio.get_running_loop().create_task(self._attempt(schedule.account, delivery_id, extra))
        schedule.running[attempt] = delivery_id

        def finish(done: asyncio.Task[bool]) -> None:
            # Both in one step: a wake-up in between would find the next attempt due and this one still running.
            del schedule.running[done]
            account = schedule.account
            if not done.cancelled() and done.result():
                delivery = account.deliveries.get(delivery_id)
                if delivery is not None:
                    account.deliveries.schedule(delivery)
            if self._is_current(account):
                self.wake(account.facts.name)

        attempt.add_done_callback(finish)
        return attempt

    async def _attempt(self, account: MemoryAccount, delivery_id: str, extra: bool) -> bool:
        """Prepares, sends and records one attempt; False where there was nothing to send."""
        async with self._slots:
            service = self._service
            at = service.now(account)
            delivery = account.deliveries.get(delivery_id)
            with account:
                settle(account, at)
            body = None if delivery is None else callbacks.body(service, delivery, at)
            if delivery is None or body is None:
                return False
            began = stopwatch()
            result = await self._send(account, callbacks.target(service, account, delivery.url), at, body)
            seconds = round(stopwatch() - began, 6)
            with account:
                # the delivery may have been replaced meanwhile
                delivery = account.deliveries.get(delivery_id) or delivery
                number, ended_at = len(delivery.attempts) + 1, service.now(account)
                reply = result.reply.decode("utf-8", "replace")
                attempt = Attempt(number, at, ended_at, result.status, result.error, seconds, reply, extra)
                callbacks.record_attempt(service, account, delivery, attempt)
            return True

    async def _send(self, account: MemoryAccount, to: Destination, at: float, body: bytes) -> "AttemptResult":
        # with the first attempt: most servers never make one, and h11 costs every start a few milliseconds
        from sora_mock.callbacks.sender import USER_AGENT, AttemptResult, Sender

        if to.inbox is None:
            if self._sender is None:
                self._sender = Sender(self._service.settings.callback_ca)
            return await self._sender.post(to.url, body, trusted=to.trusted)
        headers = {"host": "inbox.sora-mock.test", "user-agent": USER_AGENT, "content-type": "application/json"}
        message = InboxMessage(at, {**headers, "content-length": str(len(body))}, body)
        reply = callbacks.receive(self._service, account, to.inbox, message)
        if not reply.delay:
            return AttemptResult(reply.status)
        # real seconds, as a receiver elsewhere would take them
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=min(reply.delay, TIMEOUT))
        if reply.delay >= TIMEOUT:
            return AttemptResult(error=f"timeout: no response within {TIMEOUT:g} s")
        return AttemptResult(reply.status)


async def _finished(schedule: _Schedule, delivery_id: str | None = None) -> None:
    """Returns when the attempts of a schedule that run now are over: those of one delivery, or all."""
    waited = [attempt for attempt, running_id in schedule.running.items() if delivery_id in (None, running_id)]
    if waited:
        await asyncio.wait(waited)


def max_concurrent() -> int:
    """Attempts that may run at once: each holds an open file."""
    try:
        # not on every system
        import resource
    except ImportError:
        return MAX_CONCURRENT
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MAX_CONCURRENT
    return max(16, min(MAX_CONCURRENT, allowed - SPARE_FILES))
