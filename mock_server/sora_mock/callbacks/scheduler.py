"""Makes each attempt at its moment of the account's clock, many at once, and walks through them when time is moved."""

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from sora_mock.callbacks.sender import USER_AGENT, AttemptResult, Sender
from sora_mock.domain.clock import MAX_TIME
from sora_mock.domain.delivery import TIMEOUT, Attempt, Delivery, Destination, next_attempt_at
from sora_mock.runtime import clock
from sora_mock.service.emulator import Emulator
from sora_mock.storage.inbox import Message
from sora_mock.storage.memory import Account

MOST_AT_ONCE: Final = 2_000
"""Attempts under way; far above what a receiver that hangs for 10 s can hold, so that nobody waits for it."""

SPARE_FILES: Final = 200
"""Open files that are left to everything else, where the system allows fewer than `MOST_AT_ONCE`."""


class Worker:
    """The only active part. It belongs to the event loop that first wakes it.

    Nothing here keeps an account alive that was reset or evicted.
    """

    def __init__(self, emulator: Emulator, sender: Sender) -> None:
        self.emulator = emulator
        self.sender = sender
        self._under_way: WeakKeyDictionary[Account, dict[asyncio.Task[bool], str]] = WeakKeyDictionary()
        self._timers: WeakKeyDictionary[Account, asyncio.TimerHandle] = WeakKeyDictionary()
        self._walks: WeakKeyDictionary[Account, asyncio.Lock] = WeakKeyDictionary()
        self._places = asyncio.Semaphore(places())

    def wake(self, account: Account) -> None:
        """Starts what is due, and sets the timer for what comes next. Called whenever either may have changed."""
        timer = self._timers.pop(account, None)
        if timer is not None:
            timer.cancel()
        if self.emulator.store.by_name.get(account.name) is not account:
            return
        real = self.emulator.real_now()
        self._start_due(account, account.clock.at(real))
        moment = account.calls.first()
        if moment is not None and not account.clock.frozen and moment <= MAX_TIME:
            delay = max(0.0, account.clock.real_at(moment) - real)
            # a timer cannot be set for longer than a day; it is set again then
            self._timers[account] = asyncio.get_running_loop().call_later(min(delay, 86400.0), self.wake, account)

    async def settled(self, account: Account, delivery_id: str | None = None) -> None:
        """Returns when the attempts that are under way now are over, those of one delivery or all of the account."""
        attempts = self._under_way.get(account, {})
        waited = [attempt for attempt, owner in attempts.items() if delivery_id in (None, owner)]
        if waited:
            await asyncio.wait(waited)

    async def walk(self, account: Account, until: Callable[[float], float]) -> None:
        """Moves the clock on, stopping at every due moment until its attempts are over.

        until: the moment to reach, given the one when it is this walk's turn.
        """
        async with self._walks.setdefault(account, asyncio.Lock()):
            target = until(account.clock.at(self.emulator.real_now()))
            while True:
                # the end of one may have started another
                while self._under_way.get(account):
                    await self.settled(account)
                now = account.clock.at(self.emulator.real_now())
                moment = account.calls.first()
                # on a running clock what the attempts took may have carried it beyond the target
                if moment is None or moment > max(target, now):
                    break
                self._move(account, max(moment, now))
                self._start_due(account, max(moment, now))
            self._move(account, max(target, now))
            self.wake(account)

    def _move(self, account: Account, moment: float) -> None:
        account.clock = account.clock.moved(self.emulator.real_now(), moment)
        self.emulator.settle(account, moment)

    async def redeliver(self, account: Account, delivery: Delivery) -> None:
        """One attempt more, outside the schedule; returns when it is over."""
        await asyncio.wait([self._start(account, delivery.id, extra=True)])

    def _start_due(self, account: Account, now: float) -> None:
        busy = set(self._under_way.get(account, {}).values())
        for moment, delivery_id in account.calls.until(now):
            delivery = account.deliveries.get(delivery_id)
            # a moment that was moved leaves its old entry behind; where an attempt is under way, its end plans the next
            if delivery is not None and next_attempt_at(delivery) == moment and delivery_id not in busy:
                busy.add(delivery_id)
                self._start(account, delivery_id)

    def _start(self, account: Account, delivery_id: str, *, extra: bool = False) -> asyncio.Task[bool]:
        attempt = asyncio.get_running_loop().create_task(self._attempt(account, delivery_id, extra))
        attempts = self._under_way.setdefault(account, {})
        attempts[attempt] = delivery_id

        def over(done: asyncio.Task[bool]) -> None:
            # both in one go: whatever woke the account in between would find the next one due and this one under way
            del attempts[done]
            if not done.cancelled() and done.result():
                self.emulator.callbacks.plan_next(account, delivery_id)
            self.wake(account)

        attempt.add_done_callback(over)
        return attempt

    async def _attempt(self, account: Account, delivery_id: str, extra: bool) -> bool:
        """Prepare, call, settle; whether there was anything to send."""
        async with self._places:
            emulator = self.emulator
            at = account.clock.at(emulator.real_now())
            delivery = account.deliveries[delivery_id]
            emulator.settle(account, at)
            body = emulator.callback_body(delivery, at)
            if body is None:
                return False
            began = clock.stopwatch()
            result = await self._send(account, emulator.callbacks.destination(account, delivery.url), at, body)
            seconds = round(clock.stopwatch() - began, 6)
            ended_at = account.clock.at(emulator.real_now())
            delivery = account.deliveries.get(delivery_id, delivery)
            attempt = Attempt(
                len(delivery.attempts) + 1,
                at,
                ended_at,
                result.status,
                result.error,
                seconds,
                result.reply.decode("utf-8", "replace"),
                extra,
            )
            emulator.callbacks.attempted(account, delivery, attempt)
            return True

    async def _send(self, account: Account, to: Destination, at: float, body: bytes) -> AttemptResult:
        if to.inbox is None:
            return await self.sender.post(to.url, body, trusted=to.trusted)
        headers = {"host": "inbox.sora-mock.test", "user-agent": USER_AGENT, "content-type": "application/json"}
        message = Message(at, {**headers, "content-length": str(len(body))}, body)
        reply = self.emulator.callbacks.receive(account, to.inbox, message)
        if not reply.delay:
            return AttemptResult(reply.status)
        # real seconds, as a receiver somewhere else would take them
        over = asyncio.Event()
        try:
            async with asyncio.timeout(min(reply.delay, TIMEOUT)):
                await over.wait()
        except TimeoutError:
            pass
        late = reply.delay >= TIMEOUT
        return (
            AttemptResult(error=f"timeout: no response within {TIMEOUT:g} s") if late else AttemptResult(reply.status)
        )


def places() -> int:
    """Attempts that may be under way at once: each holds an open file."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return MOST_AT_ONCE
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_AT_ONCE if allowed == resource.RLIM_INFINITY else max(16, min(MOST_AT_ONCE, allowed - SPARE_FILES))
