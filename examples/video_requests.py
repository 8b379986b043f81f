#!/usr/bin/env python3
"""Makes a video with requests: urllib3 does the retries, a WSGI application receives the callback.

    EVOLINK_API_KEY=... python video_requests.py "A cat playing piano" cat.mp4

Nothing in this file is for a mock; against one: sora-mock run -- python video_requests.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  another service (https://api.evolink.ai)
POLL_SECONDS      pause between two looks at the task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)

Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
"""

import os
import shutil
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, make_server

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

BASE_URL = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800  # seconds that a task may take


def session() -> requests.Session:
    """Tries again after 429 (when Retry-After says), after faults of the service, and where no reply came."""
    # POST may be repeated too, because it carries an Idempotency-Key
    retry = Retry(
        5,
        backoff_factor=POLL_SECONDS,
        status_forcelist=[429, 500, 502, 503, 504],
        allowed_methods=None,
        raise_on_status=False,
    )
    made = requests.Session()
    made.headers["Authorization"] = f"Bearer {os.environ['EVOLINK_API_KEY']}"
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry))
    return made


def answer(response: requests.Response) -> dict[str, Any]:
    """The body of a good answer. Ends the program for any other."""
    try:
        body: dict[str, Any] = response.json()
        refused = body.get("error", {})
    except ValueError:  # whatever stands in between may answer with a page
        body, refused = {}, {"code": response.status_code, "message": response.text[:200]}
    if response.ok and body:
        return body
    if response.status_code == 402:
        quit(3, "not enough credits: recharge the account")
    if refused.get("code") == "content_policy_violation":
        quit(4, f"refused by moderation: {refused['message']}")
    quit(1, f"{response.status_code} {refused.get('code')}: {refused.get('message')}")


def quit(code: int, message: str) -> NoReturn:
    """Ends the program."""
    print(message, file=sys.stderr)
    sys.exit(code)


def credits(service: requests.Session) -> float:
    """What remains on the account."""
    return float(answer(service.get(f"{BASE_URL}/v1/credits", timeout=60))["data"]["token"]["remaining_credits"])


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

    server = make_server("", int(os.environ.get("CALLBACK_PORT", "8000")), application, handler_class=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"callbacks are received on port {server.server_port}", file=sys.stderr)


def finished(service: requests.Session, task_id: str, called: threading.Event) -> dict[str, Any]:
    """The task when it is over."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        task = answer(service.get(f"{BASE_URL}/v1/tasks/{task_id}", timeout=60))
        if task["status"] in ("completed", "failed", "cancelled"):
            return task
        print(f"{task['status']}, {task['progress']} %", file=sys.stderr)
        # a callback may come twice or never: it only ends the pause
        called.wait(60 if CALLBACK_URL else POLL_SECONDS)
        called.clear()
    quit(1, f"task {task_id} was not over after {LONGEST} s")


def main(prompt: str, file: Path) -> None:
    """Ends the program where there is no video."""
    called = threading.Event()
    order = {"model": "sora-2-beta-max", "prompt": prompt}
    if CALLBACK_URL:
        listen(called)
        order["callback_url"] = CALLBACK_URL
    with session() as service:
        before = credits(service)
        once = {"Idempotency-Key": str(uuid.uuid4())}
        created = service.post(f"{BASE_URL}/v1/videos/generations", json=order, headers=once, timeout=60)
        task = finished(service, answer(created)["id"], called)
        if task["status"] != "completed":
            failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
            told = f"{failure['code']}: {failure['message']}; credits: {before:g} before, {credits(service):g} now"
            if failure["code"] == "content_policy_violation":
                quit(4, f"refused by moderation: {told}")
            quit(1, told)
    # without the session, so that the other host is not told our key
    part = file.with_name(file.name + ".part")
    with requests.get(task["results"][0], stream=True, timeout=60) as video, part.open("wb") as out:
        video.raise_for_status()
        shutil.copyfileobj(video.raw, out)
    part.replace(file)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("EVOLINK_API_KEY"):
        quit(2, "usage: EVOLINK_API_KEY=... video_requests.py PROMPT FILE")
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except requests.RequestException as problem:
        quit(1, f"no answer: {problem}")
    print(sys.argv[2])
