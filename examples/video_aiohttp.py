#!/usr/bin/env python3
"""Makes several videos at once with aiohttp: one asyncio task for each, one callback receiver for all.

    EVOLINK_API_KEY=... python video_aiohttp.py "A cat playing piano" cat.mp4 "A dog on a train" dog.mp4

For the service and for a mock alike. Against a mock:

    sora-mock run -- python video_aiohttp.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  address of the service (https://api.evolink.ai)
IDEMPOTENCY_KEY   the key that an earlier run printed: fetches that run's video without paying again
POLL_SECONDS      seconds between two polls of a task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes, the highest of all videos: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 rejected by moderation.
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


def number(name: str, default: float, most: float) -> float:
    """A number from the environment. Ends the program if it is not a number from 0 to `most`."""
    value = os.environ.get(name) or default
    try:
        if 0 <= float(value) <= most:
            return float(value)
    except ValueError:
        pass
    print(f"{name} must be a number from 0 to {most:g}, got {value}", file=sys.stderr)
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
    """What `take` reads from the body of a 200 response. Waits as a 429 says. Tries again after faults of the service
    and after lost responses; a response that `take` cannot read counts as lost. Raises Problem."""
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
            why = f"no response, or an unreadable one ({type(problem).__name__})"
            faults += 1
            continue
        if response.status == 429:  # not a fault: does not count as a try
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
            pause += random.random() * POLL_SECONDS  # or all videos would try again at the same time
        elif response.status >= 500:
            why = f"the service responded with {response.status}"
            faults += 1
        else:
            raise rejection(method, response.status, body)
    raise Problem(f"{why}; given up")


def wait(retry_after: str, default: float) -> float:
    """Seconds that Retry-After names, as a number or a date; `default` if it names no time in the future."""
    try:
        if retry_after.isdecimal():
            return float(retry_after)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return default
    return left if left > 0 else default


def rejection(method: str, status: int, body: bytes) -> Problem:
    """What a 4xx response means for the user."""
    try:
        code, message = (json.loads(body)["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # a proxy may respond with an HTML page
        code, message = status, body[:200].decode(errors="replace")
    if status == 402 and method == "POST":  # a later request finds the video paid
        return Problem(f"not enough credits: {message}", 3)
    if code == "content_policy_violation":
        return Problem(f"rejected by moderation: {message}", 4)
    return Problem(f"{code}: {message}")


def created_id(body: bytes) -> str:
    """The id of a new task. Raises ValueError, LookupError or TypeError if there is none, as do `seen` and `video`."""
    return str(json.loads(body)["id"])


def seen(body: bytes) -> dict[str, Any]:
    """The task in a response."""
    task = json.loads(body)
    return {**task, "status": task["status"], "progress": task["progress"]}


def video(body: bytes) -> bytes:
    """The video in a response."""
    if not body:
        raise ValueError
    return body


class Service:
    """The API, as one account uses it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.waiting: dict[str, asyncio.Event] = {}

    async def make(self, prompt: str, file: Path, once: str) -> None:
        """Creates a task and saves its video. Raises Problem, and OSError if the file cannot be written."""
        task_id = await self.order(prompt, once)
        print(f"ordered: {task_id}", file=sys.stderr)
        try:
            async with asyncio.timeout(LONGEST):
                task = await self.finished(task_id)
        except TimeoutError:
            raise Problem(f"task {task_id} has not ended after {LONGEST:g} s") from None
        if task["status"] == "completed":
            await save(task["results"][0], file)
            return
        failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
        reason = f"{failure['code']}: {failure['message']}; the credits came back{await self.remain()}"
        moderated = failure["code"] == "content_policy_violation"
        raise Problem(f"rejected by moderation: {reason}" if moderated else reason, 4 if moderated else 1)

    async def remain(self) -> str:
        """The remaining balance, as text; empty if one request cannot read it, because it is only extra information."""
        try:
            async with self.session.get(f"{BASE_URL}/v1/credits") as response:
                return f", {json.loads(await response.read())['data']['token']['remaining_credits']:g} remain"
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
            return ""

    async def order(self, prompt: str, once: str) -> str:
        """The id of the new task. Every try sends the same key: if a response was lost, the next try gets the existing
        task and pays nothing."""
        order = {"model": "sora-2-beta-max", "prompt": prompt} | (
            {"callback_url": CALLBACK_URL} if CALLBACK_URL else {}
        )
        url, headers = f"{BASE_URL}/v1/videos/generations", {"Idempotency-Key": once}
        return str(await ask(self.session, "POST", url, created_id, json=order, headers=headers))

    async def finished(self, task_id: str) -> dict[str, Any]:
        """Polls until the task has ended. An unknown status counts as not ended."""
        called = self.waiting[task_id] = asyncio.Event()
        while True:
            called.clear()
            task: dict[str, Any] = await ask(self.session, "GET", f"{BASE_URL}/v1/tasks/{task_id}", seen)
            if task["status"] in ("completed", "failed", "cancelled"):
                return task
            print(f"{task_id}: {task['status']}, {task['progress']} %", file=sys.stderr)
            # a callback may come twice or never, so it only ends the pause
            try:
                await asyncio.wait_for(called.wait(), 60 if CALLBACK_URL else POLL_SECONDS)
            except TimeoutError:
                continue

    async def receive(self, request: web.Request) -> web.Response:
        """Receives a callback. It is not signed, so the program uses only the id and reads the task itself."""
        try:
            task_id = (await request.json())["id"]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400)
        if task_id in self.waiting:
            self.waiting[task_id].set()
        return web.Response(status=204)


def part(file: Path) -> Path:
    """The file for an unfinished download, so that `file` itself is always complete."""
    return file.with_name(file.name + ".part")


def check(file: Path) -> None:
    """Raises OSError if a video cannot be saved, before the program creates its task."""
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder")
    part(file).touch()
    part(file).unlink()


async def save(url: str, file: Path) -> None:
    """Downloads the video, a few MB, in a new session that does not send our key to the other host."""
    async with aiohttp.ClientSession() as session:
        part(file).write_bytes(await ask(session, "GET", url, video))
    part(file).replace(file)


async def listen(service: Service) -> web.AppRunner:
    """Starts the callback receiver."""
    receiver = web.Application()
    receiver.router.add_post("/{path:.*}", service.receive)
    runner = web.AppRunner(receiver)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", CALLBACK_PORT).start()
    print(f"callbacks are received on port {runner.addresses[0][1]}", file=sys.stderr)
    return runner


async def main(wanted: list[tuple[str, Path]]) -> int:
    """Makes all videos and returns the exit code. Raises OSError if a file cannot be written or the port is in use."""
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
