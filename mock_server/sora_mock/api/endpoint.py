"""The emulated operations over HTTP: raw ASGI endpoints, because they are the hot path (bench/)."""

import asyncio
import re
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.types import Message, Receive, Scope, Send

from sora_mock.api import faults
from sora_mock.api.answers import respond
from sora_mock.domain.contract import CREATE, CREDITS, QUERY
from sora_mock.domain.errors import ApiError, unknown_route, wrong_method
from sora_mock.domain.text import redacted
from sora_mock.service.calls import Answer, Call
from sora_mock.service.emulator import Emulator

LARGEST_BODY: Final = 1024 * 1024
MOST_DRAINED: Final = 8 * 1024 * 1024
"""Bytes of a body that is too large which are still read, so that the client gets to see the answer."""

SLOWEST_BODY: Final = 30.0
"""Real seconds in which a body has to arrive."""

TASKS: Final = "/v1/tasks/"
FILES: Final = "/files/"
FILE_PATH: Final = re.compile(r"/files/[^/]+/videos/[^/]+/[^/]+/[^/]+/[^/]+\.mp4")
"""`/files/{account}/videos/YYYY/MM/DD/{32 hex}.mp4`, the shape of the service's own links (recorded)."""

_HOST = re.compile(rb"[A-Za-z0-9._~-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")

Operation = Callable[[Call], Answer]


class Gone(Exception):
    """The client has left before its request was complete: nobody is there to answer."""


class Service:
    """Everything that is not the control API, as an ASGI application: one look-up finds the endpoint.

    Exact names and two prefixes, no patterns: a path that is nearly right is an unknown route of the service.
    """

    def __init__(self, emulator: Emulator, file: Operation) -> None:
        def query(call: Call) -> Answer:
            return emulator.query(call, call.path[len(TASKS) :])

        def refuse(call: Call) -> Answer:
            raise unknown_route(call.method, quote(call.path, safe="/:@!$&'()*+,;=~-._")[:1000])

        self.exact = {
            "/v1/videos/generations": Endpoint(emulator, emulator.create, CREATE, ("POST",)),
            "/v1/credits": Endpoint(emulator, emulator.credits, CREDITS, ("GET",)),
        }
        self.task = Endpoint(emulator, query, QUERY, ("GET",))
        self.file = Endpoint(emulator, file, None, ("GET", "HEAD"))
        self.unknown = Endpoint(emulator, refuse)
        self.public_url = emulator.settings.public_url

    def answer(self, call: Call) -> Answer:
        """The answer to a request that is there as a whole."""
        return self.endpoint(call.path).answer(call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; a WebSocket, which the service does not have, is closed at once."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self.endpoint(scope["path"])(scope, receive, send)

    def endpoint(self, path: str) -> "Endpoint":
        """Who answers for this path."""
        if path.startswith(TASKS) and path.find("/", len(TASKS)) < 0 and len(path) > len(TASKS):
            return self.task
        if path.startswith(FILES) and FILE_PATH.fullmatch(path):
            return self.file
        return self.exact.get(path, self.unknown)


class Endpoint:
    """One operation as an ASGI application.

    name: whose table of errors is used, None for no operation's own. methods: those that are allowed, none for any.
    """

    def __init__(
        self, emulator: Emulator, operation: Operation, name: str | None = None, methods: tuple[str, ...] = ()
    ) -> None:
        self.emulator = emulator
        self.operation = operation
        self.name = name
        self.methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the request, has it answered, writes the journal, sends."""
        call = Call(scope["method"], scope["path"], dict(scope["headers"]))
        call.origin = origin(self.emulator.settings.public_url, scope.get("server"), call.headers)
        try:
            if call.method not in ("GET", "HEAD"):
                call.body, call.cut = await read_body(receive)
            answer = self.answer(call)
        except Gone:
            return
        except TimeoutError:
            call.cut = True
            answer = self.emulator.refusal(None, call, ApiError(408))
            self.emulator.record(call, answer)
        if answer.latency or answer.fault:
            await faults.respond(scope, receive, send, answer, call)
        else:
            await respond(send, answer, call)

    def answer(self, call: Call) -> Answer:
        """What the operation says, or its refusal, written into the journal; a bug of ours is the documented 500."""
        answer = self._answer(call)
        scenario = call.touch
        if scenario is not None and (scenario.latency or scenario.fault):
            answer = msgspec.structs.replace(answer, latency=scenario.latency, fault=scenario.fault)
        self.emulator.record(call, answer)
        return answer

    def _answer(self, call: Call) -> Answer:
        try:
            if self.methods and call.method not in self.methods:
                raise wrong_method(call.method, call.path, ", ".join(self.methods))
            return self.operation(call)
        except ApiError as error:
            return self.emulator.refusal(self.name, call, error)
        except Exception:
            self.emulator.on_bug(redacted(traceback.format_exc()))
            return self.emulator.refusal(self.name, call, ApiError(500))


def origin(public_url: str | None, server: tuple[str, int | None] | None, headers: Mapping[bytes, bytes]) -> str:
    """What result links begin with: `--public-url`, else the Host that the client called, else our own address."""
    if public_url is not None:
        return public_url
    called = _origin_of(headers.get(b"host", b""))
    if called is not None:
        return called
    name, port = server or ("127.0.0.1", 80)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


@lru_cache(maxsize=256)
def _origin_of(host: bytes) -> str | None:
    return f"http://{host.decode()}" if _HOST.fullmatch(host) else None


async def read_body(receive: Receive) -> tuple[bytes | None, bool]:
    """The whole body, or None where it is over 1 MiB; and whether more of it was left unread.

    Raises Gone, and TimeoutError where it does not arrive in time.
    """
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        return (body, False) if len(body) <= LARGEST_BODY else (None, False)
    async with asyncio.timeout(SLOWEST_BODY):
        return await _read_on(receive, message)


async def _read_on(receive: Receive, message: Message) -> tuple[bytes | None, bool]:
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= LARGEST_BODY:
            chunks.append(chunk)
        more = message.get("more_body", False)
        if not more or size > MOST_DRAINED:
            return (b"".join(chunks), False) if size <= LARGEST_BODY else (None, more)
        message = await receive()
