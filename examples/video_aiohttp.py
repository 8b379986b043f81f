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
import uuid
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

BASE_URL = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800  # seconds that a task may take
TRIES = 6


class Problem(Exception):
    """Ends one video with a line for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Service:
    """The API, as one account uses it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.waiting: dict[str, asyncio.Event] = {}

    async def ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The body of a good answer. Waits as a 429 says, tries again after faults. Raises Problem."""
        why, pause = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                print(f"{why}; again in {pause:g} s", file=sys.stderr)
                await asyncio.sleep(pause)
            pause = POLL_SECONDS * 2**attempt
            try:
                async with self.session.request(method, BASE_URL + path, **more) as response:
                    if response.status == 200:
                        body: dict[str, Any] = await response.json()
                        return body
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError, ValueError) as problem:
                why = f"no answer ({type(problem).__name__})"
                continue
            if response.status == 429:
                why, pause = "too many requests", float(response.headers.get("Retry-After", pause))
            elif response.status >= 500:
                why = f"the service answers {response.status}"
            else:
                raise refusal(response, text)
        raise Problem(f"{why}, {TRIES} times")

    async def make(self, prompt: str, file: Path) -> None:
        """Orders a video and saves it. Raises Problem."""
        order = {"model": "sora-2-beta-max", "prompt": prompt} | (
            {"callback_url": CALLBACK_URL} if CALLBACK_URL else {}
        )
        # all tries carry the same key: where a reply was lost, the next one gets the task that exists and pays nothing
        once = {"Idempotency-Key": str(uuid.uuid4())}
        created = await self.ask("POST", "/v1/videos/generations", json=order, headers=once)
        try:
            async with asyncio.timeout(LONGEST):
                task = await self.finished(created["id"])
        except TimeoutError:
            raise Problem(f"task {created['id']} was not over after {LONGEST} s") from None
        if task["status"] == "completed":
            await save(task["results"][0], file)
            return
        failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
        left = (await self.ask("GET", "/v1/credits"))["data"]["token"]["remaining_credits"]
        back = created["usage"]["credits_reserved"]
        told = f"{failure['code']}: {failure['message']}; {back:g} credits came back, {left:g} remain"
        moderated = failure["code"] == "content_policy_violation"
        raise Problem(f"refused by moderation: {told}" if moderated else told, 4 if moderated else 1)

    async def finished(self, task_id: str) -> dict[str, Any]:
        """The task when it is over."""
        called = self.waiting[task_id] = asyncio.Event()
        while True:
            called.clear()
            task = await self.ask("GET", f"/v1/tasks/{task_id}")
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


def refusal(response: aiohttp.ClientResponse, text: str) -> Problem:
    """What an answer of 4xx means for the user."""
    try:
        error = dict(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):  # whatever stands in between may answer with a page
        error = {"code": str(response.status), "message": text[:200]}
    if response.status == 402:
        return Problem("not enough credits: recharge the account", 3)
    if error["code"] == "content_policy_violation":
        return Problem(f"refused by moderation: {error['message']}", 4)
    return Problem(f"{error['code']}: {error['message']}")


async def save(url: str, file: Path) -> None:
    """Downloads the video, in a session of its own: the link is on another host, which is not told our key."""
    part = file.with_name(file.name + ".part")
    try:
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as response:
            with part.open("wb") as out:
                async for piece in response.content.iter_chunked(65536):
                    out.write(piece)
    except (aiohttp.ClientError, TimeoutError) as problem:
        raise Problem(f"download: {problem}") from None
    part.replace(file)


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
    """The exit code."""
    headers = {"Authorization": f"Bearer {os.environ['EVOLINK_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(60)) as session:
        service = Service(session)
        runner = await listen(service) if CALLBACK_URL else None
        outcomes = await asyncio.gather(*(service.make(*each) for each in wanted), return_exceptions=True)
        if runner is not None:
            await runner.cleanup()
    code = 0
    for (prompt, file), outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, Problem):
            print(f"{prompt}: {outcome}", file=sys.stderr)
            code = max(code, outcome.code)
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
    sys.exit(asyncio.run(main([(prompt, Path(file)) for prompt, file in zip(given[::2], given[1::2], strict=True)])))
