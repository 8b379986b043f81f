"""The control API under /__mock: JSON in, `Controls` called, JSON out."""

import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from sora_mock.api.endpoint import LARGEST_BODY
from sora_mock.api.responses import json_response
from sora_mock.config.readers import callback_routes
from sora_mock.control import inbox
from sora_mock.control.access import Guard
from sora_mock.control.operations import ControlError, Controls
from sora_mock.domain.clock import MAX_SPEED, MAX_TIME
from sora_mock.domain.errors import near_names
from sora_mock.domain.ledger import to_units
from sora_mock.domain.queue_rule import read_match
from sora_mock.domain.text import redacted
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.domain.values import json_number, short_text
from sora_mock.version import VERSION

Fields = dict[str, Any]
Handler = Callable[["ControlCall"], Any]

MOST_LISTED: Final = 10_000
LISTED: Final = 1_000
"""Items that a list answers unless `?limit=` asks for another number."""


class Created(dict[str, Any]):
    """An answer that tells of something new: 201."""


class ControlCall:
    """One control call: what it is about, and what it says.

    controls: what it can do. key: the account's key, None for the whole server. data: the body as it was sent.
    """

    def __init__(self, controls: Controls, request: Request, key: str | None, data: bytes) -> None:
        self.controls = controls
        self.key = key
        self.data = data
        self.headers = request.headers
        self.path = request.path_params
        self.query = request.query_params

    @cached_property
    def body(self) -> Fields:
        """The JSON object that was sent, empty without one. Raises ControlError 400."""
        if not self.data.strip():
            return {}
        try:
            body = msgspec.json.decode(self.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise bad_body(f"the body is not JSON: {problem}") from None
        if not isinstance(body, dict):
            raise bad_body("the body must be a JSON object")
        return body

    def take(self, **readers: Callable[[Any], Any]) -> Fields:
        """The body's fields, each read by its reader. Raises ControlError 400 for an unknown or bad one."""
        found = {}
        for name, value in self.body.items():
            if name not in readers:
                raise bad_body(f"unknown field {name[:80]!r}{near_names(name, readers) or _known(readers)}")
            try:
                found[name] = readers[name](value)
            except ValueError as problem:
                raise bad_body(f"{name}: {problem}") from None
        return found

    @property
    def limit(self) -> int:
        """`?limit=`. Raises ControlError 400."""
        return int(self.number("limit", LISTED, 1, MOST_LISTED))

    def number(self, name: str, usual: float, low: float, high: float) -> float:
        """A number of the query. Raises ControlError 400."""
        written = self.query.get(name, str(usual))
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", written) or not low <= float(written) <= high:
            raise ControlError(400, "invalid_query", f"{name} must be a number from {low:g} to {high:g}")
        return float(written)


def routes(prefix: str, controls: Controls, guard: Guard) -> list[Mount]:
    """Everything under `prefix`, behind the guard."""

    def on(path: str, **methods: Handler) -> Route:
        return Route(path, Endpoint(controls, guard, methods))

    routes = [
        on("/health", GET=lambda call: {"status": "ok", "version": VERSION}),
        on("/clock", GET=lambda call: call.controls.clock(call.key), PATCH=_change_clock),
        on("/clock/advance", POST=_advance),
        on("/account", GET=lambda call: call.controls.account(call.key), PATCH=_change_account),
        on("/scenarios", GET=lambda call: call.controls.scenarios(call.key), POST=_queue, DELETE=_empty_queue),
        on("/tasks", GET=lambda call: {"tasks": call.controls.tasks(call.key, call.limit)}),
        on("/tasks/{task_id}/finish", POST=_finish),
        on("/requests", GET=lambda call: {"requests": call.controls.requests(call.key, call.limit)}),
        on("/deliveries", GET=_deliveries),
        on("/deliveries/{delivery_id}/redeliver", POST=_redeliver),
        on("/callback-routes", PUT=_routes_of_callbacks),
        on("/inbox/{name:path}", **inbox.HANDLERS),
        on("/reset", POST=_reset),
    ]
    unknown = Endpoint(controls, guard, {})
    return [Mount(prefix, Router(routes, redirect_slashes=False, default=unknown))]


async def _change_clock(call: ControlCall) -> Fields:
    change = call.take(
        now=json_number(0, MAX_TIME),
        speed=json_number(0.001, MAX_SPEED),
        frozen=_boolean,
        per_request=json_number(0, MAX_TIME),
    )
    await call.controls.change_clock(call.key, **change)
    return call.controls.clock(call.key)


async def _advance(call: ControlCall) -> Fields:
    change = call.take(seconds=json_number(0, MAX_TIME))
    if "seconds" not in change:
        raise bad_body('seconds is required, as in {"seconds": 300}')
    await call.controls.advance(call.key, change["seconds"])
    return call.controls.clock(call.key)


def _change_account(call: ControlCall) -> Fields:
    change = call.take(remaining_credits=_balance, rate_limit=_rate)
    if "remaining_credits" in change:
        call.controls.set_balance(call.key, change["remaining_credits"])
    if "rate_limit" in change:
        call.controls.set_rate(call.key, change["rate_limit"])
    return call.controls.account(call.key)


def _queue(call: ControlCall) -> Created:
    change = call.take(scenario=short_text, times=_times, match=read_match, override=_object)
    if "scenario" not in change:
        raise bad_body('scenario is required, as in {"scenario": "failed", "times": 1}')
    match = change.get("match", ("create", {}))
    rule = call.controls.queue(call.key, change["scenario"], change.get("times", 1), match, change.get("override", {}))
    return Created(rule)


def _empty_queue(call: ControlCall) -> Fields:
    call.controls.empty_queue(call.key)
    return {"queue": []}


async def _finish(call: ControlCall) -> Fields:
    change = call.take(outcome=_outcome, code=short_text, message=short_text)
    if "outcome" not in change:
        raise bad_body("outcome is required: completed, failed or cancelled")
    code, message = change.get("code"), change.get("message")
    view = call.controls.finish(call.key, call.path["task_id"], change["outcome"], code, message)
    # its callback is due at this moment
    await call.controls.reported(call.path["task_id"])
    return view


def _deliveries(call: ControlCall) -> Fields:
    return {"deliveries": call.controls.deliveries(call.key, call.query.get("task_id"))[: call.limit]}


async def _redeliver(call: ControlCall) -> Fields:
    call.take()
    return await call.controls.redeliver(call.key, call.path["delivery_id"])


def _routes_of_callbacks(call: ControlCall) -> Fields:
    try:
        routes = callback_routes(call.body)
    except ValueError as problem:
        raise bad_body(f'{problem}, as in {{"https://hooks.example.com": "http://127.0.0.1:9000"}}') from None
    call.controls.set_routes(call.key, routes)
    return {"callback_routes": routes}


def _reset(call: ControlCall) -> Fields:
    call.take()
    call.controls.reset(call.key)
    return {"status": "ok"}


class Endpoint:
    """The methods of one control route as an ASGI application; no methods: an unknown route."""

    def __init__(self, controls: Controls, guard: Guard, methods: Mapping[str, Handler]) -> None:
        self.controls = controls
        self.guard = guard
        self.methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the call, or `{"error":{"code","message"}}`."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
            status = 201 if isinstance(answer, Created) else 200
            response = answer if isinstance(answer, Response) else json_response(status, answer)
        except ControlError as error:
            response = json_response(error.status, {"error": {"code": error.code, "message": error.message}})
            if error.status == 405:
                response.headers["allow"] = ", ".join(self.methods)
        except ClientDisconnect:
            return
        except Exception:
            self.controls.emulator.on_bug(redacted(traceback.format_exc()))
            response = json_response(
                500, {"error": {"code": "internal_error", "message": "a bug of sora-mock; see its output"}}
            )
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Any:
        refused = self.guard.refusal(request.headers, health=request.scope["path"] == "/__mock/health")
        if refused is not None:
            raise ControlError(403, "forbidden", refused)
        if not self.methods:
            raise ControlError(404, "unknown_route", f"there is no {request.scope['path'][:200]} here")
        handler = self.methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise ControlError(405, "method_not_allowed", f"allowed: {', '.join(self.methods)}")
        answer = handler(ControlCall(self.controls, request, self._key(request), await _data(request)))
        return await answer if isinstance(answer, Awaitable) else answer

    def _key(self, request: Request) -> str | None:
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not self.controls.emulator.accepts(key.strip()):
            listed = self.controls.emulator.settings.keys is not None
            wanted = "one of those in the setting `keys`" if listed else "a bearer key that begins with sk-"
            raise ControlError(401, "unauthorized", f"the key must be {wanted}")
        return key.strip()


async def _data(request: Request) -> bytes:
    """The body of a request. Raises ControlError 413."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            raise ControlError(413, "body_too_large", "the body is larger than 1 MiB")
    return data


def bad_body(message: str) -> ControlError:
    """The refusal of a body that cannot be used."""
    return ControlError(400, "invalid_body", message)


def _known(names: Mapping[str, Any]) -> str:
    return f"; known are {', '.join(names)}" if names else "; none is expected"


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _times(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**6):
        raise ValueError("expected a whole number from 1, or null for ever")
    return value


def _object(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _outcome(value: Any) -> Any:
    if value not in ("completed", "failed", "cancelled"):
        raise ValueError("expected completed, failed or cancelled")
    return value


def _balance(value: Any) -> int | None:
    if value == "unlimited":
        return None
    if isinstance(value, str):
        raise ValueError("expected a number of credits or unlimited")
    return to_units(value)


def _rate(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("expected a rate such as 60/minute, or null")
    return None if value is None else parse_rate_limit(value)
