#!/usr/bin/env python3
"""Makes a video with httpx: creates the task once, waits for its end, saves the video, and reports what went wrong.

    EVOLINK_API_KEY=... python video_httpx.py "A cat playing piano" cat.mp4

For the service and for a mock alike. Against a mock:

    sora-mock run -- python video_httpx.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  address of the service (https://api.evolink.ai)
IDEMPOTENCY_KEY   the key that an earlier run printed: fetches that run's video without paying again
POLL_SECONDS      seconds between two polls (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one). The service
                  then reports the end of the task, and this program polls less often

Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 rejected by moderation.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx


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


POLL_SECONDS = number("POLL_SECONDS", 5, 3600)
CALLBACK_PORT = int(number("CALLBACK_PORT", 8000, 65535))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800.0  # seconds that a task may take
TRIES = 6


class Problem(Exception):
    """Ends the program with a line for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def ask(client: httpx.Client, method: str, url: str, take: Callable[[httpx.Response], Any], **more: Any) -> Any:
    """What `take` reads from a 200 response. Waits as a 429 says. Tries again after faults of the service and after
    lost responses; a response that `take` cannot read counts as lost. Raises Problem."""
    why, pause, faults, end = "", 0.0, 0, time.monotonic() + LONGEST
    while faults < TRIES and time.monotonic() + pause < end:
        if why:
            print(f"{why}; again in {pause:.3g} s", file=sys.stderr)
            time.sleep(pause)
        pause = POLL_SECONDS * 2**faults
        try:
            response = client.request(method, url, **more)
            if response.status_code == 200:
                return take(response)
        except (httpx.RequestError, ValueError, LookupError, TypeError) as problem:
            why = f"no response, or an unreadable one ({type(problem).__name__})"
            faults += 1
            continue
        if response.status_code == 429:  # not a fault: does not count as a try
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
        elif response.status_code >= 500:
            why = f"the service responded with {response.status_code}"
            faults += 1
        else:
            raise rejection(response)
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


def rejection(response: httpx.Response) -> Problem:
    """What a 4xx response means for the user."""
    try:
        code, message = (response.json()["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # a proxy may respond with an HTML page
        code, message = response.status_code, response.text[:200]
    if response.status_code == 402 and response.request.method == "POST":  # a later request finds the video paid
        return Problem(f"not enough credits: {message}", 3)
    if code == "content_policy_violation":
        return Problem(f"rejected by moderation: {message}", 4)
    return Problem(f"{code}: {message}")


def remain(client: httpx.Client) -> str:
    """The remaining balance, as text; empty if one request cannot read it, because it is only extra information."""
    try:
        return f", {client.get('/v1/credits').json()['data']['token']['remaining_credits']:g} remain"
    except (httpx.RequestError, ValueError, LookupError, TypeError):
        return ""


def order(client: httpx.Client, prompt: str) -> str:
    """The id of the new task."""
    body = {"model": "sora-2-beta-max", "prompt": prompt}
    if CALLBACK_URL:
        body["callback_url"] = CALLBACK_URL
    # every try sends the same key: if a response was lost, the next try gets the existing task and pays nothing
    once = os.environ.get("IDEMPOTENCY_KEY") or str(uuid.uuid4())
    print(f"ordering under IDEMPOTENCY_KEY={once}", file=sys.stderr)
    headers = {"Idempotency-Key": once}
    return str(ask(client, "POST", "/v1/videos/generations", lambda r: r.json()["id"], json=body, headers=headers))


def seen(response: httpx.Response) -> dict[str, Any]:
    """The task in a response. Raises LookupError and TypeError if there is none."""
    task = response.json()
    return {**task, "status": task["status"], "progress": task["progress"]}


def finished(client: httpx.Client, task_id: str, called: threading.Event) -> dict[str, Any]:
    """Polls until the task has ended. An unknown status counts as not ended."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        task: dict[str, Any] = ask(client, "GET", f"/v1/tasks/{task_id}", seen)
        if task["status"] in ("completed", "failed", "cancelled"):
            return task
        print(f"{task['status']}, {task['progress']} %", file=sys.stderr)
        # a callback may come late, twice or never, so it only ends the pause
        called.wait(60 if CALLBACK_URL else POLL_SECONDS)
        called.clear()
    raise Problem(f"task {task_id} has not ended after {LONGEST:g} s")


def video(response: httpx.Response) -> bytes:
    """The video in a response. Raises ValueError if it is empty."""
    if not response.content:
        raise ValueError
    return response.content


def save(url: str, part: Path, file: Path) -> None:
    """Downloads the video, a few MB. The link is on another host, so the request does not send our key."""
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        part.write_bytes(ask(client, "GET", url, video))
    part.replace(file)


def listen(called: threading.Event) -> None:
    """Receives callbacks. They are not signed, so the program ignores their content and reads the task instead."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(204)
            self.end_headers()
            called.set()

        def log_message(self, *ignored: object) -> None:
            pass

    try:
        server = ThreadingHTTPServer(("", CALLBACK_PORT), Receiver)
    except OSError as problem:
        raise Problem(f"port {CALLBACK_PORT}: {problem.strerror}") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"callbacks are received on port {server.server_port}", file=sys.stderr)


def main(prompt: str, file: Path) -> None:
    """Makes one video. Raises Problem, and OSError if the file cannot be written."""
    if file.is_dir():
        raise Problem(f"{file} is a folder")
    part = file.with_name(file.name + ".part")
    part.touch()  # create no task whose video cannot be saved
    part.unlink()
    called = threading.Event()
    if CALLBACK_URL:
        listen(called)
    base = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
    key = {"Authorization": f"Bearer {os.environ['EVOLINK_API_KEY']}"}
    with httpx.Client(base_url=base, headers=key, timeout=60) as client:
        task_id = order(client, prompt)
        print(f"ordered: {task_id}", file=sys.stderr)
        task = finished(client, task_id, called)
        if task["status"] == "completed":
            save(task["results"][0], part, file)
            return
        failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
        moderated = failure["code"] == "content_policy_violation"
        reason = f"{failure['code']}: {failure['message']}; the credits came back{remain(client)}"
        raise Problem(f"rejected by moderation: {reason}" if moderated else reason, 4 if moderated else 1)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("EVOLINK_API_KEY"):
        sys.exit(print("usage: EVOLINK_API_KEY=... video_httpx.py PROMPT FILE", file=sys.stderr) or 2)
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except (Problem, OSError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(getattr(problem, "code", 1))
    print(sys.argv[2])
