"""Faults in what the server sends: an application whose responses are changed on their way out."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

Edit = Callable[[Any], Any]
Send = Callable[[Any], Awaitable[None]]

CREATE, CREDITS, TASKS, FILES = "/v1/videos/generations", "/v1/credits", "/v1/tasks/", "/files/"


@dataclass
class Response:
    """A response on its way out. method, path: of its request. The other fields may be changed."""

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


Change = Callable[[Response], None]


@dataclass
class Faulty:
    """An application whose responses are changed. Requests to the control API pass unchanged."""

    app: Any
    change: Change

    @property
    def state(self) -> Any:
        """What `server.py` and `runtime/protocol.py` read from the application: the event bus and the seed."""
        return self.app.state

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
        response = Response(scope["method"], scope["path"], sent[0]["status"], headers, body)
        self.change(response)
        lines = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": lines})
        await send({"type": "http.response.body", "body": response.body})


def status(found: int, instead: int, path: str = "/") -> Change:
    """Another status instead of one, below one path."""

    def change(response: Response) -> None:
        if response.status == found and response.path.startswith(path):
            response.status = instead

    return change


def body(path: str, edit: Edit, status: int = 200) -> Change:
    """Another body of the responses of one status below one path."""

    def change(response: Response) -> None:
        if response.path.startswith(path) and response.status == status:
            value = response.json
            edit(value)
            response.json = value

    return change


def created(edit: Edit) -> Change:
    """Another response to create requests."""
    return body(CREATE, edit)


def task(edit: Edit) -> Change:
    """Another response to task queries."""
    return body(TASKS, edit)


def envelope(edit: Edit) -> Change:
    """Another error object in every response that rejects a request."""

    def change(response: Response) -> None:
        if response.status >= 400:
            value = response.json
            edit(value["error"])
            response.json = value

    return change


def error(found: int, path: str, **values: Any) -> Change:
    """Other values in the error object of one status below one path."""
    return body(path, lambda view: view["error"].update(values), found)


def without(header: str) -> Change:
    """A header is missing."""

    def change(response: Response) -> None:
        response.headers.pop(header, None)

    return change


def when(condition: Callable[[Any], bool], **values: Any) -> Edit:
    """Other values in the bodies that fit the condition."""
    return lambda view: view.update(values) if condition(view) else None
