"""Faults in what the server says: an application whose answers are changed on their way out."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

Edit = Callable[[Any], Any]
Send = Callable[[Any], Awaitable[None]]

CREATE, CREDITS, TASKS, FILES = "/v1/videos/generations", "/v1/credits", "/v1/tasks/", "/files/"


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


def status(found: int, instead: int, path: str = "/") -> Change:
    """Another status for one."""

    def change(answer: Answer) -> None:
        if answer.status == found and answer.path.startswith(path):
            answer.status = instead

    return change


def body(path: str, edit: Edit, status: int = 200) -> Change:
    """Another body of the answers of one status under one path."""

    def change(answer: Answer) -> None:
        if answer.path.startswith(path) and answer.status == status:
            value = answer.json
            edit(value)
            answer.json = value

    return change


def creation(edit: Edit) -> Change:
    """Another reply to creations."""
    return body(CREATE, edit)


def task(edit: Edit) -> Change:
    """Another answer to queries."""
    return body(TASKS, edit)


def refusal(edit: Edit) -> Change:
    """Another envelope, whatever is refused."""

    def change(answer: Answer) -> None:
        if answer.status >= 400:
            value = answer.json
            edit(value["error"])
            answer.json = value

    return change


def error(found: int, path: str, **values: Any) -> Change:
    """Other values in the envelope of one status under one path."""
    return body(path, lambda said: said["error"].update(values), found)


def without(header: str) -> Change:
    """No such header."""

    def change(answer: Answer) -> None:
        answer.headers.pop(header, None)

    return change


def when(condition: Callable[[Any], bool], **values: Any) -> Edit:
    """Other values in what fits the condition."""
    return lambda said: said.update(values) if condition(said) else None
