"""Makes each callback attempt at its time of the account's clock, many at once, also while a clock is advanced."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from sora_mock.domain.clock import MAX_TIME
from sora_mock.domain.delivery import TIMEOUT, Attempt, Delivery, Destination
from sora_mock.domain.events import CallbackPlanned
from sora_mock.runtime.batches import Batches
from sora_mock.runtime.clock import stopwatch
from sora_mock.runtime.connections import file_limit
from sora_mock.service import callbacks, clocks
from sora_mock.service.context import Service
from sora_mock.service.tasks import settle
from sora_mock.storage.inboxes import InboxMessage
from sora_mock.storage.memory import MAX_ACCOUNTS, MemoryAccount

if TYPE_CHECKING:
    from sora_mock.callbacks.sender import AttemptResult, Sender

MAX_CONCURRENT: Final = 2_000
"""Attempts that run at once; far above what receivers that hang for 10 s can occupy."""

BATCH: Final = 64
"""Attempts that begin, and delayed inboxes that reply, in one iteration of the event loop; each takes about 0.1 ms."""

SPARE_FILES: Final = 200
"""Open files that are left to everything else, where the system allows fewer than `MAX_CONCURRENT`."""

MAX_TIMER: Final = 86_400.0
"""Seconds of the longest timer; a later attempt gets a new timer when this one fires."""


class _Schedule:
    """What runs for one account.

    running: the attempts that run, by delivery id; a redelivery may run beside a scheduled attempt.
    is_queued: whether attempts are due, so that the account is in the scheduler's queue.
    idle: set while no attempt is due or runs.
    timer: for the next attempt; None for none. timer_at: real time for which it is set.
    advance_lock: held while the clock is advanced.
    """

    __slots__ = ("account", "advance_lock", "idle", "is_queued", "running", "timer", "timer_at")

    def __init__(self, account: MemoryAccount) -> None:
        self.account = account
        self.running: dict[str, set[asyncio.Task[bool]]] = {}
        self.is_queued = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = 0.0
        self.advance_lock = asyncio.Lock()

    def cancel_timer(self) -> None:
        """Removes the timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Scheduler:
    """The only active part of the server. It belongs to the event loop in which the first callback is planned.

    Accounts with due attempts wait in one queue and take turns: one attempt each, `BATCH` attempts in each iteration of
    the event loop. So requests and other accounts are served while thousands of attempts are due.
    """

    def __init__(self, service: Service, sender: "Sender | None" = None) -> None:
        """`sender` makes the POSTs; None for one that is made with the first attempt."""
        self._service = service
        self._sender = sender
        self._schedules: dict[str, _Schedule] = {}
        self._queue: deque[_Schedule] = deque()
        self._starter: asyncio.Task[None] | None = None
        self._starts, self._replies = Batches(BATCH), Batches(BATCH)
        self._slots = asyncio.Semaphore(max_concurrent())
        service.events.subscribe(CallbackPlanned, lambda event: self.wake(event.account))

    def _schedule(self, account: MemoryAccount) -> _Schedule:
        """The account's schedule. An account that was reset has the same name and gets a new one."""
        found = self._schedules.get(account.facts.name)
        if found is None or found.account is not account:
            if found is not None:
                found.cancel_timer()
            if len(self._schedules) >= 2 * MAX_ACCOUNTS:
                self._forget_former_accounts()
            found = self._schedules[account.facts.name] = _Schedule(account)
        return found

    def _forget_former_accounts(self) -> None:
        """Accounts that the storage has forgotten need no schedule; attempts that run hold what they need."""
        for name, schedule in list(self._schedules.items()):
            if not self._is_current(schedule.account):
                schedule.cancel_timer()
                del self._schedules[name]

    def _is_current(self, account: MemoryAccount) -> bool:
        """Whether the account was not forgotten. A new account of the same key is another one."""
        return self._service.storage.account_by_name(account.facts.name) is account

    def wake(self, name: str) -> None:
        """Queues an account if an attempt is due, else sets its timer. Called when either may have changed."""
        known = self._schedules.get(name)
        account = self._service.storage.account_by_name(name)
        if known is not None and known.account is not account:
            known.cancel_timer()
            del self._schedules[name]
        if account is not None and len(account.deliveries):
            self._plan(self._schedule(account))

    def _plan(self, schedule: _Schedule) -> None:
        if schedule.is_queued:
            # it is planned again when nothing is due any more
            return
        account, real = schedule.account, self._service.real_now()
        due_at = account.deliveries.next_due_at() if self._is_current(account) else None
        clock = account.facts.clock
        if due_at is not None and due_at <= clock.at(real):
            schedule.cancel_timer()
            self._enqueue(schedule)
            return
        if due_at is None or clock.frozen or due_at > MAX_TIME:
            schedule.cancel_timer()
        else:
            self._set_timer(schedule, clock.real_at(due_at), real)
        if not schedule.running:
            schedule.idle.set()

    def _set_timer(self, schedule: _Schedule, timer_at: float, real: float) -> None:
        if schedule.timer is not None and schedule.timer_at == timer_at:
            return
        schedule.cancel_timer()

        def fire() -> None:
            schedule.timer = None
            self.wake(schedule.account.facts.name)

        delay = min(max(0.0, timer_at - real), MAX_TIMER)
        schedule.timer, schedule.timer_at = asyncio.get_running_loop().call_later(delay, fire), timer_at

    def _enqueue(self, schedule: _Schedule) -> None:
        schedule.is_queued = True
        schedule.idle.clear()
        self._queue.append(schedule)
        if self._starter is None:
            self._starter = asyncio.get_running_loop().create_task(self._start_due())

    async def _start_due(self) -> None:
        """Starts what is due, one attempt of each account in turn, until nothing is due any more."""
        while self._queue:
            await self._starts.take()
            await self._slots.acquire()
            schedule = self._queue.popleft()
            deliveries, now = schedule.account.deliveries, self._service.now(schedule.account)
            is_current = self._is_current(schedule.account)
            delivery = deliveries.pop_due(now) if is_current else None
            # Where an attempt of the delivery runs already, its end schedules the next one.
            if delivery is None or delivery.id in schedule.running:
                self._slots.release()
            else:
                self._start(schedule, delivery.id)
            if is_current and deliveries.has_due(now):
                self._queue.append(schedule)
            else:
                schedule.is_queued = False
                self._plan(schedule)
        self._starter = None

    async def attempts_finished(self, account: MemoryAccount, delivery_id: str) -> None:
        """Returns when the attempts of a delivery that run or are due now are over; it waits for no other delivery."""
        schedule = self._schedule(account)
        if delivery_id not in schedule.running and account.deliveries.is_due(delivery_id, self._service.now(account)):
            await self._slots.acquire()
            if delivery_id in schedule.running:
                self._slots.release()
            else:
                self._start(schedule, delivery_id)
        running = schedule.running.get(delivery_id)
        if running:
            await asyncio.wait(running)

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
                while not schedule.idle.is_set():
                    await schedule.idle.wait()
                if not self._is_current(account):
                    return
                now, due_at = service.now(account), account.deliveries.next_due_at()
                # A clock that runs may have passed the target while the attempts took place.
                if due_at is None or due_at > max(target, now):
                    break
                clocks.move(service, account, max(due_at, now))
                self._plan(schedule)
            clocks.move(service, account, max(target, now))
            self.wake(account.facts.name)

    async def redeliver(self, account: MemoryAccount, delivery: Delivery) -> None:
        """Makes one more attempt, outside the retry schedule; returns when it is over."""
        await self._slots.acquire()
        await asyncio.wait([self._start(self._schedule(account), delivery.id, extra=True)])

    def _start(self, schedule: _Schedule, delivery_id: str, *, extra: bool = False) -> asyncio.Task[bool]:
        """Starts an attempt in a slot that the caller has acquired."""
        attempt = asyncio.get_running_loop().create_task(self._attempt(schedule.account, delivery_id, extra))
        schedule.running.setdefault(delivery_id, set()).add(attempt)
        schedule.idle.clear()
        attempt.add_done_callback(partial(self._finish, schedule, delivery_id))
        return attempt

    def _finish(self, schedule: _Schedule, delivery_id: str, done: asyncio.Task[bool]) -> None:
        """Schedules the next attempt at once; otherwise a wake-up could find it due while this one still runs."""
        self._slots.release()
        running, deliveries = schedule.running[delivery_id], schedule.account.deliveries
        running.discard(done)
        if not running:
            del schedule.running[delivery_id]
        if done.cancelled():
            # the event loop ends
            return
        delivery = deliveries.get(delivery_id)
        try:
            # the event loop reports the exception of a bug
            if done.result() and delivery is not None:
                deliveries.schedule(delivery)
        finally:
            self._plan(schedule)

    async def _attempt(self, account: MemoryAccount, delivery_id: str, extra: bool) -> bool:
        """Prepares, sends and records one attempt; False where there was nothing to send."""
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
        await self._replies.take()
        if reply.delay >= TIMEOUT:
            return AttemptResult(error=f"timeout: no response within {TIMEOUT:g} s")
        return AttemptResult(reply.status)


def max_concurrent() -> int:
    """Attempts that may run at once: each holds an open file."""
    return max(16, min(MAX_CONCURRENT, file_limit() - SPARE_FILES))
