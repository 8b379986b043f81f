#!/usr/bin/env python3
"""Makes several videos at once with aiohttp: one task of asyncio for each, one receiver of callbacks for all.

    EVOLINK_API_KEY=... python video_aiohttp.py "A cat playing piano" cat.mp4 "A dog on a train" dog.mp4

Nothing in this file is for a mock; against one: sora-mock run -- python video_aiohttp.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  another service (https://api.evolink.ai)
IDEMPOTENCY_KEY   of an earlier run, which told it: what that run has ordered is fetched, and not paid again
POLL_SECONDS      pause between two looks at a task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes, the highest of all videos: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
"""

import asyncio
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web


def number(name: str, otherwise: float, most: float) -> float:
    """A number that the environment sets. Ends the program where it is none from 0 to `most`."""
    value = os.environ.get(name) or otherwise
    try:
        if 0 <= float(value) <= most:
            return float(value)
    except ValueError:
        pass
    print(f"{name} is a number from 0 to {most:g}, not {value}", file=sys.stderr)
    sys.exit(2)


BASE_URL = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai").rstrip("/")
POLL_SECONDS = number("POLL_SECONDS", 5, 3600)
CALLBACK_PORT = int(number("CALLBACK_PORT", 8000, 65535))
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
    why, pause, faults, end = "", 0.0, 0, time.monotonic() + LONGEST
    while faults < TRIES and time.monotonic() + pause < end:
        if why:
            print(f"{why}; again in {pause:.3g} s", file=sys.stderr)
            await asyncio.sleep(pause)
        pause = POLL_SECONDS * 2**faults
        try:
            async with session.request(method, url, **more) as response:
                body = await response.read()
            if response.status == 200:
                return take(body)
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as problem:
            why = f"no answer, or none that can be read ({type(problem).__name__})"
            faults += 1
            continue
        if response.status == 429:  # no fault: it does not use up a try
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
            pause += random.random() * POLL_SECONDS  # several videos wait for the same moment
        elif response.status >= 500:
            why = f"the service answers {response.status}"
            faults += 1
        else:
            raise refusal(method, response.status, body)
    raise Problem(f"{why}; given up")


def wait(retry_after: str, otherwise: float) -> float:
    """Seconds to wait as Retry-After says, by a number or a date; `otherwise` where it says nothing that is to come."""
    try:
        if retry_after.isdecimal():
            return float(retry_after)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return otherwise
    return left if left > 0 else otherwise


def refusal(method: str, status: int, body: bytes) -> Problem:
    """What an answer of 4xx means for the user."""
    try:
        code, message = (json.loads(body)["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # whatever stands in between may answer with a page
        code, message = status, body[:200].decode(errors="replace")
    if status == 402 and method == "POST":  # later on the video is paid
        return Problem(f"not enough credits: {message}", 3)
    if code == "content_policy_violation":
        return Problem(f"refused by moderation: {message}", 4)
    return Problem(f"{code}: {message}")


def told_id(body: bytes) -> str:
    """The id that a creation tells. Raises ValueError, LookupError or TypeError where it tells none; so do the next."""
    return str(json.loads(body)["id"])


def seen(body: bytes) -> dict[str, Any]:
    """The task that an answer shows."""
    task = json.loads(body)
    return {**task, "status": task["status"], "progress": task["progress"]}


def video(body: bytes) -> bytes:
    """The video that an answer brings."""
    if not body:
        raise ValueError
    return body


class Service:
    """The API, as one account uses it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.waiting: dict[str, asyncio.Event] = {}

    async def make(self, prompt: str, file: Path, once: str) -> None:
        """Orders a video and saves it. Raises Problem, and OSError where the file cannot be written."""
        task_id = await self.order(prompt, once)
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
        told = f"{failure['code']}: {failure['message']}; the credits came back{await self.remain()}"
        moderated = failure["code"] == "content_policy_violation"
        raise Problem(f"refused by moderation: {told}" if moderated else told, 4 if moderated else 1)

    async def remain(self) -> str:
        """Tells what remains on the account; nothing where that is not to be had at once, for nobody asked."""
        try:
            async with self.session.get(f"{BASE_URL}/v1/credits") as response:
                return f", {json.loads(await response.read())['data']['token']['remaining_credits']:g} remain"
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
            return ""

    async def order(self, prompt: str, once: str) -> str:
        """The id of the new task. All tries carry the same key: where a reply was lost, the next one gets the task that
        exists and pays nothing."""
        order = {"model": "sora-2-beta-max", "prompt": prompt} | (
            {"callback_url": CALLBACK_URL} if CALLBACK_URL else {}
        )
        url, headers = f"{BASE_URL}/v1/videos/generations", {"Idempotency-Key": once}
        return str(await ask(self.session, "POST", url, told_id, json=order, headers=headers))

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
        part(file).write_bytes(await ask(session, "GET", url, video))
    part(file).replace(file)


async def listen(service: Service) -> web.AppRunner:
    """Starts the receiver of callbacks."""
    receiver = web.Application()
    receiver.router.add_post("/{path:.*}", service.receive)
    runner = web.AppRunner(receiver)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", CALLBACK_PORT).start()
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
        once = os.environ.get("IDEMPOTENCY_KEY") or str(uuid.uuid4())  # with a number, one for each video
        print(f"ordering under IDEMPOTENCY_KEY={once}", file=sys.stderr)
        made = (service.make(prompt, file, f"{once}-{number}") for number, (prompt, file) in enumerate(wanted))
        outcomes = await asyncio.gather(*made, return_exceptions=True)
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
    wanted = [(prompt, Path(file)) for prompt, file in zip(given[::2], given[1::2], strict=False)]
    if not given or len(given) % 2 or not os.environ.get("EVOLINK_API_KEY"):
        print("usage: EVOLINK_API_KEY=... video_aiohttp.py PROMPT FILE [PROMPT FILE ...]", file=sys.stderr)
        sys.exit(2)
    if len({file.resolve() for _, file in wanted}) < len(wanted):
        print("usage: each video needs a file of its own", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(asyncio.run(main(wanted)))
    except OSError as problem:
        sys.exit(f"{problem}")
