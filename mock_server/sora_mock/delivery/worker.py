"""Makes each attempt at its moment of the account's clock, many at once, and walks through them when time is moved."""

import asyncio
from collections import defaultdict
from typing import Final

from sora_mock import clock
from sora_mock.delivery.sender import USER_AGENT, Result, Sender
from sora_mock.domain.delivery import TIMEOUT, Attempt, Delivery, Destination, next_at
from sora_mock.emulator import Emulator
from sora_mock.inbox import Message
from sora_mock.store import Account

MOST_AT_ONCE: Final = 2_000
"""Attempts under way; far above what a receiver that hangs for 10 s can hold, so that nobody waits for it."""


class Worker:
    """The only active part. It belongs to the event loop that first wakes it."""

    def __init__(self, emulator: Emulator, sender: Sender) -> None:
        self.emulator = emulator
        self.sender = sender
        self._under_way: defaultdict[Account, set[asyncio.Task[None]]] = defaultdict(set)
        self._timers: dict[Account, asyncio.TimerHandle] = {}
        self._walks: defaultdict[Account, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

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
        if moment is not None and not account.clock.frozen:
            delay = max(0.0, account.clock.real_at(moment) - real)
            # a timer cannot be set for longer than a day; it is set again then
            self._timers[account] = asyncio.get_running_loop().call_later(min(delay, 86400.0), self.wake, account)

    async def settled(self, account: Account) -> None:
        """Returns when no attempt of the account is under way."""
        while self._under_way[account]:
            await asyncio.wait(self._under_way[account])

    async def walk(self, account: Account, seconds: float) -> None:
        """Moves the clock on by `seconds`, stopping at every due moment until its attempts are over."""
        async with self._walks[account]:
            target = account.clock.at(self.emulator.real_now()) + seconds
            while True:
                await self.settled(account)
                real = self.emulator.real_now()
                now = account.clock.at(real)
                if not account.clock.frozen:
                    # what the attempts took has passed beside the seconds that were asked for
                    target = max(target, now)
                moment = account.calls.first()
                if moment is None or moment > target:
                    break
                account.clock = account.clock.moved(real, max(moment, now))
                self.emulator.settle(account, max(moment, now))
                self._start_due(account, max(moment, now))
            account.clock = account.clock.moved(real, max(target, now))
            self.emulator.settle(account, max(target, now))
            self.wake(account)

    async def redeliver(self, account: Account, delivery: Delivery) -> None:
        """One attempt more, outside the schedule; returns when it is over."""
        self._start(account, delivery.id, extra=True)
        await self.settled(account)

    def _start_due(self, account: Account, now: float) -> None:
        for moment, delivery_id in account.calls.until(now):
            delivery = account.deliveries.get(delivery_id)
            # a moment that was moved leaves its old entry behind
            if delivery is not None and next_at(delivery) == moment:
                self._start(account, delivery_id)

    def _start(self, account: Account, delivery_id: str, *, extra: bool = False) -> None:
        attempt = asyncio.get_running_loop().create_task(self._attempt(account, delivery_id, extra))
        self._under_way[account].add(attempt)
        attempt.add_done_callback(self._under_way[account].discard)

    async def _attempt(self, account: Account, delivery_id: str, extra: bool) -> None:
        """Prepare, call, settle."""
        async with self._places:
            emulator = self.emulator
            at = account.clock.at(emulator.real_now())
            delivery = account.deliveries[delivery_id]
            emulator.settle(account, at)
            body = emulator.callback_body(delivery, at)
            if body is None:
                return
            began = clock.stopwatch()
            result = await self._send(account, emulator.callbacks.destination(account, delivery.url), at, body)
            seconds = clock.stopwatch() - began
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
        self.wake(account)

    async def _send(self, account: Account, to: Destination, at: float, body: bytes) -> Result:
        if to.inbox is None:
            return await self.sender.post(to.url, body, trusted=to.trusted)
        headers = {"host": "inbox.sora-mock.test", "user-agent": USER_AGENT, "content-type": "application/json"}
        message = Message(at, {**headers, "content-length": str(len(body))}, body)
        reply = self.emulator.callbacks.inbox(account, to.inbox).receive(message)
        if not reply.delay:
            return Result(reply.status)
        # real seconds, as a receiver somewhere else would take them
        over = asyncio.Event()
        try:
            async with asyncio.timeout(min(reply.delay, TIMEOUT)):
                await over.wait()
        except TimeoutError:
            pass
        late = reply.delay >= TIMEOUT
        return Result(error=f"timeout: no answer within {TIMEOUT:g} s") if late else Result(reply.status)
