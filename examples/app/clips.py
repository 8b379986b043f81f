"""A small web application that makes video clips. It survives lost responses and wrong callbacks.

    POST /clips {"prompt": "..."}      202 {"id", "state"}; the application makes the clip in the background
    GET  /clips/{id}[?wait=SECONDS]    {"id", "state", "reason"}; waits until the clip is ready or failed, at most 60 s
    GET  /clips/{id}/video             the video
    GET  /credits                      the remaining balance of the account
    POST /callbacks/{id}               receives the callbacks of the service

    EVOLINK_API_KEY=... uvicorn --factory clips:from_environment

Nothing here is specific to a mock. The main idea: a callback is only a reason to poll the task now. Only `step` changes
a clip, in one worker, so it does not matter how often a callback comes, or when.

The application is made for one process. Several processes (`uvicorn --workers 2`) may use the same folder. Each of them
works on every clip that is due. They send the same Idempotency-Key, so a clip is still paid once and saved completely.
But each process sends its own requests, and a callback to one process ends a `wait` in another one only at the next
poll of that other one.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

ORDERED, MAKING, READY, FAILED = "ordered", "making", "ready", "failed"
DAY = 86400
LONGEST_WAIT = 60.0  # seconds of a GET: an open request delays the stop of the application


@dataclass(frozen=True)
class Config:
    """Settings of the application. Times are seconds.

    public_url: the https address at which the service reaches us. None: it cannot, and the application only polls.
    look: pause between two polls of a task; with callbacks, polling is the fallback. retry: pause after a fault.
    heed: one callback of a clip in this time causes a poll, because anyone can send callbacks.
    give_up: a clip fails after this time with nothing but faults. give_up_paid: the same for a clip whose create
    request got a 200, readable or not.
    """

    base_url: str
    api_key: str
    folder: Path
    public_url: str | None = None
    look: float = 30
    retry: float = 5
    heed: float = 1
    give_up: float = 3600
    give_up_paid: float = 7 * DAY


class Clips:
    """The clips, in a database file that survives a restart."""

    def __init__(self, file: Path) -> None:
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute(
            # paid: the service accepted the create request; maybe its id was unreadable
            # failing: time of the first fault since the last success
            "CREATE TABLE IF NOT EXISTS clips (id TEXT PRIMARY KEY, prompt TEXT, callback_url TEXT, state TEXT,"
            " paid INTEGER, task_id TEXT, reason TEXT, failing REAL, due REAL)"
        )
        # the time without a running application does not count
        self.db.execute("UPDATE clips SET failing = NULL")

    def add(self, prompt: str, public_url: str | None) -> str:
        """Stores a new clip before the create request. Returns its id, which is the Idempotency-Key. The whole body is
        stored too, because the service accepts only one body for a key."""
        clip_id = str(uuid.uuid4())
        callback_url = public_url and f"{public_url.rstrip('/')}/callbacks/{clip_id}"
        new = (clip_id, prompt, callback_url, ORDERED, time.time())
        self.db.execute("INSERT INTO clips VALUES (?, ?, ?, ?, 0, NULL, NULL, NULL, ?)", new)
        return clip_id

    def get(self, clip_id: str) -> dict[str, Any] | None:
        """A clip; None if there is no such clip."""
        row = self.db.execute("SELECT * FROM clips WHERE id = ?", (clip_id,)).fetchone()
        return None if row is None else dict(row)

    def change(self, clip_id: str, **fields: Any) -> None:
        """Sets fields of a clip that is not ready or failed yet."""
        names = ", ".join(f"{name} = ?" for name in fields)
        query = f"UPDATE clips SET {names} WHERE id = ? AND state IN (?, ?)"  # the names are our own
        self.db.execute(query, (*fields.values(), clip_id, ORDERED, MAKING))

    def open(self) -> list[dict[str, Any]]:
        """Clips that are not ready or failed yet, the earliest due first."""
        query = "SELECT * FROM clips WHERE state IN (?, ?) ORDER BY due"
        return [dict(row) for row in self.db.execute(query, (ORDERED, MAKING))]


class Maker:
    """Makes the clips, one step at a time."""

    def __init__(self, config: Config, clips: Clips, service: httpx.AsyncClient) -> None:
        self.config = config
        self.clips = clips
        self.service = service
        self.called: set[str] = set()
        self.heeded: dict[str, float] = {}
        self.wake = asyncio.Event()
        self.changed = asyncio.Condition()

    async def work(self) -> None:
        """Works until it is cancelled."""
        while True:
            try:
                await self.round()
            except Exception:  # without a worker, new clips would never be made
                logging.exception("the worker continues in %g s", self.config.retry)
                await asyncio.sleep(self.config.retry)

    async def round(self) -> None:
        """Does one step for each clip that is due, then waits for the next due clip."""
        self.wake.clear()
        for clip in self.clips.open():
            if self.due(clip) <= time.time():
                if clip["id"] in self.called:
                    # discarded before the poll: a callback that comes during the poll causes another poll
                    self.called.discard(clip["id"])
                    self.heeded[clip["id"]] = time.time()
                await self.step(clip)
        left = self.clips.open()
        self.called.intersection_update(clip["id"] for clip in left)
        self.heeded = {clip["id"]: self.heeded[clip["id"]] for clip in left if clip["id"] in self.heeded}
        async with self.changed:
            self.changed.notify_all()
        due = min((self.due(clip) for clip in left), default=time.time() + 3600)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wake.wait(), max(0, due - time.time()))

    def due(self, clip: dict[str, Any]) -> float:
        """When the next step of the clip is due: sooner after a callback, but not before the task exists."""
        if clip["id"] not in self.called or clip["state"] != MAKING:
            return float(clip["due"])
        return min(float(clip["due"]), self.heeded.get(clip["id"], 0) + self.config.heed)

    async def step(self, clip: dict[str, Any]) -> None:
        """Creates the task or polls it, and schedules another try after every fault."""
        try:
            response = await (self.order(clip) if clip["state"] == ORDERED else self.look(clip))
            if response.status_code == 429:
                self.again(clip, "too many requests", wait(response.headers.get("Retry-After", ""), self.config.retry))
            elif response.status_code >= 500:
                self.again(clip, f"the service responded with {response.status_code}", self.config.retry)
            elif response.status_code == 200:
                clip["paid"] = 1
                self.clips.change(clip["id"], paid=1)
                await self.settle(clip, response.json())
            elif clip["paid"]:  # maybe the API key is being replaced: only its task ends a paid clip
                self.again(clip, error_line(error(response)), self.config.look)
            else:
                self.fail(clip, error(response))
        except httpx.HTTPError as problem:
            self.again(clip, f"no response: {type(problem).__name__}", self.config.retry)
        except (ValueError, LookupError, TypeError) as problem:
            self.again(clip, f"an unreadable response: {problem!r}", self.config.retry)
        except Exception as problem:  # a full disk, a locked database: the clip is paid, and other clips wait
            logging.exception("clip %s", clip["id"])
            self.again(clip, f"an error in this application: {problem!r}", self.config.retry)

    def again(self, clip: dict[str, Any], why: str, pause: float) -> None:
        """Schedules the same step again. It costs nothing: a create request repeats its Idempotency-Key."""
        now = time.time()
        since = now if clip["failing"] is None else clip["failing"]
        if now - since > (self.config.give_up_paid if clip["paid"] else self.config.give_up):
            self.fail(clip, {"code": "gave_up", "message": why})
        else:
            self.clips.change(clip["id"], due=now + pause, reason=why, failing=since)

    def fail(self, clip: dict[str, Any], failure: dict[str, Any]) -> None:
        """Ends a clip that cannot be made. Another try would not help."""
        self.clips.change(clip["id"], state=FAILED, reason=error_line(failure))

    async def order(self, clip: dict[str, Any]) -> httpx.Response:
        """Sends the create request. Repeated requests create only one task."""
        order = {"model": "sora-2-beta-max", "prompt": clip["prompt"]}
        if clip["callback_url"]:
            order["callback_url"] = clip["callback_url"]
        once = {"Idempotency-Key": clip["id"]}
        return await self.service.post("/v1/videos/generations", json=order, headers=once)

    async def look(self, clip: dict[str, Any]) -> httpx.Response:
        """Polls the task."""
        return await self.service.get(f"/v1/tasks/{clip['task_id']}")

    async def settle(self, clip: dict[str, Any], task: dict[str, Any]) -> None:
        """Applies the state of the task to the clip. An unknown status counts as not ended."""
        self.clips.change(clip["id"], state=MAKING, task_id=task["id"])
        if task["status"] == "completed" and "results" in task:
            await self.save(task["results"][0], self.video(clip["id"]))
            self.clips.change(clip["id"], state=READY, reason=None)
        elif task["status"] in ("failed", "cancelled"):
            self.fail(clip, task.get("error") or {"code": task["status"], "message": "no reason given"})
        else:
            self.clips.change(clip["id"], due=time.time() + self.config.look, reason=None, failing=None)

    async def save(self, url: str, file: Path) -> None:
        """Downloads the video, because its link expires after a day. The link is on another host: no key is sent."""
        part = file.with_name(f"{uuid.uuid4()}.part")
        try:
            async with httpx.AsyncClient(timeout=60, follow_redirects=True) as files, files.stream("GET", url) as video:
                video.raise_for_status()
                with part.open("wb") as out:
                    async for piece in video.aiter_bytes():
                        out.write(piece)
            if not part.stat().st_size:
                raise ValueError("an empty video")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def video(self, clip_id: str) -> Path:
        """The file of a clip's video."""
        return self.config.folder / f"{clip_id}.mp4"


def error(response: httpx.Response) -> dict[str, Any]:
    """The error in a response. A proxy may respond with an HTML page instead of an error."""
    try:
        return dict(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return {"code": response.status_code, "message": response.text[:200]}


def error_line(failure: dict[str, Any]) -> str:
    """An error in one line."""
    return f"{failure['code']}: {failure['message']}"


def patience(text: str) -> float:
    """Seconds that a request wants to wait, at most LONGEST_WAIT. Raises ValueError if the text is not a number."""
    return max(0.0, min(LONGEST_WAIT, float(text)))  # in this order, because every comparison with nan is false


def wait(retry_after: str, default: float) -> float:
    """Seconds that Retry-After names, as a number or a date; `default` if it names no time in the future."""
    try:
        if retry_after.isdecimal():
            return min(float(retry_after), DAY)
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return default
    return min(left, DAY) if left > 0 else default


def create_app(config: Config) -> Starlette:
    """The application. Its worker starts and stops with it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        headers = {"Authorization": f"Bearer {config.api_key}"}
        async with httpx.AsyncClient(base_url=config.base_url, headers=headers, timeout=60) as service:
            config.folder.mkdir(parents=True, exist_ok=True)
            maker = app.state.maker = Maker(config, Clips(config.folder / "clips.db"), service)
            worker = asyncio.create_task(maker.work())
            yield
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            maker.clips.db.close()

    routes = [
        Route("/clips", new_clip, methods=["POST"]),
        Route("/clips/{id}", show_clip),
        Route("/clips/{id}/video", show_video),
        Route("/credits", show_credits),
        Route("/callbacks/{id}", callback, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def from_environment() -> Starlette:
    """The application with the settings of the environment variables."""
    get = os.environ.get
    return create_app(
        Config(
            base_url=get("EVOLINK_BASE_URL", "https://api.evolink.ai"),
            api_key=os.environ["EVOLINK_API_KEY"],
            folder=Path(get("CLIPS_FOLDER", "clips")),
            public_url=get("PUBLIC_URL"),
            look=float(get("POLL_SECONDS", "30")),
        )
    )


async def new_clip(request: Request) -> Response:
    """Stores a new clip."""
    maker: Maker = request.app.state.maker
    try:
        prompt = (await request.json())["prompt"]
        good = prompt.strip() and prompt.encode()  # half of a surrogate pair is not valid text
    except (ValueError, LookupError, TypeError, AttributeError):
        good = False
    if not good:
        return JSONResponse({"error": "expected a JSON object with a prompt, a text"}, 400)
    clip_id = maker.clips.add(prompt, maker.config.public_url)
    maker.wake.set()
    return JSONResponse({"id": clip_id, "state": ORDERED}, 202)


async def show_clip(request: Request) -> Response:
    """The state of a clip."""
    maker: Maker = request.app.state.maker
    clip_id = request.path_params["id"]

    def over() -> bool:
        clip = maker.clips.get(clip_id)
        return clip is None or clip["state"] in (READY, FAILED)

    with contextlib.suppress(TimeoutError, ValueError):
        async with asyncio.timeout(patience(request.query_params.get("wait", "0"))), maker.changed:
            await maker.changed.wait_for(over)
    clip = maker.clips.get(clip_id)
    if clip is None:
        return JSONResponse({"error": "no such clip"}, 404)
    return JSONResponse({name: clip[name] for name in ("id", "state", "reason")})


async def show_video(request: Request) -> Response:
    """Sends a clip's video."""
    maker: Maker = request.app.state.maker
    clip = maker.clips.get(request.path_params["id"])
    if clip is None or clip["state"] != READY:
        return JSONResponse({"error": "no such video"}, 404)
    return FileResponse(maker.video(clip["id"]), media_type="video/mp4")


async def show_credits(request: Request) -> Response:
    """The remaining balance of the account."""
    maker: Maker = request.app.state.maker
    try:
        response = await maker.service.get("/v1/credits")
        if response.status_code == 200:
            return JSONResponse({"remaining": response.json()["data"]["token"]["remaining_credits"]})
        why = error(response)["message"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as problem:
        why = f"no response, or an unreadable one ({type(problem).__name__})"
    return JSONResponse({"error": why}, 502)


async def callback(request: Request) -> Response:
    """Receives a callback. It is not signed, so the worker polls the task and ignores the body."""
    maker: Maker = request.app.state.maker
    clip_id = request.path_params["id"]
    if maker.clips.get(clip_id) is None:
        return Response(status_code=404)
    maker.called.add(clip_id)
    maker.wake.set()
    return Response(status_code=204)
