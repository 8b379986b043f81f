#!/usr/bin/env python3
"""Makes a video with requests; a WSGI application receives the callback.

    EVOLINK_API_KEY=... python video_requests.py "A cat playing piano" cat.mp4

Nothing in this file is for a mock; against one: sora-mock run -- python video_requests.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  another service (https://api.evolink.ai)
POLL_SECONDS      pause between two looks at the task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
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

BASE_URL = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800.0  # seconds that a task may take
TRIES = 6


def quit(code: int, message: object) -> NoReturn:
    """Ends the program."""
    print(message, file=sys.stderr)
    sys.exit(code)


def ask(session: requests.Session, method: str, url: str, take: Callable[[requests.Response], Any], **more: Any) -> Any:
    """What `take` finds in a good answer. Waits as a 429 says, and tries again after faults of the service and lost
    answers, which those that `take` cannot read are too. Ends the program where that does not help."""
    # urllib3's Retry does not do: it is content with an answer's head, and the rest may be cut off or broken
    why, pause = "", 0.0
    for attempt in range(TRIES):
        if attempt:
            print(f"{why}; again in {pause:.3g} s", file=sys.stderr)
            time.sleep(pause)
        pause = POLL_SECONDS * 2**attempt
        try:
            response = session.request(method, url, timeout=60, **more)
            if response.status_code == 200:
                return take(response)
        except (requests.RequestException, ValueError, LookupError, TypeError) as problem:
            why = f"no answer, or none that can be read ({type(problem).__name__})"
            continue
        if response.status_code == 429:
            why, pause = "too many requests", wait(response.headers.get("Retry-After", ""), pause)
        elif response.status_code >= 500:
            why = f"the service answers {response.status_code}"
        else:
            refuse(response)
    quit(1, f"{why}, {TRIES} times")


def wait(retry_after: str, otherwise: float) -> float:
    """Seconds to wait as Retry-After says, by a number or a date; `otherwise` where it says nothing that is to come."""
    try:
        if retry_after.isdecimal():
            return min(float(retry_after), LONGEST)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return otherwise
    return min(left, LONGEST) if left > 0 else otherwise


def refuse(response: requests.Response) -> NoReturn:
    """Ends the program with what an answer of 4xx means for the user."""
    try:
        code, message = (response.json()["error"][name] for name in ("code", "message"))
    except (ValueError, LookupError, TypeError):  # whatever stands in between may answer with a page
        code, message = response.status_code, response.text[:200]
    if response.status_code == 402:
        quit(3, f"not enough credits: {message}")
    if code == "content_policy_violation":
        quit(4, f"refused by moderation: {message}")
    quit(1, f"{code}: {message}")


def credits(service: requests.Session) -> float:
    """What remains on the account."""
    url = f"{BASE_URL}/v1/credits"
    return float(ask(service, "GET", url, lambda r: r.json()["data"]["token"]["remaining_credits"]))


def order(service: requests.Session, prompt: str) -> str:
    """The id of the new task."""
    body = {"model": "sora-2-beta-max", "prompt": prompt} | ({"callback_url": CALLBACK_URL} if CALLBACK_URL else {})
    # all tries carry the same key: where a reply was lost, the next try gets the task that exists and pays nothing
    once = {"Idempotency-Key": str(uuid.uuid4())}
    url = f"{BASE_URL}/v1/videos/generations"
    return str(ask(service, "POST", url, lambda r: r.json()["id"], json=body, headers=once))


def seen(response: requests.Response) -> dict[str, Any]:
    """The task that an answer shows. Raises LookupError and TypeError where it shows none."""
    task = response.json()
    return {**task, "status": task["status"], "progress": task["progress"]}


def finished(service: requests.Session, task_id: str, called: threading.Event) -> dict[str, Any]:
    """The task when it is over. Statuses that are new to us count as not over yet."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        task: dict[str, Any] = ask(service, "GET", f"{BASE_URL}/v1/tasks/{task_id}", seen)
        if task["status"] in ("completed", "failed", "cancelled"):
            return task
        print(f"{task['status']}, {task['progress']} %", file=sys.stderr)
        # a callback may come twice or never: it only ends the pause
        called.wait(60 if CALLBACK_URL else POLL_SECONDS)
        called.clear()
    quit(1, f"task {task_id} was not over after {LONGEST:g} s")


def listen(called: threading.Event) -> None:
    """Receives callbacks; `application` would as well stand in the WSGI server that you have."""

    class Silent(WSGIRequestHandler):
        def log_message(self, *ignored: object) -> None:
            pass

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        # nothing that it says is used, for it is not signed: it makes us ask the service
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        called.set()
        start_response("204 No Content", [])
        return []

    port = int(os.environ.get("CALLBACK_PORT", "8000"))
    try:
        server = make_server("", port, application, handler_class=Silent)
    except OSError as problem:
        quit(1, f"port {port}: {problem.strerror}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"callbacks are received on port {server.server_port}", file=sys.stderr)


def main(prompt: str, file: Path) -> None:
    """Ends the program where there is no video. Raises OSError where the file cannot be written."""
    if file.is_dir():
        quit(1, f"{file} is a folder")
    part = file.with_name(file.name + ".part")
    part.touch()  # what cannot be saved is not ordered
    part.unlink()
    called = threading.Event()
    if CALLBACK_URL:
        listen(called)
    with requests.Session() as service:
        service.headers["Authorization"] = f"Bearer {os.environ['EVOLINK_API_KEY']}"
        before = credits(service)
        task_id = order(service, prompt)
        print(f"ordered: {task_id}", file=sys.stderr)
        task = finished(service, task_id, called)
        if task["status"] != "completed":
            failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
            told = f"{failure['code']}: {failure['message']}; credits: {before:g} before, {credits(service):g} now"
            if failure["code"] == "content_policy_violation":
                quit(4, f"refused by moderation: {told}")
            quit(1, told)
    # in another session, so that the other host is not told our key; a video has a few MB
    with requests.Session() as files:
        part.write_bytes(ask(files, "GET", task["results"][0], lambda r: r.content))
    part.replace(file)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("EVOLINK_API_KEY"):
        quit(2, "usage: EVOLINK_API_KEY=... video_requests.py PROMPT FILE")
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except OSError as problem:
        quit(1, problem)
    print(sys.argv[2])
