"""Faults for the rules that blind mutation asked for (docs/survivors.md)."""

import json
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from ipaddress import IPv6Network, ip_address
from types import SimpleNamespace
from typing import Any

import msgspec
from sora_mock.api.answers import respond
from sora_mock.service.emulator import Emulator

from sora_mock.api import endpoint as api
from sora_mock.api import faults as harm
from sora_mock.api import files
from sora_mock.callbacks import resolver, sender
from sora_mock.domain import callback_url, lifecycle, queue_rule, token_bucket
from sora_mock.domain import contract as contract_room
from sora_mock.domain import delivery as delivery_room
from sora_mock.domain import task as task_room
from sora_mock.domain.errors import ApiError
from sora_mock.domain.plan import STEADY
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.task import LINK_LIFETIME, Video
from sora_mock.runtime import protocol
from sora_mock.runtime.protocol import Protocol
from sora_mock.service import callbacks, emulator
from sora_mock.service.callbacks import Callbacks
from sora_mock.service.selection import Selector
from sora_mock.storage.memory import Due, Store
from tests.contract.faults import planting
from tests.contract.faults.answering import Answer, Change, Edit, task

replace = msgspec.structs.replace

BLIND: dict[str, tuple[str, planting.Plant]] = {}
"""By name: the rule that catches it, and how it is made; filled in below, beside what each is made of."""


def part(name: str, rule: str, owner: Any, attribute: str, value: Any) -> None:
    """A part has another value."""
    BLIND[name] = (rule, planting.part(owner, attribute, value))


def around(name: str, rule: str, owner: Any, attribute: str, wrapper: Callable[..., Any]) -> None:
    """A part is wrapped."""
    BLIND[name] = (rule, planting.around(owner, attribute, wrapper))


def answers(name: str, rule: str, change: Change) -> None:
    """Answers are changed on their way out."""
    BLIND[name] = (rule, planting.answers(change))


def contract(name: str, rule: str, edit: Edit) -> None:
    """The server enforces an edited contract."""
    BLIND[name] = (rule, planting.contract(edit))


# --- the addresses of callbacks ---
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
part("any letter in a host", "callback.address.form", callback_url, "_FORBIDDEN", re.compile(r"\s"))


def _plain_refusal(address: Any) -> str | None:
    return "callback_url is internal" if callback_url._internal(address) else None


def _one_space(header: bytes) -> str:
    scheme, _, key = header.decode("latin-1").partition(" ")
    return key if scheme.lower() == "bearer" else ""


part("internal without a kind", "callback.address.reason", callback_url, "address_rejection", _plain_refusal)
part("one space alone", "auth.scheme.spaces", emulator, "bearer_key", _one_space)


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
around("ports do not count", "callback.wire.route", delivery_room, "origin_of", _one_port)
part("1xx for ever", "callback.wire.answers", sender, "MAX_INFORMATIONAL", 10**6)
around("no reason", "callback.wire.nobody", sender.Sender, "post", _no_reason)
part("addresses as they are written", "callback.wire.spelling", resolver, "_literal", _plain_address)
part(
    "one folder of inboxes",
    "callback.wire.inbox",
    delivery_room,
    "unquote",
    lambda path: path.strip("/").partition("/")[0],
)
around("names fail without a word", "callback.wire.name", sender.Sender, "post", _no_reason)
part("addresses unchecked", "callback.wire.rebinding", sender, "address_rejection", lambda address: None)


# --- connections ---
def _closes(answer: Answer) -> None:
    answer.headers["connection"] = "close"


def _no_length(answer: Answer) -> None:
    if answer.method == "HEAD":
        answer.headers["content-length"] = "0"


class _NeverClosing:
    """A parser that has heard of no close."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser

    def __getattr__(self, name: str) -> Any:
        answers = {"should_keep_alive": lambda: True, "get_http_version": lambda: "1.1"}
        return answers.get(name) or getattr(self.parser, name)


def _keeps(answer: Any, self: Any, body: bytes) -> None:
    self.parser = _NeverClosing(self.parser)
    answer(self, body)


def _parsed(self: Any, data: bytes) -> bytes:
    self.parser.feed_data(data)
    return b""


def _first_part(on_body: Any, self: Any, body: bytes) -> None:
    if self._whole is not None or self.url.startswith(b"/__mock"):
        on_body(self, body)


def _not_expected(on_headers_complete: Any, self: Any) -> None:
    self.expect_100_continue = False
    on_headers_complete(self)


async def _left(read_on: Any, *args: Any) -> Any:
    try:
        return await read_on(*args)
    except api.Gone:
        return b"{}", False


answers("every connection ends", "hostile.connection.kept", _closes)
around("no connection ends", "hostile.connection.ended", Protocol, "_answer", _keeps)
around("later parts are lost", "hostile.connection.parts", Protocol, "on_body", _first_part)
part("upgrades as the parser says", "hostile.connection.upgrade", Protocol, "_parsed", _parsed)
around("no 100", "hostile.connection.continue", Protocol, "on_headers_complete", _not_expected)
part("trailers without end", "hostile.connection.trailer", protocol, "MOST_SILENT", 10**9)
part("64 levels are too deep", "hostile.connection.nesting", contract_room, "_depth", lambda value: 65)
part("half of the head", "hostile.connection.head", protocol, "LARGEST_HEAD", 32 * 1024)
part(
    "silence after garbage",
    "hostile.connection.broken",
    Protocol,
    "send_400_response",
    lambda s, _: s.transport.close(),
)
part("impatient", "hostile.connection.endless", api, "MOST_DRAINED", 2 * 1024 * 1024)
around("half a body is a body", "hostile.connection.gone", api, "_read_on", _left)
answers("HEAD has no length", "hostile.connection.head_method", _no_length)


# --- files ---
class _AnyPath(str):
    """A path that is every path."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _one_allowed(answer: Answer) -> None:
    if answer.status == 405:
        answer.headers["allow"] = "GET"


def _no_single(byte_range: Any, wanted: bytes, size: int) -> Any:
    found = byte_range(wanted, size)
    return None if found is not None and found[0] == found[1] else found


def _condition_unread(part_of: Any, body: bytes, tag: bytes, headers: Any) -> Any:
    return part_of(body, tag, {name: value for name, value in headers.items() if name != b"if-range"})


def _mirrored(video: Video) -> str:
    shape = "portrait" if video.aspect_ratio == "9:16" else "landscape"
    return f"{shape}-{video.duration}s{'' if video.watermark else '-watermark'}.mp4"


_ANY_END = SimpleNamespace(
    status=lambda plan, now: "completed" if now >= plan.ended_at else "processing", has_ended=lifecycle.has_ended
)

part("one tag alone", "link.conditional.none_match", files, "_names", lambda condition, tag: condition == tag)
around("If-Range unread", "link.conditional.if_range", files, "part_of", _condition_unread)
around("one byte is no range", "link.range.edges", files, "byte_range", _no_single)
answers("Allow without HEAD", "link.method", _one_allowed)
around("any day and account", "link.paths", emulator, "result_path", lambda path, task: _AnyPath(path(task)))
part("Host unread", "link.origin", api, "_origin_of", lambda host: None)
part("half a second more", "link.24h.exact", emulator, "LINK_LIFETIME", LINK_LIFETIME + 0.5)
part("files of failed tasks", "link.failed", emulator, "lifecycle", _ANY_END)
part("watermarks changed round", "link.files", Video, "file_name", property(_mirrored))


# --- the course of tasks ---
def _replanned(**changes: Any) -> Any:
    def plan(original: Any, *args: Any) -> Any:
        found = original(*args)
        return replace(found, **{name: change(found) for name, change in changes.items()})

    return plan


def _told(body: Any) -> None:
    if body["status"] == "failed":
        body.setdefault("error", {"code": "unknown_error", "message": "it failed", "type": "task_error"})


def _messages(document: Any) -> None:
    codes = document["components"]["schemas"]["TaskError"]["properties"]["code"]["x-failure-codes"]
    codes["service_error"]["message"] = "sorry"


def _ended_already(view: Any, one: Any, behaviour: Any) -> Any:
    found = view(one, behaviour)
    return {**found, "status": "completed"} if one.plan.ended_at <= one.plan.created_at else found


around("progress lags", "life.progress.even", lifecycle, "progress", lambda f, plan, now: max(f(plan, now) - 5, 0))
around("one curve for all", "life.progress.curve", lifecycle, "_height", lambda height, _, share: height(STEADY, share))
around(
    "long queues", "life.queue.share", Scenario, "plan", lambda plan, s, at, total, q, m: plan(s, at, total, q * 2, m)
)
around("fails at the end", "life.failure.midway", Scenario, "plan", _replanned(ended_at=lambda plan: plan.full_at))
contract("another message", "life.failure.message", _messages)
answers("always an error", "life.failure.silent", task(_told))
around(
    "stuck for a day",
    "life.stuck",
    Scenario,
    "plan",
    _replanned(ended_at=lambda plan: min(plan.ended_at, plan.created_at + 86_400)),
)
around("completed in the reply", "life.instant", emulator, "created_view", _ended_already)
part("the callback stays", "life.finished", Callbacks, "moved", lambda self, account, task: None)
part("never settled", "life.running", Emulator, "settle", lambda self, account, now: None)
part(
    "whole seconds so far",
    "life.estimated.fraction",
    task_room,
    "estimated_time",
    lambda plan: int(plan.full_at - plan.created_at),
)

# --- money and limits ---
part("ends in a line", "money.order", Due, "add", lambda self, moment, task_id: self._line.append((moment, task_id)))
part("unlimited is nothing", "money.unlimited", emulator, "UNLIMITED_SHOWN", 0)
around("Retry-After too long", "rate.steps", token_bucket, "retry_after", lambda whole, wait: whole(wait) + 1)


def _clock_seconds(take: Any, self: Any, call: Any, account: Any, now: float, *, overridden: bool) -> None:
    try:
        take(self, call, account, now, overridden=overridden)
    except ApiError as error:
        raise ApiError(429, headers=self._retry_after(int(int(error.headers[0][1]) * account.clock.speed))) from None


def _nothing(forget: Any, self: Any, key: str) -> None:
    account = self.accounts.get(key)
    if account is not None:
        account.queue = ()


around("a reset keeps the tasks", "money.reset", Store, "forget", _nothing)
around("Retry-After of the account", "rate.speed", Emulator, "_take_token", _clock_seconds)


# --- what a mock is told ---
def _lenient(by_header: Any, *args: Any) -> Any:
    try:
        return by_header(*args)
    except ApiError:
        return None


def _unwrapped(callback_body: Any, *args: Any) -> Any:
    body = json.loads(callback_body(*args))
    return msgspec.json.encode(body.get("data", body))


def _twice(arrived: Any, *args: Any) -> Any:
    arrived(*args)
    return arrived(*args)


def _untouched(take: Any, queue: Any, *args: Any) -> Any:
    rule, _, passed = take(queue, *args)
    return rule, queue, passed


def _never_overridden(take: Any, *args: Any, overridden: bool) -> None:
    take(*args, overridden=False)


part("question marks in paths", "route.query_string", protocol, "_PLAIN_PATH", re.compile(rb"/v1/[^ ]*"))
part("tokens unread", "creation.choice.strength", Selector, "by_token", lambda self, prompt: None)
around("unknown scenarios pass", "creation.choice.unknown", Selector, "by_header", _lenient)
around("keys are stronger", "creation.choice.keys", Emulator, "_take_token", _never_overridden)
part("429 says nothing", "creation.choice.refusals", Emulator, "_retry_after", lambda self, seconds: ())
around("queues never end", "creation.choice.polls", queue_rule, "take_matching", _untouched)
around("callbacks as ever", "creation.choice.shapes", Emulator, "callback_body", _unwrapped)
around("each request counts twice", "creation.choice.clock", Emulator, "_arrived", _twice)
part("bytes compared", "idempotency.same", Emulator, "_fingerprint", lambda s, call, _: sha256(call.body).digest())


def _let_go_at_once(attempted: Any, self: Any, account: Any, delivery: Any, attempt: Any) -> None:
    attempted(self, account, delivery, attempt)
    self._let_go(account, delivery, attempt.ended_at)


around("let go too early", "callback.manner.held", Callbacks, "attempted", _let_go_at_once)
part("not that late", "callback.manner.again", callbacks, "LATE_DELAY", 30.0)
part("a slow duplicate", "callback.manner.duplicate", delivery_room, "DUPLICATE_AFTER", 5.0)
part("held for ever", "callback.manner.order", Callbacks, "_let_go", lambda *_: None)
around(
    "reply first",
    "callback.manner.before",
    Emulator,
    "create",
    lambda create, *args: replace(create(*args), after=None),
)


# --- harm ---
def _whole(scope: Any, receive: Any, send: Any, answer: Any, call: Any) -> Awaitable[None]:
    return respond(send, answer, call)


async def _at_once(receive: Any, seconds: float) -> bool:
    return True


part("unbroken", "hostile.harm.body", harm, "broken", lambda answer: answer)
part("uncut", "hostile.harm.lost", harm, "_truncate", _whole)
around("polls unharmed", "hostile.harm.polls", Scenario, "affects", lambda f, self, operation: bool(self.status))
part("no delay", "hostile.harm.slow", harm, "hold", _at_once)
