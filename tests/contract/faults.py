"""Faults to plant into a mock, each with the rule that has to catch it: answers that are changed, parts that are."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sora_mock.domain import delivery, lifecycle
from sora_mock.domain.ledger import Ledger

Send = Callable[[Any], Awaitable[None]]


@dataclass
class Answer:
    """An answer on its way out: what was asked, and what may be changed."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        # as the server writes it, so that nothing else changes
        self.body = msgspec.json.encode(value)
        self.headers["content-length"] = str(len(self.body))

    @property
    def is_creation(self) -> bool:
        return self.method == "POST" and self.path == "/v1/videos/generations" and self.status == 200

    @property
    def is_task(self) -> bool:
        return self.path.startswith("/v1/tasks/") and self.status == 200


Change = Callable[[Answer], None]


@dataclass
class Faulty:
    """An application whose answers are changed; control calls pass."""

    app: Any
    change: Change
    direct: None = field(default=None)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["path"].startswith("/__mock"):
            await self.app(scope, receive, send)
            return
        sent: list[Any] = []

        async def keep(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, keep)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in sent[1:])
        answer = Answer(scope["method"], scope["path"], sent[0]["status"], headers, body)
        self.change(answer)
        lines = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": answer.body})


def status(found: int, instead: int) -> Change:
    """Another status for one."""

    def change(answer: Answer) -> None:
        answer.status = instead if answer.status == found else answer.status

    return change


def creation(edit: Callable[[Any], Any]) -> Change:
    """Another reply to creations."""

    def change(answer: Answer) -> None:
        if answer.is_creation:
            body = answer.json
            edit(body)
            answer.json = body

    return change


def task(edit: Callable[[Any], Any]) -> Change:
    """Another answer to queries."""

    def change(answer: Answer) -> None:
        if answer.is_task:
            body = answer.json
            edit(body)
            answer.json = body

    return change


def refusal(edit: Callable[[Any], Any]) -> Change:
    """Another envelope."""

    def change(answer: Answer) -> None:
        if answer.status >= 400:
            body = answer.json
            edit(body["error"])
            answer.json = body

    return change


def _falls(body: Any) -> None:
    if body["status"] == "processing" and body["progress"] > 50:
        body["progress"] -= 30


def _early(body: Any) -> None:
    if body["status"] == "processing":
        body["results"] = ["https://files.example.com/video.mp4"]


def _empty_error(body: Any) -> None:
    if "error" in body:
        body["error"]["type"] = "error"


def _range_lost(answer: Answer) -> None:
    if answer.status == 206:
        answer.status = 200


def _wrong_type(answer: Answer) -> None:
    if answer.path.startswith("/files/") and answer.status == 200:
        answer.headers["content-type"] = "application/octet-stream"


def _no_allow(answer: Answer) -> None:
    answer.headers.pop("allow", None)


def _no_retry_after(answer: Answer) -> None:
    answer.headers.pop("retry-after", None)


def _no_replay_mark(answer: Answer) -> None:
    answer.headers.pop("idempotency-replayed", None)


ANSWERS: dict[str, tuple[str, Change]] = {
    "401 as 403": ("auth.create.wrong", status(401, 403)),
    "400 as 422": ("create.duration.11", status(400, 422)),
    "404 as 400": ("query.id.unknown", status(404, 400)),
    "403 as 404": ("foreign.query", status(403, 404)),
    "402 as 400": ("money.402.below_10", status(402, 400)),
    "429 as 503": ("rate.create", status(429, 503)),
    "creation as 201": ("create.prompt.1", status(200, 201)),
    "no message": ("envelope.fits", refusal(lambda error: error.pop("message"))),
    "one code for all": ("auth.query.none", refusal(lambda error: error.update(code="error"))),
    "no param": ("create.aspect_ratio.square", refusal(lambda error: error.pop("param", None))),
    "no usage": ("creation.shape", creation(lambda body: body.pop("usage"))),
    "price off": ("money.price.15", creation(lambda body: body["usage"].update(credits_reserved=8.63))),
    "id of another time": ("creation.id", creation(lambda body: body.update(created=body["created"] + 1))),
    "cannot cancel": ("creation.can_cancel", creation(lambda body: body["task_info"].update(can_cancel=False))),
    "first state": ("creation.first_state", creation(lambda body: body.update(status="processing", progress=1))),
    "progress falls": ("life.progress.rises", task(_falls)),
    "results early": ("life.results", task(_early)),
    "results twice": ("life.results", task(lambda body: "results" in body and body["results"].append("https://x.y/"))),
    "error null": ("life.failed.service_error", task(lambda body: "error" in body and body.update(error=None))),
    "error type": ("life.failed.unknown_error", task(_empty_error)),
    "model changes": ("life.immutable", task(lambda body: body.update(model=f"m{body['progress']}"))),
    "can_cancel for ever": ("life.can_cancel", task(lambda body: body["task_info"].update(can_cancel=True))),
    "keys unsorted": ("creation.key_order", task(lambda body: body.update(created=body.pop("created")))),
    "range ignored": ("link.range.first", _range_lost),
    "octet-stream": ("link.video", _wrong_type),
    "no Allow": ("route.method", _no_allow),
    "no Retry-After": ("rate.refill", _no_retry_after),
    "replay unmarked": ("idempotency.replay", _no_replay_mark),
}
"""By name: the rule that catches it, and the change."""


def _no_refund(ledger: Ledger, units: int) -> Ledger:
    return ledger.charge(units)


def _free(ledger: Ledger, units: int) -> Ledger:
    return ledger.release(units)


def _late_end(plan: Any, now: float) -> str:
    return str(plan.outcome if now > plan.ended_at else "processing" if now >= plan.processing_at else "pending")


def _no_queue(plan: Any, now: float) -> str:
    return str(plan.outcome if now >= plan.ended_at else "processing")


def _any_answer(attempt: Any) -> bool:
    return attempt.status is not None and attempt.status < 400


PARTS: dict[str, tuple[str, object, str, Any]] = {
    "no refund": ("money.failed", Ledger, "release", _no_refund),
    "never charged": ("money.completed.10", Ledger, "charge", _free),
    "spends what it has not": ("money.402.nothing", Ledger, "affords", lambda ledger, units: True),
    "retries doubled": ("callback.schedule", delivery, "RETRY_DELAYS", (2.0, 4.0, 8.0)),
    "one retry less": ("callback.schedule", delivery, "RETRY_DELAYS", (1.0, 2.0)),
    "first retry late": ("callback.schedule.steps", delivery, "RETRY_DELAYS", (1.5, 2.0, 4.0)),
    "redirects count": ("callback.status.302", delivery.Attempt, "succeeded", property(_any_answer)),
    "only 200 counts": (
        "callback.status.204",
        delivery.Attempt,
        "succeeded",
        property(lambda attempt: attempt.status == 200),
    ),
    "ends late": ("life.end.exact", lifecycle, "status", _late_end),
    "no queue": ("life.order", lifecycle, "status", _no_queue),
    "progress stands": ("life.progress.bounds", lifecycle, "progress", lambda plan, now: 0),
    "links for ever": ("link.24h", "sora_mock.emulator", "LINK_LIFETIME", 1e9),
    "links short": ("link.24h", "sora_mock.emulator", "LINK_LIFETIME", 3600.0),
}
"""By name: the rule that catches it, what is changed, its attribute, and the new value."""
