#!/usr/bin/env python3
"""Makes a video with requests; a WSGI application receives the callback.

    EVOLINK_API_KEY=... python video_requests.py "A cat playing piano" cat.mp4

For the service and for a mock alike. Against a mock:

    sora-mock run -- python video_requests.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  address of the service (https://api.evolink.ai)
IDEMPOTENCY_KEY   the key that an earlier run printed: fetches that run's video without paying again
POLL_SECONDS      seconds between two polls (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 rejected by moderation.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, make_server

import requests


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


def quit(code: int, message: object) -> NoReturn:
    """Ends the program."""
    print(message, file=sys.stderr)
    sys.exit(code)


def ask(session: requests.Session, method: str, url: str, take: Callable[[requests.Response], Any], **more: Any) -> Any:
    """What `take` reads from a 200 response. Waits as a 429 says. Tries again after faults of the service and after
    lost responses; a response that `take` cannot read counts as lost. Ends the program if that does not help."""
    # urllib3's Retry is not enough: it checks only the headers, and the body may be truncated or broken
    why, pause, faults, end = "", 0.0, 0, time.monotonic() + LONGEST
    while faults < TRIES and time.monotonic() + pause < end:
        if why:
            print(f"{why}; again in {pause:.3g} s", file=sys.stderr)
            time.sleep(pause)
        pause = POLL_SECONDS * 2**faults
        try:
            response = session.request(method, url, timeout=60, **more)
            if response.status_code == 200:
                return take(response)
        except (requests.RequestException, ValueError, LookupError, TypeError) as problem:
            why = f"no response, or an unreadable one ({type(problem).__name__})"
            faults += 1
            continue
        if response.status_code == 429:  # not a fault: does not count as a try
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
        elif response.status_code >= 500:
            why = f"the service responded with {response.status_code}"
            faults += 1
        else:
            reject(response)
    quit(1, f"{why}; given up")


def wait(retry_after: str, default: float) -> float:
    """Seconds that Retry-After names, as a number or a date; `default` if it names no time in the future."""
    try:
        if retry_after.isdecimal():
            return float(retry_after)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return default
    return left if left > 0 else default


def reject(response: requests.Response) -> NoReturn:
    """Ends the program and says what a 4xx response means for the user."""
    try:
        code, message = (response.json()["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # a proxy may respond with an HTML page
        code, message = response.status_code, response.text[:200]
    if response.status_code == 402 and response.request.method == "POST":  # a later request finds the video paid
        quit(3, f"not enough credits: {message}")
    if code == "content_policy_violation":
        quit(4, f"rejected by moderation: {message}")
    quit(1, f"{code}: {message}")


def remain(service: requests.Session) -> str:
    """The remaining balance, as text; empty if one request cannot read it, because it is only extra information."""
    try:
        credits = service.get(f"{BASE_URL}/v1/credits", timeout=60).json()
        return f", {credits['data']['token']['remaining_credits']:g} remain"
    except (requests.RequestException, ValueError, LookupError, TypeError):
        return ""


def order(service: requests.Session, prompt: str) -> str:
    """The id of the new task."""
    body = {"model": "sora-2-beta-max", "prompt": prompt} | ({"callback_url": CALLBACK_URL} if CALLBACK_URL else {})
    # every try sends the same key: if a response was lost, the next try gets the existing task and pays nothing
    once = os.environ.get("IDEMPOTENCY_KEY") or str(uuid.uuid4())
    print(f"ordering under IDEMPOTENCY_KEY={once}", file=sys.stderr)
    url, headers = f"{BASE_URL}/v1/videos/generations", {"Idempotency-Key": once}
    return str(ask(service, "POST", url, lambda r: r.json()["id"], json=body, headers=headers))


def seen(response: requests.Response) -> dict[str, Any]:
    """The task in a response. Raises LookupError and TypeError if there is none."""
    task = response.json()
    return {**task, "status": task["status"], "progress": task["progress"]}


def finished(service: requests.Session, task_id: str, called: threading.Event) -> dict[str, Any]:
    """Polls until the task has ended. An unknown status counts as not ended."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        task: dict[str, Any] = ask(service, "GET", f"{BASE_URL}/v1/tasks/{task_id}", seen)
        if task["status"] in ("completed", "failed", "cancelled"):
            return task
        print(f"{task['status']}, {task['progress']} %", file=sys.stderr)
        # a callback may come twice or never, so it only ends the pause
        called.wait(60 if CALLBACK_URL else POLL_SECONDS)
        called.clear()
    quit(1, f"task {task_id} has not ended after {LONGEST:g} s")


def video(response: requests.Response) -> bytes:
    """The video in a response. Raises ValueError if it is empty."""
    if not response.content:
        raise ValueError
    return response.content


def listen(called: threading.Event) -> None:
    """Receives callbacks. `application` also works in your own WSGI server."""

    class Silent(WSGIRequestHandler):
        def log_message(self, *ignored: object) -> None:
            pass

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        # callbacks are not signed, so the program ignores their content and reads the task instead
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        called.set()
        start_response("204 No Content", [])
        return []

    try:
        server = make_server("", CALLBACK_PORT, application, handler_class=Silent)
    except OSError as problem:
        quit(1, f"port {CALLBACK_PORT}: {problem.strerror}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"callbacks are received on port {server.server_port}", file=sys.stderr)


def main(prompt: str, file: Path) -> None:
    """Makes one video. Ends the program if there is none. Raises OSError if the file cannot be written."""
    if file.is_dir():
        quit(1, f"{file} is a folder")
    part = file.with_name(file.name + ".part")
    part.touch()  # create no task whose video cannot be saved
    part.unlink()
    called = threading.Event()
    if CALLBACK_URL:
        listen(called)
    with requests.Session() as service:
        service.headers["Authorization"] = f"Bearer {os.environ['EVOLINK_API_KEY']}"
        task_id = order(service, prompt)
        print(f"ordered: {task_id}", file=sys.stderr)
        task = finished(service, task_id, called)
        if task["status"] != "completed":
            failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
            reason = f"{failure['code']}: {failure['message']}; the credits came back{remain(service)}"
            if failure["code"] == "content_policy_violation":
                quit(4, f"rejected by moderation: {reason}")
            quit(1, reason)
    # a new session does not send our key to the other host; a video has a few MB
    with requests.Session() as files:
        part.write_bytes(ask(files, "GET", task["results"][0], video))
    part.replace(file)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("EVOLINK_API_KEY"):
        quit(2, "usage: EVOLINK_API_KEY=... video_requests.py PROMPT FILE")
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except OSError as problem:
        quit(1, problem)
    print(sys.argv[2])
