#!/usr/bin/env python3
"""Makes a video with httpx: orders it once, waits for it, saves it, and says plainly what went wrong.

    EVOLINK_API_KEY=... python video_httpx.py "A cat playing piano" cat.mp4

Nothing in this file is for a mock; against one: sora-mock run -- python video_httpx.py "A cat playing piano" cat.mp4

EVOLINK_BASE_URL  another service (https://api.evolink.ai)
POLL_SECONDS      pause between two looks at the task (5)
CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one): the service
                  then tells us when the task is over, and we look only now and then

Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
"""

import os
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
CALLBACK_URL = os.environ.get("CALLBACK_URL")
LONGEST = 1800  # seconds that a task may take
TRIES = 6


class Problem(Exception):
    """Ends the program with a line for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def ask(client: httpx.Client, method: str, path: str, **more: object) -> httpx.Response:
    """The answer. Waits as a 429 says, and tries again where there is no answer or the service has a fault."""
    why, pause = "", 0.0
    for attempt in range(TRIES):
        if attempt:
            print(f"{why}; again in {pause:g} s", file=sys.stderr)
            time.sleep(pause)
        pause = POLL_SECONDS * 2**attempt
        try:
            response = client.request(method, path, **more)  # type: ignore[arg-type]
        except httpx.TransportError as problem:
            why = f"no answer ({type(problem).__name__})"
            continue
        if response.status_code == 429:
            why, pause = "too many requests", float(response.headers.get("Retry-After", pause))
        elif response.status_code >= 500:
            why = f"the service answers {response.status_code}"
        else:
            return response
    raise Problem(f"{why}, {TRIES} times")


def error(response: httpx.Response) -> dict[str, str]:
    """The error that an answer tells; whatever stands in between may answer with something that is not JSON."""
    try:
        return dict(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return {"code": str(response.status_code), "message": response.text[:200]}


def credits(client: httpx.Client) -> float:
    """What remains on the account."""
    response = ask(client, "GET", "/v1/credits")
    if response.status_code != 200:
        raise Problem(f"credits: {error(response)['message']}")
    return float(response.json()["data"]["token"]["remaining_credits"])


def order(client: httpx.Client, prompt: str) -> str:
    """The id of the new task."""
    body = {"model": "sora-2-beta-max", "prompt": prompt}
    if CALLBACK_URL:
        body["callback_url"] = CALLBACK_URL
    # all tries carry the same key: where a reply was lost, the next try gets the task that exists and pays nothing
    response = ask(client, "POST", "/v1/videos/generations", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    if response.status_code == 200:
        return str(response.json()["id"])
    refused = error(response)
    if response.status_code == 402:
        raise Problem(f"not enough credits: {credits(client):g} remain", 3)
    if refused["code"] == "content_policy_violation":
        raise Problem(f"refused by moderation: {refused['message']}", 4)
    raise Problem(f"{refused['code']}: {refused['message']}")


def finished(client: httpx.Client, task_id: str, called: threading.Event) -> dict[str, object]:
    """The task when it is over. Statuses that are new to us count as not over yet."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        response = ask(client, "GET", f"/v1/tasks/{task_id}")
        if response.status_code != 200:
            raise Problem(f"task {task_id}: {error(response)['message']}")
        task: dict[str, object] = response.json()
        if task["status"] in ("completed", "failed", "cancelled"):
            return task
        print(f"{task['status']}, {task['progress']} %", file=sys.stderr)
        # a callback may be late, come twice or never: it only ends the pause
        called.wait(60 if CALLBACK_URL else POLL_SECONDS)
        called.clear()
    raise Problem(f"task {task_id} was not over after {LONGEST} s")


def save(url: str, file: Path) -> None:
    """Downloads the video. The link is on another host, which is not told our key."""
    part = file.with_name(file.name + ".part")
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60) as response, part.open("wb") as out:
            response.raise_for_status()
            for piece in response.iter_bytes():
                out.write(piece)
    except httpx.HTTPError as problem:
        raise Problem(f"download: {problem}") from None
    part.replace(file)


def listen(called: threading.Event) -> None:
    """Receives callbacks. They are not signed, so nothing that they say is used: we ask the service."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(204)
            self.end_headers()
            called.set()

        def log_message(self, *ignored: object) -> None:
            pass

    server = ThreadingHTTPServer(("", int(os.environ.get("CALLBACK_PORT", "8000"))), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"callbacks are received on port {server.server_port}", file=sys.stderr)


def main(prompt: str, file: Path) -> None:
    """Raises Problem."""
    called = threading.Event()
    if CALLBACK_URL:
        listen(called)
    base = os.environ.get("EVOLINK_BASE_URL", "https://api.evolink.ai")
    key = {"Authorization": f"Bearer {os.environ['EVOLINK_API_KEY']}"}
    with httpx.Client(base_url=base, headers=key, timeout=60) as client:
        before = credits(client)
        task = finished(client, order(client, prompt), called)
        if task["status"] == "completed":
            save(task["results"][0], file)  # type: ignore[index]
            return
        failure = task.get("error") or {"code": task["status"], "message": "no reason given"}
        moderated = failure["code"] == "content_policy_violation"  # type: ignore[index]
        told = f"{failure['code']}: {failure['message']}; credits: {before:g} before, {credits(client):g} now"  # type: ignore[index]
        raise Problem(f"refused by moderation: {told}" if moderated else told, 4 if moderated else 1)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("EVOLINK_API_KEY"):
        sys.exit(print("usage: EVOLINK_API_KEY=... video_httpx.py PROMPT FILE", file=sys.stderr) or 2)
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.code)
    print(sys.argv[2])
