"""Faults for the rules that were missing in the blind mutation (docs/survivors.md)."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Network, ip_address
from types import SimpleNamespace
from typing import Any

import msgspec

from sora_mock import app
from sora_mock.api import faults, reading
from sora_mock.callbacks import resolver, sender
from sora_mock.domain import byte_range, callback_url, delivery, lifecycle, queue_rule, token_bucket
from sora_mock.domain import contract as domain_contract
from sora_mock.domain import task as domain_task
from sora_mock.domain.errors import ApiError
from sora_mock.domain.models import Model, VideoOrder
from sora_mock.domain.plan import STEADY
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.task import LINK_LIFETIME
from sora_mock.runtime import protocol
from sora_mock.runtime.protocol import Protocol
from sora_mock.service import admission, authentication, callbacks, credits, files, tasks, videos
from sora_mock.service.selection import Selector
from sora_mock.storage.due import DueQueue
from sora_mock.storage.memory import MemoryStorage
from tests.contract.faults import planting
from tests.contract.faults.planting import change_facts
from tests.contract.faults.responses import Change, Edit, Response, task

replace = msgspec.structs.replace

BLIND: dict[str, tuple[str, planting.Plant]] = {}
"""Faults by name: the rule that catches each, and how to plant it. Filled in below, each beside its parts."""


def part(name: str, rule: str, owner: Any, attribute: str, value: Any) -> None:
    """An attribute of one owner has another value."""
    BLIND[name] = (rule, planting.part(owner, attribute, value))


def around(name: str, rule: str, owner: Any, attribute: str, wrapper: Callable[..., Any]) -> None:
    """A method of a class, or a function as one module sees it, is wrapped."""
    BLIND[name] = (rule, planting.around(owner, attribute, wrapper))


def replaced(name: str, rule: str, function: Any, by: Any) -> None:
    """A function is replaced in every module that holds it."""
    BLIND[name] = (rule, planting.replaced(function, by))


def wrapped(name: str, rule: str, function: Any, wrapper: Callable[..., Any]) -> None:
    """A function is wrapped in every module that holds it."""
    BLIND[name] = (rule, planting.wrapped(function, wrapper))


def responses(name: str, rule: str, change: Change) -> None:
    """Responses are changed on their way out."""
    BLIND[name] = (rule, planting.responses(change))


def edited_contract(name: str, rule: str, edit: Edit) -> None:
    """The server enforces an edited contract."""
    BLIND[name] = (rule, planting.edited_contract(edit))


# --- the addresses of callbacks ---
def _names_without(name: str) -> tuple[str, ...]:
    return tuple(each for each in callback_url._INTERNAL_NAMES if each != name)


def _with_any_domain(rule: Any, name: str) -> Any:
    found = rule(name)
    return None if found == "a name without a domain" else found


def _any_port(rejection: Any, url: str) -> Any:
    return rejection(url.replace(":0/", "/"))


part(
    "carrier-grade NAT is public",
    "callback.address.v4",
    callback_url,
    "_INTERNAL_V4",
    tuple(each for each in callback_url._INTERNAL_V4 if each[1] != "carrier-grade NAT"),
)
part("more of IPv6 is public", "callback.address.v6", callback_url, "_GLOBAL_V6", IPv6Network("0::/1"))
part("6to4 is not read", "callback.address.embedded", callback_url, "_SIX_TO_FOUR", IPv6Network("2002::/128"))
around(
    "no octal numbers",
    "callback.address.spelling",
    callback_url,
    "_number",
    lambda read, text: int(text) if text.isdigit() else read(text),
)
part("local names are public", "callback.address.names", callback_url, "_INTERNAL_NAMES", ("localhost",))
part("home.arpa is public", "callback.address.names", callback_url, "_INTERNAL_NAMES", _names_without("home.arpa"))
around("single labels are public", "callback.address.names", callback_url, "_name_rule", _with_any_domain)
wrapped("port 0 is taken", "callback.address.form", callback_url.rejection, _any_port)
part("any letter in a host", "callback.address.form", callback_url, "_FORBIDDEN", re.compile(r"\s"))


def _plain_rejection(address: Any) -> str | None:
    return "callback_url is internal" if callback_url._internal(address) else None


def _one_space(header: bytes) -> str:
    scheme, _, key = header.decode("latin-1").partition(" ")
    return key if scheme.lower() == "bearer" else ""


part("internal without a kind", "callback.address.reason", callback_url, "address_rejection", _plain_rejection)
replaced("one space alone", "auth.scheme.spaces", authentication.bearer_key, _one_space)


# --- callbacks on the wire ---
def _without_login(headers: Any, *more: Any) -> Any:
    return [line for line in headers(*more) if line[0] != "Authorization"]


def _one_port(origin_of: Any, url: str) -> str:
    return re.sub(r":\d+$", "", origin_of(url))


async def _no_reason(post: Any, *args: Any, **more: Any) -> Any:
    result = await post(*args, **more)
    return replace(result, error=result.error and "it failed")


def _plain_address(host: str) -> Any:
    try:
        return ip_address(host)
    except ValueError:
        raise resolver.UnknownHost(host) from None


part("no query", "callback.wire.request", sender, "_target", lambda url: url.path)
around("no credentials", "callback.wire.address", sender, "_headers", _without_login)
around("ports do not count", "callback.wire.route", delivery, "origin_of", _one_port)
part("1xx for ever", "callback.wire.answers", sender, "MAX_INFORMATIONAL", 10**6)
around("no reason", "callback.wire.nobody", sender.Sender, "post", _no_reason)
part("addresses as they are written", "callback.wire.spelling", resolver, "_literal", _plain_address)
part(
    "one folder of inboxes",
    "callback.wire.inbox",
    delivery,
    "unquote",
    lambda path: path.strip("/").partition("/")[0],
)
around("unknown names without a reason", "callback.wire.name", sender.Sender, "post", _no_reason)
part("addresses unchecked", "callback.wire.rebinding", sender, "address_rejection", lambda address: None)


# --- connections ---
def _closes(response: Response) -> None:
    response.headers["connection"] = "close"


def _no_length(response: Response) -> None:
    if response.method == "HEAD":
        response.headers["content-length"] = "0"


class _NeverClosing:
    """A parser that reports no HTTP/1.0 and no `Connection: close`."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser

    def __getattr__(self, name: str) -> Any:
        fixed = {"should_keep_alive": lambda: True, "get_http_version": lambda: "1.1"}
        return fixed.get(name) or getattr(self.parser, name)


def _keeps(on_headers_complete: Any, self: Any) -> None:
    self.parser = _NeverClosing(self.parser)
    # uvicorn looks for this header too
    self.headers = [(name, value) for name, value in self.headers if name != b"connection"]
    on_headers_complete(self)


def _parsed(self: Any, data: bytes) -> bytes:
    self.parser.feed_data(data)
    return b""


def _in_later_read(data_received: Any, self: Any, data: bytes) -> None:
    self.has_head = False
    data_received(self, data)


def _with_head(on_headers_complete: Any, self: Any) -> None:
    self.has_head = True
    on_headers_complete(self)


def _first_part(on_body: Any, self: Any, body: bytes) -> None:
    """Drops what arrives in a later read than the head."""
    if self.has_head or self.url.startswith(b"/__mock"):
        on_body(self, body)


def _not_expected(on_headers_complete: Any, self: Any) -> None:
    self.expect_100_continue = False
    on_headers_complete(self)


async def _left(read_on: Any, *args: Any) -> Any:
    try:
        return await read_on(*args)
    except reading.ClientLeft:
        return b"{}", False


responses("every connection ends", "hostile.connection.kept", _closes)
around("no connection ends", "hostile.connection.ended", Protocol, "on_headers_complete", _keeps)
BLIND["later parts are lost"] = (
    "hostile.connection.parts",
    planting.together(
        planting.around(Protocol, "data_received", _in_later_read),
        planting.around(Protocol, "on_headers_complete", _with_head),
        planting.around(Protocol, "on_body", _first_part),
    ),
)
part("upgrades as the parser says", "hostile.connection.upgrade", Protocol, "_parsed", _parsed)
around("no 100", "hostile.connection.continue", Protocol, "on_headers_complete", _not_expected)
part("trailers without end", "hostile.connection.trailer", protocol, "MAX_SILENT_BYTES", 10**9)
part("64 levels are too deep", "hostile.connection.nesting", domain_contract, "_depth", lambda value: 65)
part("half of the head", "hostile.connection.head", protocol, "MAX_HEAD_BYTES", 32 * 1024)
part(
    "silence after garbage",
    "hostile.connection.broken",
    Protocol,
    "send_400_response",
    lambda s, _: s.transport.close(),
)
part("impatient", "hostile.connection.endless", reading, "MAX_DRAINED_BYTES", 2 * 1024 * 1024)
around("half a body is a body", "hostile.connection.gone", reading, "_read_on", _left)
responses("HEAD has no length", "hostile.connection.head_method", _no_length)


# --- files ---
class _AnyPath(str):
    """A path that equals every other path."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _one_allowed(response: Response) -> None:
    if response.status == 405:
        response.headers["allow"] = "GET"


def _no_single(byte_range: Any, wanted: bytes, size: int) -> Any:
    found = byte_range(wanted, size)
    return None if found is not None and found[0] == found[1] else found


def _ignore_if_range(response_for: Any, body: bytes, tag: bytes, headers: Any) -> Any:
    return response_for(body, tag, {name: value for name, value in headers.items() if name != b"if-range"})


def _swapped_watermark(clip: Any, self: Model, order: VideoOrder) -> Any:
    return clip(self, replace(order, watermark=not order.watermark))


_ANY_END = SimpleNamespace(
    status=lambda plan, now: "completed" if now >= plan.ended_at else "processing", has_ended=lifecycle.has_ended
)

part("one tag alone", "link.conditional.none_match", byte_range, "_names", lambda condition, tag: condition == tag)
around("If-Range unread", "link.conditional.if_range", files, "response_for", _ignore_if_range)
around("one byte is no range", "link.range.edges", byte_range, "byte_range", _no_single)
responses("Allow without HEAD", "link.method", _one_allowed)
around("any day and account", "link.paths", files, "result_path", lambda path, task: _AnyPath(path(task)))
part("Host unread", "link.origin", reading, "_origin_of", lambda host: None)
part("half a second more", "link.24h.exact", files, "LINK_LIFETIME", LINK_LIFETIME + 0.5)
part("files of failed tasks", "link.failed", files, "lifecycle", _ANY_END)
around("watermarks changed round", "link.files", Model, "clip", _swapped_watermark)


# --- the course of tasks ---
def _replanned(**changes: Any) -> Any:
    def plan(original: Any, *args: Any) -> Any:
        found = original(*args)
        return replace(found, **{name: change(found) for name, change in changes.items()})

    return plan


def _with_error(body: Any) -> None:
    if body["status"] == "failed":
        body.setdefault("error", {"code": "unknown_error", "message": "it failed", "type": "task_error"})


def _messages(document: Any) -> None:
    codes = document["components"]["schemas"]["TaskError"]["properties"]["code"]["x-failure-codes"]
    codes["service_error"]["message"] = "sorry"


def _already_completed(view: Any, one: Any, behaviour: Any) -> Any:
    found = view(one, behaviour)
    return {**found, "status": "completed"} if one.plan.ended_at <= one.plan.created_at else found


around("progress lags", "life.progress.even", lifecycle, "progress", lambda f, plan, now: max(f(plan, now) - 5, 0))
around("one curve for all", "life.progress.curve", lifecycle, "_height", lambda height, _, part: height(STEADY, part))
around(
    "long queues", "life.queue.share", Scenario, "plan", lambda plan, s, at, total, q, m: plan(s, at, total, q * 2, m)
)
around("fails at the end", "life.failure.midway", Scenario, "plan", _replanned(ended_at=lambda plan: plan.full_at))
edited_contract("another message", "life.failure.message", _messages)
responses("always an error", "life.failure.silent", task(_with_error))
around(
    "stuck for a day",
    "life.stuck",
    Scenario,
    "plan",
    _replanned(ended_at=lambda plan: min(plan.ended_at, plan.created_at + 86_400)),
)
around("completed in the first response", "life.instant", videos, "created_view", _already_completed)
replaced("the callback stays", "life.finished", callbacks.reschedule, lambda service, account, task: None)
replaced("never settled", "life.running", tasks.settle, lambda account, now: None)
part(
    "whole seconds so far",
    "life.estimated.fraction",
    domain_task,
    "estimated_time",
    lambda plan: int(plan.full_at - plan.created_at),
)

# --- money and limits ---
part("ends in a line", "money.order", DueQueue, "add", lambda self, due_at, id: self._line.append((due_at, id)))
part("unlimited is nothing", "money.unlimited", credits, "UNLIMITED_SHOWN", 0)
around("Retry-After too long", "rate.steps", token_bucket, "retry_after", lambda whole, wait: whole(wait) + 1)


def _clock_seconds(take: Any, service: Any, account: Any, exchange: Any, now: float, *, overridden: bool) -> None:
    try:
        take(service, account, exchange, now, overridden=overridden)
    except ApiError as error:
        seconds = int(int(error.headers[0][1]) * account.facts.clock.speed)
        raise ApiError(429, headers=admission.retry_after(service, seconds)) from None


def _empty_queue_alone(forget: Any, self: Any, key: str) -> None:
    account = self._accounts.get(key)
    if account is not None:
        change_facts(account, queue=())


around("a reset keeps the tasks", "money.reset", MemoryStorage, "forget", _empty_queue_alone)
wrapped("Retry-After of the account", "rate.speed", admission.take_token, _clock_seconds)


# --- how a mock is steered ---
def _lenient(from_header: Any, *args: Any) -> Any:
    try:
        return from_header(*args)
    except ApiError:
        return None


def _without_data(body: Any, *args: Any) -> Any:
    view = json.loads(body(*args))
    return msgspec.json.encode(view.get("data", view))


def _twice(arrive: Any, *args: Any) -> Any:
    arrive(*args)
    return arrive(*args)


def _unused(take: Any, queue: Any, *args: Any) -> Any:
    rule, _, unmatched = take(queue, *args)
    return rule, queue, unmatched


def _path_as_written(on_headers_complete: Any, self: Any) -> None:
    """The path keeps its query and its percent signs."""
    on_headers_complete(self)
    if self.url.startswith(b"/v1/"):
        self.scope["path"] = self.url.decode()


def _digest_of_bytes(service: Any, exchange: Any, request: Any) -> Any:
    return sha256(exchange.body).digest() if b"idempotency-key" in exchange.headers else None


def _never_overridden(take: Any, *args: Any, overridden: bool) -> None:
    take(*args, overridden=False)


around("question marks in paths", "route.query_string", Protocol, "on_headers_complete", _path_as_written)
part("tokens unread", "creation.choice.strength", Selector, "from_token", lambda self, prompt: None)
around("unknown scenarios pass", "creation.choice.unknown", Selector, "from_header", _lenient)
wrapped("keys are stronger", "creation.choice.keys", admission.take_token, _never_overridden)
replaced("429 says nothing", "creation.choice.refusals", admission.retry_after, lambda service, seconds: ())
around("queues never end", "creation.choice.polls", queue_rule, "take_matching", _unused)
wrapped("callbacks as ever", "creation.choice.shapes", callbacks.body, _without_data)
wrapped("each request counts twice", "creation.choice.clock", authentication.arrive, _twice)
replaced("bytes compared", "idempotency.same", videos._fingerprint, _digest_of_bytes)


def _release_at_once(record: Any, service: Any, account: Any, delivery: Any, attempt: Any) -> None:
    record(service, account, delivery, attempt)
    callbacks._release_held(service, account, delivery, attempt.ended_at)


async def _no_wait(exchange: Any) -> None:
    pass


wrapped("released too early", "callback.manner.held", callbacks.record_attempt, _release_at_once)
part("half as late", "callback.manner.again", callbacks, "LATE_DELAY", 30.0)
part("a slow duplicate", "callback.manner.duplicate", delivery, "DUPLICATE_AFTER", 5.0)
replaced("held for ever", "callback.manner.order", callbacks._release_held, lambda *_: None)
replaced("response first", "callback.manner.before", app._callback_wait, lambda service, scheduler: _no_wait)


# --- faults of the mock's own responses ---
async def _whole(scope: Any, receive: Any, send: Any, start: Any, body: bytes) -> None:
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def _at_once(receive: Any, seconds: float) -> bool:
    return True


part("unbroken", "hostile.harm.body", faults, "with_broken_body", lambda exchange, start, body: (start, body))
part("uncut", "hostile.harm.lost", faults, "_truncate", _whole)
around("polls without faults", "hostile.harm.polls", Scenario, "affects", lambda f, self, operation: bool(self.status))
part("no delay", "hostile.harm.slow", faults, "delay", _at_once)
