#!/usr/bin/env python3
"""Makes several videos at once with aiohttp: one task of asyncio for each, one receiver of callbacks for all.

    EVOLINK_API_KEY=... python video_aiohttp.py "A cat playing piano" cat.mp4 "A dog on a train" dog.mp4

Nothing in this file is for a mock; against one: sora-mock run -- python video_aiohttp.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  another service (https://api.evolink.ai)
POLL_SECONDS      pause between two looks at a task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes, the highest of all videos: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

BASE_URL = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800.0  # seconds that a task may take
TRIES = 6


class Problem(Exception):
    """Ends one video with a line for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


async def ask(session: aiohttp.ClientSession, method: str, url: str, take: Callable[[bytes], Any], **more: Any) -> Any:
    """What `take` finds in the body of a good answer. Waits as a 429 says, and tries again after faults of the service
    and lost answers, which those that `take` cannot read are too. Raises Problem."""
    why, pause = "", 0.0
    for attempt in range(TRIES):
        if attempt:
            print(f"{why}; again in {pause:.3g} s", file=sys.stderr)
            await asyncio.sleep(pause)
        pause = POLL_SECONDS * 2**attempt
        try:
            async with session.request(method, url, **more) as response:
                body = await response.read()
            if response.status == 200:
                return take(body)
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as problem:
            why = f"no answer, or none that can be read ({type(problem).__name__})"
            continue
        if response.status == 429:
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
        elif response.status >= 500:
            why = f"the service answers {response.status}"
        else:
            raise refusal(response.status, body)
    raise Problem(f"{why}, {TRIES} times")


def wait(retry_after: str, otherwise: float) -> float:
    """Seconds to wait as Retry-After says, by a number or a date; `otherwise` where it says nothing that is to come."""
    try:
        if retry_after.isdecimal():
            return min(float(retry_after), LONGEST)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return otherwise
    return min(left, LONGEST) if left > 0 else otherwise


def refusal(status: int, body: bytes) -> Problem:
    """What an answer of 4xx means for the user."""
    try:
        code, message = (json.loads(body)["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # whatever stands in between may answer with a page
        code, message = status, body[:200].decode(errors="replace")
    if status == 402:
        return Problem(f"not enough credits: {message}", 3)
    if code == "content_policy_violation":
        return Problem(f"refused by moderation: {message}", 4)
    return Problem(f"{code}: {message}")


def id_and_price(body: bytes) -> tuple[str, float]:
    """What a creation says. Raises ValueError, LookupError or TypeError where it says no such thing; so do the next."""
    task = json.loads(body)
    return task["id"], task["usage"]["credits_reserved"]


def seen(body: bytes) -> dict[str, Any]:
    """The task that an answer shows."""
    task = json.loads(body)
    return {**task, "status": task["status"], "progress": task["progress"]}


def remaining(body: bytes) -> float:
    """What remains on the account."""
    return float(json.loads(body)["data"]["token"]["remaining_credits"])


class Service:
    """The API, as one account uses it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.waiting: dict[str, asyncio.Event] = {}

    async def make(self, prompt: str, file: Path) -> None:
        """Orders a video and saves it. Raises Problem, and OSError where the file cannot be written."""
        task_id, price = await self.order(prompt)
        print(f"ordered: {task_id}", file=sys.stderr)
        try:
            async with asyncio.timeout(LONGEST):
                task = await self.finished(task_id)
        except TimeoutError:
            raise Problem(f"task {task_id} was not over after {LONGEST:g} s") from None
        if task["status"] == "completed":
            await save(task["results"][0], file)
            return
        failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
        left = await ask(self.session, "GET", f"{BASE_URL}/v1/credits", remaining)
        told = f"{failure['code']}: {failure['message']}; {price:g} credits came back, {left:g} remain"
        moderated = failure["code"] == "content_policy_violation"
        raise Problem(f"refused by moderation: {told}" if moderated else told, 4 if moderated else 1)

    async def order(self, prompt: str) -> tuple[str, float]:
        """Id and price of a new task."""
        order = {"model": "sora-2-beta-max", "prompt": prompt} | (
            {"callback_url": CALLBACK_URL} if CALLBACK_URL else {}
        )
        # all tries carry the same key: where a reply was lost, the next one gets the task that exists and pays nothing
        once = {"Idempotency-Key": str(uuid.uuid4())}
        url = f"{BASE_URL}/v1/videos/generations"
        created: tuple[str, float] = await ask(self.session, "POST", url, id_and_price, json=order, headers=once)
        return created

    async def finished(self, task_id: str) -> dict[str, Any]:
        """The task when it is over. Statuses that are new to us count as not over yet."""
        called = self.waiting[task_id] = asyncio.Event()
        while True:
            called.clear()
            task: dict[str, Any] = await ask(self.session, "GET", f"{BASE_URL}/v1/tasks/{task_id}", seen)
            if task["status"] in ("completed", "failed", "cancelled"):
                return task
            print(f"{task_id}: {task['status']}, {task['progress']} %", file=sys.stderr)
            # a callback may come twice or never: it only ends the pause
            try:
                await asyncio.wait_for(called.wait(), 60 if CALLBACK_URL else POLL_SECONDS)
            except TimeoutError:
                continue

    async def receive(self, request: web.Request) -> web.Response:
        """Takes a callback. It is not signed, so only the id is read, and the task asked for."""
        try:
            task_id = (await request.json())["id"]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400)
        if task_id in self.waiting:
            self.waiting[task_id].set()
        return web.Response(status=204)


def part(file: Path) -> Path:
    """Where a video is written to, so that what stands under its name is whole."""
    return file.with_name(file.name + ".part")


def check(file: Path) -> None:
    """What cannot be saved is not ordered. Raises OSError."""
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder")
    part(file).touch()
    part(file).unlink()


async def save(url: str, file: Path) -> None:
    """Downloads the video, which has a few MB. In a session of its own: the other host is not told our key."""
    async with aiohttp.ClientSession() as session:
        part(file).write_bytes(await ask(session, "GET", url, bytes))
    part(file).replace(file)


async def listen(service: Service) -> web.AppRunner:
    """Starts the receiver of callbacks."""
    receiver = web.Application()
    receiver.router.add_post("/{path:.*}", service.receive)
    runner = web.AppRunner(receiver)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", int(os.environ.get("CALLBACK_PORT", "8000"))).start()
    print(f"callbacks are received on port {runner.addresses[0][1]}", file=sys.stderr)
    return runner


async def main(wanted: list[tuple[str, Path]]) -> int:
    """The exit code. Raises OSError where a file cannot be written or the port is taken."""
    for _, file in wanted:
        check(file)
    headers = {"Authorization": f"Bearer {os.environ['EVOLINK_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(60)) as session:
        service = Service(session)
        runner = await listen(service) if CALLBACK_URL else None
        outcomes = await asyncio.gather(*(service.make(*each) for each in wanted), return_exceptions=True)
        if runner is not None:
            await runner.cleanup()
    code = 0
    for (prompt, file), outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, (Problem, OSError)):
            print(f"{prompt}: {outcome}", file=sys.stderr)
            code = max(code, getattr(outcome, "code", 1))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            print(file)
    return code


if __name__ == "__main__":
    given = sys.argv[1:]
    if not given or len(given) % 2 or not os.environ.get("EVOLINK_API_KEY"):
        print("usage: EVOLINK_API_KEY=... video_aiohttp.py PROMPT FILE [PROMPT FILE ...]", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(
            asyncio.run(main([(prompt, Path(file)) for prompt, file in zip(given[::2], given[1::2], strict=True)]))
        )
    except OSError as problem:
        sys.exit(f"{problem}")
