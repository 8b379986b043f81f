"""Further faults by area, each a way to spoil the mock before it starts, with the rule that has to catch it."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from math import inf
from typing import Any

import msgspec
import pytest

from sora_mock import app, callbacks, calls, controls, data, emulator, protocol
from sora_mock.delivery import worker
from sora_mock.domain import callback_url, lifecycle
from sora_mock.domain import contract as contract_room
from sora_mock.domain import delivery as delivery_room
from sora_mock.domain import task as task_room
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.task import LINK_LIFETIME, Video, result_path, task_id_of
from sora_mock.domain.token_bucket import TokenBucket
from sora_mock.emulator import Emulator
from sora_mock.store import Store
from sora_mock.web import api, files
from tests.contract.faults import ANSWERS, PARTS, Answer, Change, Faulty, creation, status, task

Plant = Callable[[pytest.MonkeyPatch], None]
Edit = Callable[[Any], Any]


@dataclass(frozen=True)
class Fault:
    """One fault: `rule` is the id of the rule that has to catch it, `plant` spoils what the next server is made of."""

    name: str
    rule: str
    plant: Plant

    @property
    def area(self) -> str:
        """The first word of its rule."""
        return self.rule.partition(".")[0]


FAULTS: list[Fault] = []
"""All of them, those of faults.py first."""

GAPS: list[Fault] = []
"""Faults that no rule catches yet (docs/strength.md): `rule` is one that is near. Not in the share killed."""


def fault(name: str, rule: str, plant: Plant) -> None:
    FAULTS.append(Fault(name, rule, plant))


def answers(name: str, rule: str, change: Change) -> None:
    """Answers are changed on their way out."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("sora_mock.server.create_app", lambda settings: Faulty(app.create_app(settings), change))

    fault(name, rule, plant)


def part(name: str, rule: str, owner: Any, attribute: str, value: Any) -> None:
    """A part has another value."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        if isinstance(owner, str):
            patch.setattr(f"{owner}.{attribute}", value)
        else:
            patch.setattr(owner, attribute, value)

    fault(name, rule, plant)


def around(name: str, rule: str, owner: Any, attribute: str, wrapper: Callable[..., Any]) -> None:
    """A part is wrapped: `wrapper` gets the original first."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, attribute)
        patch.setattr(owner, attribute, lambda *args, **more: wrapper(original, *args, **more))

    fault(name, rule, plant)


def contract(name: str, rule: str, edit: Edit) -> None:
    """The server enforces an edited contract; the suite goes on with the true one."""

    def spoiled(document: Any) -> Contract:
        document = copy.deepcopy(document)
        edit(document)
        return Contract(document)

    part(name, rule, "sora_mock.app", "Contract", spoiled)


def field(name: str, rule: str, of: str, **schema: Any) -> None:
    """A field of the creation has another schema."""

    def edit(document: Any) -> None:
        document["components"]["schemas"]["VideoGenerationRequest"]["properties"][of].update(schema)

    contract(name, rule, edit)


def key_schema(name: str, rule: str, **schema: Any) -> None:
    """The Idempotency-Key has another schema."""
    path = "/v1/videos/generations"
    contract(name, rule, lambda d: d["paths"][path]["post"]["parameters"][0]["schema"].update(schema))


def order(name: str, rule: str, edit: Edit) -> None:
    """An order is changed before it is checked: what is wrong is put right instead of refused."""

    def read(original: Any, self: Any, content_type: Any, body: bytes) -> Any:
        try:
            request = json.loads(body)
            if isinstance(request, dict):
                edit(request)
                body = json.dumps(request).encode()
        except ValueError:
            pass
        return original(self, content_type, body)

    around(name, rule, Contract, "read_creation", read)


for _name, (_rule, _change) in ANSWERS.items():
    answers(_name, _rule, _change)
for _name, (_rule, _owner, _attribute, _value) in PARTS.items():
    part(_name, _rule, _owner, _attribute, _value)


def error_of(found: int, path: str, **values: Any) -> Change:
    """Other values in the envelope of one status on one path."""

    def change(answer: Answer) -> None:
        if answer.status == found and answer.path.startswith(path):
            body = answer.json
            body["error"].update(values)
            answer.json = body

    return change


def credits_body(edit: Edit) -> Change:
    """Another answer of the balance."""

    def change(answer: Answer) -> None:
        if answer.path == "/v1/credits" and answer.status == 200:
            body = answer.json
            edit(body)
            answer.json = body

    return change


CREATE, CREDITS, TASKS, FILES = "/v1/videos/generations", "/v1/credits", "/v1/tasks/", "/files/"

# --- authentication ---
part("every key is good", "auth.query.wrong", Emulator, "accepts", lambda self, key: True)
around("no key is a key", "auth.credits.none", emulator, "bearer_key", lambda key, header: key(header) or "sk-nobody")


def _strict_scheme(key: Any, header: bytes) -> Any:
    return key(header) if header.startswith(b"Bearer ") else ""


def _id_first(query: Any, self: Any, call: Any, task_id: str) -> Any:
    self.contract.check_task_id(task_id)
    return query(self, call, task_id)


def _body_first(create: Any, self: Any, call: Any) -> Any:
    self.contract.read_creation(None, call.body or b"")
    return create(self, call)


def _money_first(create: Any, self: Any, call: Any) -> Any:
    account = self.store.find(emulator.bearer_key(call.headers.get(b"authorization", b"")))
    if account is not None and account.ledger.remaining == 0:
        raise ApiError(402)
    return create(self, call)


around("scheme in capitals", "auth.scheme.case", emulator, "bearer_key", _strict_scheme)
around("id before the key", "auth.before.task_id", Emulator, "query", _id_first)
around("fields before the key", "auth.before.fields", Emulator, "create", _body_first)
part("expired keys work", "auth.expired", emulator, "EXPIRED", "sk-mock-never")
part("access is not asked", "auth.no_access", emulator, "NO_ACCESS", "sk-mock-never")
answers("401 type", "auth.create.wrong", error_of(401, CREATE, type="invalid_request_error"))
answers("401 message", "auth.credits.wrong", error_of(401, CREDITS, message="Invalid or expired token"))

# --- fields ---
field("prompt of 5001", "create.prompt.5001", "prompt", maxLength=5001)
field("prompt of 4999", "create.prompt.5000", "prompt", maxLength=4999)
field("two pictures", "create.image_urls.2", "image_urls", maxItems=2)
field("pictures unread", "create.image_urls.no_uri", "image_urls", items={"type": "string"})
field("any model", "create.model.unknown", "model", enum=["sora-2-beta-max", "sora-9"])
field("no portrait", "create.aspect_ratio.portrait", "aspect_ratio", enum=["16:9"])
field("15 by default", "create.duration.default", "duration", default=15)
field("no 15", "create.duration.15", "duration", enum=[10])
field("watermark of any type", "create.remove_watermark.text", "remove_watermark", type=["boolean", "string"])
contract(
    "unknown fields refused",
    "create.unknown_fields",
    lambda d: d["components"]["schemas"]["VideoGenerationRequest"].update(additionalProperties=False),
)


def _unicode_bytes(read: Any, self: Any, content_type: Any, body: bytes) -> Any:
    request = read(self, content_type, body)
    if len(request["prompt"].encode()) > 5000:
        raise ApiError(400, param="prompt")
    return request


def _first_name(value: Any) -> Any:
    return json.loads(value, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def _rounded(request: Any) -> None:
    if isinstance(request.get("duration"), int):
        request["duration"] = 10 if request["duration"] < 13 else 15


def _cast(request: Any) -> None:
    if isinstance(request.get("duration"), str):
        request["duration"] = int(request["duration"])


def _ratio_dropped(request: Any) -> None:
    if request.get("aspect_ratio") not in (None, "16:9", "9:16"):
        del request["aspect_ratio"]


def _nulls_dropped(request: Any) -> None:
    for name in [name for name, value in request.items() if value is None]:
        del request[name]


around("prompt in bytes", "create.prompt.unicode", Contract, "read_creation", _unicode_bytes)
order("duration rounded", "create.duration.12", _rounded)
order("duration from a text", "create.duration.text", _cast)
order("ratio dropped", "create.aspect_ratio.other", _ratio_dropped)
order("null is nothing", "create.duration.type_null", _nulls_dropped)
order("prompt optional", "create.prompt.missing", lambda request: request.setdefault("prompt", ""))
order("model optional", "create.model.missing", lambda request: request.setdefault("model", "sora-2-beta-max"))
order("model in any case", "create.model.case", lambda r: r.update(model=str(r.get("model")).lower()))
order("model stripped", "create.model.space", lambda r: r.update(model=str(r.get("model")).strip()))
part("any content type", "create.content_type", contract_room, "_is_json", lambda content_type: True)
around(
    "first name counts", "create.duplicate_names", contract_room, "decode", lambda decode, kind, body: _first_name(body)
)

# --- envelope ---


def _no_slash(endpoint: Any, self: Any, path: str) -> Any:
    return endpoint(self, path.rstrip("/"))


def _strict_id(self: Any, task_id: str) -> None:
    if not re.fullmatch(r"task-unified-\d{10}-[A-Za-z0-9]{8}", task_id):
        raise ApiError(400)


answers("unknown route", "route.unknown", error_of(404, "/v1/nonsense", message="Not found"))
answers("route's code", "route.unknown.post", error_of(404, "/v1/video/", code="not_found"))
answers("405 as 404", "route.method", status(405, 404))
answers("500 of all", "envelope.500", error_of(500, TASKS, message="Internal server error"))
answers("not successful", "credits.shape", credits_body(lambda body: body.update(success=False)))
answers("no user in the balance", "credits.shape", credits_body(lambda body: body["data"].pop("user")))
around("slash forgiven", "query.slash", api.Service, "endpoint", _no_slash)
part("ids unchecked", "query.id.prefix", Contract, "check_task_id", lambda self, task_id: None)
part("ids checked twice", "query.id.short", Contract, "check_task_id", _strict_id)

# --- creation ---


def _constant_id(body: Any) -> None:
    body["id"] = f"task-unified-{body['created']}-00000000"


def _first_created() -> Edit:
    seen: list[int] = []

    def edit(body: Any) -> None:
        seen.append(body["created"])
        body["created"] = seen[0]

    return edit


def _settling(query: Any, self: Any, call: Any, task_id: str) -> Any:
    answer = query(self, call, task_id)
    if call.at < self.store.tasks[task_id].plan.created_at + 1:
        raise ApiError(404)
    return answer


def _scenario_named(answer: Answer) -> None:
    if "x-mock-scenario" in answer.headers:
        answer.headers["x-mock-scenario"] = "other"


answers("an image", "creation.fixed", creation(lambda body: body.update(type="image")))
answers("another group", "creation.usage", creation(lambda body: body["usage"].update(user_group="gold")))
answers("created in ms", "creation.created.now", creation(lambda body: body.update(created=body["created"] * 1000)))
answers("created stands", "creation.created.clock", creation(_first_created()))
answers("one id", "creation.ids.differ", creation(_constant_id))
answers("always 10", "creation.video_duration", creation(lambda body: body["task_info"].update(video_duration=10)))
answers("estimate off", "creation.estimated_time", creation(lambda body: body["task_info"].update(estimated_time=19)))
around("not there yet", "creation.queried", Emulator, "query", _settling)
answers("scenario misnamed", "creation.scenario_header", _scenario_named)

# --- life ---


def _counting(key: str) -> Edit:
    seen: list[Any] = []

    def edit(body: Any) -> None:
        seen.append(body)
        if key == "results" and "results" in body:
            body["results"] = [f"{body['results'][0]}?signature={len(seen)}"]
        elif key == "progress" and body["status"] == "processing":
            body["progress"] = min(99, body["progress"] + len(seen))

    return edit


def _when(condition: Callable[[Any], bool], **values: Any) -> Edit:
    return lambda body: body.update(values) if condition(body) else None


def _fails_with(code: str) -> Callable[[Any], bool]:
    return lambda body: bool(body.get("error") and body["error"]["code"] == code)


def _forgotten(query: Any, self: Any, call: Any, task_id: str) -> Any:
    answer = query(self, call, task_id)
    if call.at > self.store.tasks[task_id].plan.ended_at + 86_400:
        raise ApiError(404)
    return answer


def _late_start(plan: Any, now: float) -> str:
    return str(plan.outcome if now >= plan.ended_at else "processing" if now >= plan.processing_at + 0.5 else "pending")


def _keeps_progress(progress: Any, plan: Any, now: float) -> Any:
    return 100 if now >= plan.ended_at else progress(plan, now)


part("starts late", "life.moments", lifecycle, "status", _late_start)
around("failed at 100", "life.failed.service_error", lifecycle, "progress", _keeps_progress)
answers("failed with results", "life.failed.quota_exceeded", task(_when(lambda b: b["status"] == "failed", results=[])))
answers("links are signed anew", "life.results.stay", task(_counting("results")))
around("forgotten after a day", "life.final", Emulator, "query", _forgotten)
answers("reading is work", "life.reading", task(_counting("progress")))
answers(
    "first poll", "life.first_poll", task(_when(lambda b: b["status"] == "pending", status="processing", progress=1))
)
answers("error of no failure", "life.no_error", task(_when(lambda b: b["status"] == "completed", error={"code": "ok"})))
answers(
    "moderation's message",
    "life.moderation",
    task(
        _when(
            _fails_with("content_policy_violation"),
            error={"code": "content_policy_violation", "message": "blocked", "type": "task_error"},
        )
    ),
)
answers("a fifth state", "life.cancelled", task(_when(_fails_with("request_cancelled"), status="cancelled")))
answers(
    "another code",
    "life.failed.generation_timeout",
    task(
        _when(
            _fails_with("generation_timeout"),
            error={"code": "timeout", "message": "timeout", "type": "task_error"},
        )
    ),
)
answers("101 percent", "life.shape", task(_when(lambda b: b["status"] == "completed", progress=101)))
answers("another word", "life.followed", task(_when(lambda b: b["status"] == "completed", status="succeeded")))

# --- money ---


def _portrait_dearer(view: Any, of: Any, behaviour: Any) -> Any:
    body = view(of, behaviour)
    if of.video.aspect_ratio == "9:16":
        body["usage"]["credits_reserved"] += 1
    return body


def _spent_at_once(ledger: Ledger, units: int) -> Ledger:
    return Ledger(None if ledger.remaining is None else ledger.remaining - units, 0, ledger.used + units)


def _charged_twice(charge: Any, ledger: Ledger, units: int) -> Any:
    ledger = charge(ledger, units)
    return msgspec.structs.replace(ledger, used=ledger.used + units)


def _returned_twice(release: Any, ledger: Ledger, units: int) -> Any:
    ledger = release(ledger, units)
    return msgspec.structs.replace(ledger, remaining=(ledger.remaining or 0) + units)


def _refusal_costs(read: Any, self: Any, call: Any, account: Any) -> Any:
    try:
        return read(self, call, account)
    except ApiError:
        account.ledger = account.ledger.reserve(100).charge(100)
        raise


def _moderation_costs(refusal: Any, self: Any, scenario: Any, headers: Any = ()) -> Any:
    for account in self.store.by_name.values():
        account.ledger = account.ledger.reserve(100)
    return refusal(self, scenario, headers)


def _cancelled_costs(settle: Any, self: Any, account: Any, now: float) -> None:
    before = account.ledger
    settle(self, account, now)
    if before.reserved and not account.ledger.reserved and account.ledger.used == before.used:
        account.ledger = before.charge(before.reserved)


def _half_returned(release: Any, ledger: Ledger, units: int) -> Any:
    return release(ledger, units // 2)


def _spends_reserved(ledger: Ledger, price: int) -> bool:
    return ledger.remaining is None or ledger.remaining + ledger.reserved >= price


def _shows_reserved(body: Any) -> None:
    body["data"]["token"]["remaining_credits"] = 1000 - body["data"]["token"]["used_credits"]


around("portrait is dearer", "money.price.options", emulator, "created_view", _portrait_dearer)
part("spent at creation", "money.completed.10", Ledger, "reserve", _spent_at_once)
around("charged twice", "money.completed.15", Ledger, "charge", _charged_twice)
around("returned twice", "money.sum", Ledger, "release", _returned_twice)
around("half returned", "money.moderated", Ledger, "release", _half_returned)
around("refusals cost", "money.refusals", Emulator, "_read", _refusal_costs)
around("moderation costs", "money.refusals.moderation", Emulator, "_refusal_of", _moderation_costs)
around("cancelling costs", "money.cancelled", Emulator, "settle", _cancelled_costs)
part("never the last", "money.402.exact_10", Ledger, "affords", lambda self, price: self.remaining > price)
part("one price to afford", "money.402.below_15", Ledger, "affords", lambda self, price: self.remaining >= 57600)
part("spends what is reserved", "money.402.reserved", Ledger, "affords", _spends_reserved)
around("balance before fields", "money.402.order", Emulator, "create", _money_first)
answers("402 of the query", "money.query.402", error_of(402, TASKS, code="insufficient_quota"))
answers("balance with the reserved", "money.price.10", credits_body(_shows_reserved))
around(
    "amounts drift", "money.decimals", emulator, "to_credits", lambda amount, units: float(amount(units)) * 1.0000001
)
part("poor keys spend", "money.402.key", emulator, "NO_CREDIT", "sk-mock-never")

# --- rate ---


def _spares(path: str) -> Callable[..., Any]:
    def take(original: Any, self: Any, call: Any, account: Any, now: float, **more: Any) -> None:
        if call.path != path:
            original(self, call, account, now, **more)

    return take


def _one_bucket() -> Callable[..., Any]:
    seen: list[Any] = []

    def take(original: Any, self: Any, call: Any, account: Any, now: float, **more: Any) -> None:
        if account.bucket is not None:
            seen.append(account)
        elif seen:
            seen[-1].bucket, wait = seen[-1].bucket.take(now)
            if wait:
                raise self._too_many(1)
        original(self, call, account, now, **more)

    return take


def _overflows(take: Any, bucket: Any, now: float) -> Any:
    seconds_each = bucket.rate.period / bucket.rate.limit
    tokens = bucket.tokens + (now - bucket.at) / seconds_each
    if tokens < 1 - 1e-6:
        return take(bucket, now)
    return TokenBucket(bucket.rate, tokens - 1, now), 0.0


def _refusals_count(take: Any, bucket: Any, now: float) -> Any:
    after, wait = take(bucket, now)
    return (msgspec.structs.replace(after, tokens=after.tokens - 1) if wait else after), wait


def _body_before_rate(take: Any, self: Any, call: Any, account: Any, now: float, **more: Any) -> None:
    if call.path == CREATE:
        self.contract.read_creation(None, call.body or b"")
    take(self, call, account, now, **more)


around("creations unlimited", "rate.create", Emulator, "_take_token", _spares(CREATE))
around("balance unlimited", "rate.shared", Emulator, "_take_token", _spares(CREDITS))
around("one bucket for all", "rate.apart", Emulator, "_take_token", _one_bucket())
around("body before the limit", "rate.order", Emulator, "_take_token", _body_before_rate)
around("bucket overflows", "rate.full", TokenBucket, "take", _overflows)
around("refusals take tokens", "rate.refill", TokenBucket, "take", _refusals_count)
answers("429 of the query", "rate.query", error_of(429, TASKS, type="rate_limit_error"))
part("limited keys pass", "rate.key", emulator, "RATE_LIMITED", "sk-mock-never")

# --- ownership ---


def _open_when_ended(query: Any, self: Any, call: Any, task_id: str) -> Any:
    try:
        return query(self, call, task_id)
    except ApiError as error:
        found = self.store.tasks.get(task_id)
        if error.status == 403 and found is not None:
            owner = self.store.by_name[found.account]
            if not lifecycle.has_ended(found.plan, owner.clock.at(self.real_now())):
                raise
            return calls.Answer(200, b"{}")
        raise


def _newest_alone(query: Any, self: Any, call: Any, task_id: str) -> Any:
    answer = query(self, call, task_id)
    if task_id != list(self.store.tasks)[-1]:
        raise ApiError(403)
    return answer


def _all_pay(create: Any, self: Any, call: Any) -> Any:
    answer = create(self, call)
    for account in self.store.by_name.values():
        if account is not call.account:
            account.ledger = account.ledger.reserve(100)
    return answer


around("ended tasks are public", "foreign.query", Emulator, "query", _open_when_ended)
around("the newest alone", "foreign.own", Emulator, "query", _newest_alone)
around("all accounts pay", "foreign.money", Emulator, "create", _all_pay)

# --- links ---


class _AnyPath(str):
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _video(self: Any, call: Any) -> tuple[bytes, bytes] | None:
    found = self.store.tasks.get(task_id_of(call.path[-36:-4]) or "")
    if found is None or result_path(found) != call.path:
        return None
    return data.video_bytes(found.video.file_name), b'"tag"'


def _instead_of(code: str) -> Callable[..., Any]:
    def download(original: Any, self: Any, call: Any, file_name: str) -> Any:
        try:
            return original(self, call, file_name)
        except ApiError as error:
            found = _video(self, call) if error.code == code else None
            if found is None:
                raise
            return found

    return download


def _lives_from_creation(original: Any, self: Any, call: Any, file_name: str) -> Any:
    found = original(self, call, file_name)
    if call.at >= self.store.tasks[task_id_of(file_name)].plan.created_at + LINK_LIFETIME:
        raise ApiError(404, code="file_expired")
    return found


def _hour_of_grace(original: Any, self: Any, call: Any, file_name: str) -> Any:
    try:
        return original(self, call, file_name)
    except ApiError as error:
        found = _video(self, call) if error.code == "file_expired" else None
        if found is None or call.at >= self.store.tasks[task_id_of(file_name)].plan.ended_at + 90_000:
            raise
        return found


def _with_key(original: Any, self: Any, call: Any, file_name: str) -> Any:
    if b"authorization" not in call.headers:
        raise ApiError(401)
    return original(self, call, file_name)


def _suffix_first(byte_range: Any, wanted: bytes, size: int) -> Any:
    return byte_range(wanted.replace(b"=-", b"=0-"), size)


def _less(byte_range: Any, wanted: bytes, size: int) -> Any:
    found = byte_range(wanted, size)
    return found and (found[0], found[1] - 1)


def _starts_at_zero(byte_range: Any, wanted: bytes, size: int) -> Any:
    found = byte_range(wanted, size)
    return found and ((0, found[1]) if wanted.endswith(b"-") else found)


def _whole(byte_range: Any, wanted: bytes, size: int) -> Any:
    try:
        return byte_range(wanted, size)
    except ApiError:
        return None


def _strict_end(byte_range: Any, wanted: bytes, size: int) -> Any:
    if re.search(rb"-\d{6,}$", wanted):
        raise ApiError(416)
    return byte_range(wanted, size)


def _strict_range(byte_range: Any, wanted: bytes, size: int) -> Any:
    found = byte_range(wanted, size)
    if wanted and found is None:
        raise ApiError(416)
    return found


def _no_head(answer: Answer) -> None:
    if answer.method == "HEAD" and answer.status == 200:
        answer.status = 405


def _result(edit: Callable[[str], str]) -> Change:
    return task(lambda body: "results" in body and body.update(results=[edit(body["results"][0])]))


part("path unchecked", "link.unknown", emulator, "result_path", lambda of: _AnyPath(result_path(of)))
around("file early", "link.before", Emulator, "download", _instead_of("file_not_found"))
around("life from creation", "link.24h", Emulator, "download", _lives_from_creation)
around("an hour of grace", "link.24h.completion", Emulator, "download", _hour_of_grace)
around("files want a key", "link.video", Emulator, "download", _with_key)
around("suffix from the start", "link.range.suffix", files, "byte_range", _suffix_first)
around("end left out", "link.range.middle", files, "byte_range", _less)
around("open from zero", "link.range.open", files, "byte_range", _starts_at_zero)
around("whole beyond", "link.range.416", files, "byte_range", _whole)
around("end beyond refused", "link.range.beyond", files, "byte_range", _strict_end)
around("unreadable refused", "link.range.ignored", files, "byte_range", _strict_range)
answers("no HEAD", "link.head", _no_head)
answers("day with hyphens", "link.form", _result(lambda link: re.sub(r"(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", link)))
answers("one link", "link.differ", _result(lambda link: f"http://x/{link.rpartition('/')[2][:0]}one.mp4"))
part("one video", "link.order", Video, "file_name", property(lambda self: "landscape-10s.mp4"))

# --- callbacks ---


def _no_network(*networks: str) -> Any:
    rows = callback_url._INTERNAL_V4
    return tuple(row for row in rows if str(row[0]) not in networks)


def _other_network(old: str, new: str) -> Any:
    return (*_no_network(old), (IPv4Network(new), "private"))


def _network(name: str, rule: str, rows: Any) -> None:
    part(name, f"callback.url.{rule}", callback_url, "_INTERNAL_V4", rows)


def _takes(pattern: str) -> Callable[..., Any]:
    return lambda refusal, url: None if re.match(pattern, url) else refusal(url)


def _counts(condition: Callable[[int], bool]) -> Any:
    return property(lambda attempt: attempt.status is not None and condition(attempt.status))


def _said(edit: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def body(original: Any, self: Any, delivery: Any, now: float) -> Any:
        said = json.loads(original(self, delivery, now))
        edit(said, delivery)
        return msgspec.json.encode(said)

    return body


def _unsettled(settle: Any, self: Any, account: Any, now: float) -> None:
    if not account.deliveries:
        settle(self, account, now)


def _first_alone(expect: Any, self: Any, account: Any, of: Any) -> None:
    if not account.deliveries:
        expect(self, account, of)


def _of_all(expect: Any, self: Any, account: Any, of: Any) -> None:
    expect(self, account, msgspec.structs.replace(of, callback_url=of.callback_url or "https://inbox.sora-mock.test/x"))


def _to_one(destination: Any, *args: Any) -> Any:
    found = destination(*args)
    return found if found.inbox is None else msgspec.structs.replace(found, inbox="hook")


def _moment(moment: Callable[[Any], float]) -> Callable[..., Any]:
    return lambda original, of, manner: moment(of)


def _again(plant: pytest.MonkeyPatch) -> None:
    def next_at(delivery: Any) -> Any:
        found = original(delivery)
        if found is None and len(delivery.attempts) == 1 and delivery.attempts[0].succeeded:
            return float(delivery.attempts[0].ended_at) + 86_400
        return found

    original = delivery_room.next_at
    for room in (callbacks, worker, controls):
        plant.setattr(room, "next_at", next_at)


around("half a second late", "callback.moment", callbacks, "_first_at", _moment(lambda of: of.plan.ended_at + 0.5))
around(
    "failures unreported",
    "callback.body.failed",
    callbacks,
    "_first_at",
    _moment(lambda of: of.plan.ended_at if of.plan.failure is None else inf),
)
around(
    "an event in the body",
    "callback.body.completed",
    Emulator,
    "callback_body",
    _said(lambda said, delivery: said.update(event="done")),
)
around(
    "attempts are told",
    "callback.same_body",
    Emulator,
    "callback_body",
    _said(lambda said, delivery: said.update(attempt=len(delivery.attempts))),
)
part("cancelled unreported", "callback.cancelled", callbacks.Callbacks, "moved", lambda self, account, of: None)
around("billing afterwards", "callback.billing", Emulator, "settle", _unsettled)
around("first task alone", "callback.each", callbacks.Callbacks, "expect", _first_alone)
around("reported unasked", "callback.none", callbacks.Callbacks, "expect", _of_all)
around("path dropped", "callback.method", callbacks, "destination", _to_one)
fault("delivered again", "callback.once", _again)
part("2 s are too long", "callback.timeout", worker, "TIMEOUT", 2.0)
part("200 to 206", "callback.status.299", delivery_room.Attempt, "succeeded", _counts(lambda s: 200 <= s <= 206))
part("304 counts", "callback.status.304", delivery_room.Attempt, "succeeded", _counts(lambda s: s < 300 or s == 304))
part("gone is over", "callback.status.410", delivery_room.Attempt, "succeeded", _counts(lambda s: s < 300 or s == 410))
part(
    "4xx is over",
    "callback.status.404",
    delivery_room.Attempt,
    "succeeded",
    _counts(lambda s: s < 300 or s // 100 == 4),
)
part("one retry more", "callback.schedule", delivery_room, "RETRY_DELAYS", (1.0, 2.0, 4.0, 8.0))
part("no third retry", "callback.recovers.3", delivery_room, "RETRY_DELAYS", (1.0, 2.0))
around("http is taken", "callback.url.refuses.http", callback_url, "refusal", _takes("http://"))
_network("10 is public", "refuses.ten", _no_network("10.0.0.0/8"))
_network("172.16 alone", "refuses.172_31", _other_network("172.16.0.0/12", "172.16.0.0/16"))
_network("172 is private", "accepts.before_172_16", _other_network("172.16.0.0/12", "172.0.0.0/8"))
_network("192 is private", "accepts.after_192_168", _other_network("192.168.0.0/16", "192.0.0.0/8"))
_network("one loopback", "refuses.loopback_2", _other_network("127.0.0.0/8", "127.0.0.1/32"))
_network("metadata is public", "refuses.link_local", _no_network("169.254.0.0/16"))
part("localhost is public", "callback.url.refuses.localhost", callback_url, "_INTERNAL_NAMES", ())
around("mapped is public", "callback.url.refuses.ipv6_mapped", callback_url, "refusal", _takes(r"https://\[::ffff"))
around("octal is public", "callback.url.refuses.octal", callback_url, "refusal", _takes("https://0177"))
field("callback of 2049", "callback.url.refuses.length_2049", "callback_url", maxLength=2049)
field("callback of 2047", "callback.url.accepts.length_2048", "callback_url", maxLength=2047)

# --- idempotency ---


def _while_unended(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    answer = replay(self, call, account, fingerprint)
    if answer is None or lifecycle.has_ended(self.store.tasks[json.loads(answer.body)["id"]].plan, call.at):
        return None
    return answer


def _any_body(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    reply = account.replies.get(emulator._idempotency_key(call))
    return replay(self, call, account, fingerprint if reply is None else reply.request)


def _shared_replies(replay: Any, self: Any, call: Any, account: Any, fingerprint: bytes) -> Any:
    for other in self.store.by_name.values():
        if emulator._idempotency_key(call) in other.replies:
            return replay(self, call, other, fingerprint)
    return None


def _remembers_refusals() -> Callable[..., Any]:
    seen: dict[bytes, ApiError] = {}

    def create(original: Any, self: Any, call: Any) -> Any:
        key = call.headers.get(b"idempotency-key", b"")
        if key in seen:
            raise seen[key]
        try:
            return original(self, call)
        except ApiError as error:
            if key:
                seen[key] = error
            raise

    return create


part("nothing remembered", "idempotency.replay", Store, "keep_reply", lambda self, account, key, reply: None)
around("forgotten at the end", "idempotency.replay.later", Emulator, "_replay", _while_unended)
around("any body", "idempotency.conflict", Emulator, "_replay", _any_body)
around("accounts share keys", "idempotency.accounts", Emulator, "_replay", _shared_replies)
around("refusals remembered", "idempotency.refusal", Emulator, "create", _remembers_refusals())
around("16 letters count", "idempotency.other", emulator, "_idempotency_key", lambda key, call: key(call)[:16])
key_schema("key of 15", "idempotency.key.15", minLength=15)
key_schema("key above 16", "idempotency.key.16", minLength=17)
key_schema("key of 97", "idempotency.key.97", maxLength=97)
key_schema("key below 96", "idempotency.key.96", maxLength=95)
key_schema("key of anything", "idempotency.key.letters", pattern=".*")

# --- hostile ---


def _lax(body: bytes) -> Any:
    try:
        return json.loads(body, strict=False)
    except (ValueError, RecursionError):
        raise ApiError(400) from None


def _replaced(body: bytes) -> Any:
    return _lax(body.decode("utf-8", "replace").encode())


def _decoder(name: str, rule: str, read: Callable[[bytes], Any]) -> None:
    part(name, rule, contract_room, "decode", lambda kind, body: read(body))


def _plain_refusal(self: Any, message: str) -> None:
    self._whole = None
    text = b"Invalid HTTP request received."
    self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
    self.transport.close()


def _unlisted_method(answer: Answer) -> None:
    if answer.method == "PROPFIND":
        answer.status = 501


def _crash(path: str) -> Change:
    def change(answer: Answer) -> None:
        if not answer.path.isascii() or path in answer.path:
            answer.status = 500

    return change


def _long_keys(accepts: Any, self: Any, key: str) -> Any:
    return len(key) > 1000 or accepts(self, key)


_decoder("lone surrogates", "hostile.body.surrogate", _lax)
_decoder("infinity", "hostile.body.infinity", _lax)
_decoder("utf-16", "hostile.body.utf16", _lax)
_decoder("raw line ends", "hostile.body.control", _lax)
_decoder("latin-1", "hostile.body.latin1", _replaced)
_decoder("what follows", "hostile.body.nul", lambda body: _lax(body.rstrip(b"\x00")))
part("deeper", "hostile.body.deep_list", contract_room, "DEEPEST", 100)
part("less deep", "hostile.nesting.64", contract_room, "DEEPEST", 63)
part("a byte more", "hostile.size.above", api, "LARGEST_BODY", 1024 * 1024 + 1)
part("a byte less", "hostile.size.exact", api, "LARGEST_BODY", 1024 * 1024 - 1)
part("any head", "hostile.header.large", protocol, "LARGEST_HEAD", 10**9)
part("plain text", "hostile.http.garbage", protocol.Protocol, "send_400_response", _plain_refusal)
answers("413 as 400", "hostile.size.8_times", status(413, 400))
answers("501 for a method", "hostile.method", _unlisted_method)
answers("strange paths crash", "hostile.paths", _crash("passwd"))
around("long keys pass", "hostile.key.long", Emulator, "accepts", _long_keys)

# --- gaps: each is a rule that is missing ---


def _gap(name: str, near: str, owner: Any, attribute: str, wrapper: Callable[..., Any]) -> None:
    around(name, near, owner, attribute, wrapper)
    GAPS.append(FAULTS.pop())


def _any_scheme(key: Any, header: bytes) -> Any:
    return key(header) or header.decode("latin-1").rpartition(" ")[2]


def _public_when_ended(query: Any, self: Any, call: Any, task_id: str) -> Any:
    try:
        return query(self, call, task_id)
    except ApiError as error:
        found = self.store.tasks.get(task_id)
        if error.status == 403 and found is not None and lifecycle.has_ended(found.plan, call.at):
            return calls.Answer(200, b"{}")
        raise


def _truncated(download: Any, self: Any, call: Any, file_name: str) -> Any:
    body, tag = download(self, call, file_name)
    return body[:-100], tag


def _day_of_creation(path: Any, of: Any) -> Any:
    plan = msgspec.structs.replace(of.plan, ended_at=of.plan.created_at)
    return path(msgspec.structs.replace(of, plan=plan))


_gap("another scheme with a good key", "auth.query.basic", emulator, "bearer_key", _any_scheme)
_gap("ended tasks are public to late clocks", "foreign.query", Emulator, "query", _public_when_ended)
_gap("the video is cut off", "link.video", Emulator, "download", _truncated)


def _link_of_creation(patch: pytest.MonkeyPatch) -> None:
    for room in (task_room, emulator):
        patch.setattr(room, "result_path", lambda of: _day_of_creation(result_path, of))


GAPS.append(Fault("link of the day of creation", "link.form", _link_of_creation))
