"""Every operation of the service, each a plain sequence from the request to its answer; the writer of the store."""

import contextlib
import hmac
import itertools
import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any, Final

import msgspec

from sora_mock.config.settings import Settings
from sora_mock.domain import ids, lifecycle, token_bucket
from sora_mock.domain.clock import Clock
from sora_mock.domain.contract import CREATE, Contract
from sora_mock.domain.delivery import Delivery, delivery_id
from sora_mock.domain.errors import ApiError
from sora_mock.domain.ledger import UNLIMITED_SHOWN, to_credits
from sora_mock.domain.moderation import ModerationRule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import TOKEN_START, ParameterLimits
from sora_mock.domain.shape import shaped
from sora_mock.domain.task import (
    ID_PREFIX,
    LINK_LIFETIME,
    Task,
    Video,
    created_view,
    result_path,
    task_id_of,
    task_view,
)
from sora_mock.runtime import clock, randomness
from sora_mock.runtime.package_data import video_bytes
from sora_mock.service.callbacks import Callbacks
from sora_mock.service.calls import Answer, Call, Headers
from sora_mock.service.selection import HEADER, TOKEN, Selector
from sora_mock.storage import memory as store
from sora_mock.storage.journal import Record
from sora_mock.storage.memory import Account, Reply, Store, Template

encode: Final = msgspec.json.Encoder().encode

EXPIRED: Final = "sk-mock-expired"
NO_ACCESS: Final = "sk-mock-no-access"
NO_CREDIT: Final = "sk-mock-no-credit"
RATE_LIMITED: Final = "sk-mock-rate-limited"
BROKEN: Final = "sk-mock-broken"
MEANINGS: Final = (EXPIRED, NO_ACCESS, NO_CREDIT, RATE_LIMITED, BROKEN)
"""Keys that begin like this have a meaning (docs/reference.md, Keys)."""

LONG_WAIT: Final = 60
"""Seconds that a 429 tells to wait where neither a rate limit nor a parameter says how long."""

LONGEST_KEY: Final = 4096


class Emulator:
    """The service. `real_now` is the machine's clock, a parameter so that a test can hold it still."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        catalogue: Mapping[str, Scenario],
        store: Store,
        moderation_rules: tuple[ModerationRule, ...] = (),
        real_now: Callable[[], float] = clock.real_now,
    ) -> None:
        self.settings = settings
        self.contract = contract
        self.store = store
        self.real_now = real_now
        self.seed: int = randomness.new_seed() if settings.seed is None else settings.seed
        self.select = Selector(
            catalogue,
            ParameterLimits(contract.failure_messages, settings.generation_time[1]),
            default=settings.scenario,
            seed=self.seed,
            failure_rate=settings.failure_rate,
            moderation_rate=settings.moderation_rate,
            moderation_rules=moderation_rules,
        )
        self.callbacks = Callbacks(settings, store)
        self.reported: Callable[[Account, str], Awaitable[None]] | None = None
        """Waits until the attempt of a delivery that is under way is over; None where nobody delivers."""
        self.on_request: Callable[[Record], None] | None = None
        """Is told of every request that was answered."""
        self.on_bug: Callable[[str], None] = _print
        """Is told of every bug of ours, by its traceback."""
        self.template = self.first_template()
        self._numbers = itertools.count(1)

    def first_template(self) -> Template:
        """What accounts begin with before any control call."""
        now = self.real_now()
        settings = self.settings
        return Template(
            Clock(now, now, settings.speed, settings.frozen_clock),
            settings.credits,
            settings.rate_limit,
        )

    # --- the operations ---

    def create(self, call: Call) -> Answer:
        """`POST /v1/videos/generations`, in the order of docs/reference.md ("Order of checks")."""
        account, now = self._enter(call)
        chosen, rule = self.select.by_header(call), HEADER
        self._take_token(call, account, now, overridden=chosen is not None)
        request = self._read(call, account)
        if chosen is None and TOKEN_START in request["prompt"]:
            chosen, rule = self.select.by_token(request["prompt"]), TOKEN
        fingerprint = self._fingerprint(call, request) if b"idempotency-key" in call.headers else None
        if fingerprint is not None:
            replay = self._replay(call, account, fingerprint)
            if replay is not None:
                return replay
        if chosen is None:
            self._refuse_by_key(call, account)
        video = _VIDEOS[int(request["duration"]), request.get("aspect_ratio", "16:9"), not request["remove_watermark"]]
        price = self.settings.prices[video.duration]
        self.settle(account, now)
        if not account.ledger.affords(price):
            call.rule = account.meaning and f"key {account.meaning}"
            raise ApiError(402)
        creation, account.creations = account.creations, account.creations + 1
        if chosen is None:
            scenario = self.select.for_creation(call, account, creation, request)
        else:
            scenario = self.select.use(call, chosen, rule)
        if scenario.rejects or scenario.fault == "reset_before":
            raise self._refusal_of(scenario, self._mock_headers(scenario.name))
        task = self._new_task(call, account, now, creation, scenario, video, price, request.get("callback_url"))
        account.ledger = account.ledger.reserve(price)
        self.store.put_task(account, task)
        self.callbacks.expect(account, task)
        body = encode(shaped(created_view(task, self.settings.behaviour), scenario.shape))
        if fingerprint is not None:
            self.store.keep_reply(account, _idempotency_key(call), Reply(fingerprint, body, scenario.name))
        answer = Answer(200, body, self._mock_headers(scenario.name))
        if scenario.fault == "reply_after_callback" and self.reported is not None:
            return msgspec.structs.replace(answer, after=partial(self.reported, account, delivery_id(task.id)))
        return answer

    def query(self, call: Call, task_id: str) -> Answer:
        """`GET /v1/tasks/{task_id}`."""
        account, now = self._enter(call)
        self._before_reply(call, account, now, "query")
        self.contract.check_task_id(task_id)
        task = self.store.tasks.get(task_id)
        if task is None:
            raise ApiError(404)
        if task.account != account.name:
            raise ApiError(403)
        body = shaped(task_view(task, now, self.settings.behaviour), task.scenario.shape)
        if call.touch is not None and call.touch.shape != task.scenario.shape:
            body = shaped(body, call.touch.shape)
        return Answer(200, encode(body))

    def credits(self, call: Call) -> Answer:
        """`GET /v1/credits`. Assumption: the key's and the user's figures are the same, one user has one key."""
        account, now = self._enter(call)
        self._before_reply(call, account, now, "credits")
        self.settle(account, now)
        ledger = account.ledger
        remaining = to_credits(UNLIMITED_SHOWN if ledger.remaining is None else ledger.remaining)
        figures = {"remaining_credits": remaining, "used_credits": to_credits(ledger.used)}
        token = {**figures, "unlimited_credits": ledger.remaining is None}
        body = {"data": {"token": dict(sorted(token.items())), "user": figures}, "message": "", "success": True}
        return Answer(200, encode(shaped(body, None if call.touch is None else call.touch.shape)))

    def download(self, call: Call, file_name: str) -> tuple[bytes, bytes]:
        """The bytes and the entity tag of the video behind a result link, which asks for no key.

        Raises ApiError 404 for a link that was never given out, the
        configured status for an expired one, and what a scenario refuses with.
        """
        task = self.store.tasks.get(task_id_of(file_name) or "")
        account = None if task is None else self.store.by_name[task.account]
        now = 0.0 if account is None else self._arrived(call, account)
        self._use_for_reply(call, account, "file", self.select.by_header(call))
        completed = task is not None and lifecycle.status(task.plan, now) == "completed"
        if task is None or not completed or result_path(task) != call.path:
            raise ApiError(404, "The requested file could not be found", code="file_not_found")
        if now >= task.plan.ended_at + LINK_LIFETIME:
            message = "The result link has expired: it lived 24 hours from the completion of its task"
            raise ApiError(self.settings.behaviour.expired_link_status, message, code="file_expired")
        return video_bytes(task.video.file_name), f'"{file_name}"'.encode()

    # --- what they share ---

    def refusal(self, operation: str | None, call: Call, error: ApiError) -> Answer:
        """The answer that `error` stands for; `operation` is None where no operation took the request."""
        body = self.contract.error_body(operation, error)
        if call.touch is not None and call.touch.shape == "numeric_error_code":
            body = shaped(body, call.touch.shape, error.status)
        return Answer(error.status, encode(body), error.headers)

    def callback_body(self, delivery: Delivery, now: float) -> bytes | None:
        """What a callback says: what the query answers at that moment. None for a task that is forgotten."""
        task = self.store.tasks.get(delivery.task_id)
        if task is None:
            return None
        body = shaped(task_view(task, now, self.settings.behaviour), task.scenario.shape)
        return encode(shaped(body, "unknown_fields") if delivery.variant == "extra_field" else body)

    def _refusal_of(self, scenario: Scenario, headers: Headers = ()) -> ApiError:
        """The error that a scenario answers with."""
        status = scenario.status or 500
        wait = LONG_WAIT if scenario.retry_after is None and status == 429 else scenario.retry_after
        if wait is not None:
            headers = (*headers, *self._retry_after(wait))
        return ApiError(status, scenario.message, code=scenario.code, headers=headers)

    def _before_reply(self, call: Call, account: Account, now: float, operation: str) -> None:
        """What comes before the answer to a poll: a token of the rate limit, and what a scenario refuses with."""
        header = self.select.by_header(call)
        self._take_token(call, account, now, overridden=header is not None and header.affects(operation))
        self._use_for_reply(call, account, operation, header)

    def _use_for_reply(self, call: Call, account: Account | None, operation: str, header: Scenario | None) -> None:
        """Chooses the scenario that touches this answer. Raises the ApiError that it refuses with."""
        scenario = self.select.for_reply(call, account, operation, header)
        if scenario is not None and scenario.rejects:
            raise self._refusal_of(scenario)

    def account(self, key: str) -> Account:
        """The account of a valid key, which exists from the first time it is asked for."""
        account = self.store.find(key)
        if account is None:
            template = self.template
            meaning = next((each for each in MEANINGS if key.startswith(each)), None)
            if meaning == NO_CREDIT:
                template = msgspec.structs.replace(template, remaining=0)
            account = Account(ids.account_name(key), template, template.clock.at(self.real_now()), meaning)
            self.store.add_account(key, account)
        return account

    def accepts(self, key: str) -> bool:
        """Whether `key` is one of ours: it begins with `sk-`, and is listed if the configuration lists keys."""
        keys = self.settings.keys
        if keys is not None:
            return any(hmac.compare_digest(key.encode(), known.encode()) for known in keys)
        return key.startswith("sk-") and len(key) <= LONGEST_KEY

    def settle(self, account: Account, now: float) -> None:
        """Charges or gives back the credits of every task that has ended by `now`."""
        if not account.due.has(now):
            return
        for task in self.store.ended(account, now):
            if task.plan.outcome == "completed":
                account.ledger = account.ledger.charge(task.price)
            else:
                account.ledger = account.ledger.release(task.price)

    def record(self, call: Call, answer: Answer) -> None:
        """Writes a finished request into the journal of its account."""
        account = self._asker(call) if call.account is None else call.account
        journal = self.store.nobody if account is None else account.journal
        if not call.at:
            call.at = (self.template if account is None else account).clock.at(self.real_now())
        record = journal.append(next(self._numbers), call, answer)
        if self.on_request is not None:
            self.on_request(record)

    def _asker(self, call: Call) -> Account | None:
        """Whose request it was, also where it was refused before anybody looked at its key, as on a wrong path."""
        key = bearer_key(call.headers.get(b"authorization", b""))
        account = self.store.find(key)
        return self.account(key) if account is None and self.accepts(key) else account

    def _enter(self, call: Call) -> tuple[Account, float]:
        """The account of the caller's key and its moment. Raises ApiError 401."""
        key = bearer_key(call.headers.get(b"authorization", b""))
        account = self.store.find(key)
        if account is None:
            if not self.accepts(key):
                raise ApiError(401)
            account = self.account(key)
        if account.meaning == EXPIRED:
            call.rule = f"key {EXPIRED}"
            raise ApiError(401)
        return account, self._arrived(call, account)

    def _arrived(self, call: Call, account: Account) -> float:
        """The moment of a request, which may itself move the clock on."""
        real = self.real_now()
        if account.clock.per_request:
            account.clock = account.clock.advanced(real, account.clock.per_request)
            if account.calls.first() is not None:
                self.callbacks.on_due(account)
        call.account, call.at = account, account.clock.at(real)
        return call.at

    def _take_token(self, call: Call, account: Account, now: float, *, overridden: bool) -> None:
        """Takes one request from the rate limit. Raises ApiError 429; 429 and 500 for the keys that mean it."""
        if account.bucket is not None:
            account.bucket, wait = account.bucket.take(now)
            if wait:
                # a client waits in real seconds; on a clock that stands still there are none
                real = wait if account.clock.frozen else wait / account.clock.speed
                raise ApiError(429, headers=self._retry_after(token_bucket.retry_after(real)))
        if account.meaning is not None and not overridden and not _has_token(call.body):
            self._refuse_by_key(call, account, access=False)

    def _refuse_by_key(self, call: Call, account: Account, *, access: bool = True) -> None:
        """Raises what the key means: 429, 500 and, where `access` is asked for, 403."""
        if account.meaning is None:
            return
        refusals = {RATE_LIMITED: ApiError(429, headers=self._retry_after(LONG_WAIT)), BROKEN: ApiError(500)}
        if access:
            refusals[NO_ACCESS] = ApiError(403)
        if account.meaning in refusals:
            call.rule = f"key {account.meaning}"
            raise refusals[account.meaning]

    def _retry_after(self, seconds: int) -> Headers:
        form = self.settings.behaviour.retry_after
        if not form:
            return ()
        # a client compares a date with the real time, whatever the account's clock shows
        value = formatdate(math.ceil(self.real_now()) + seconds, usegmt=True) if form == "date" else str(seconds)
        return ((b"retry-after", value.encode()),)

    def _read(self, call: Call, account: Account) -> dict[str, Any]:
        """The creation's request, checked against the contract. Raises ApiError 413 and 400."""
        if call.body is None:
            raise ApiError(413)
        request = self.contract.read_create_request(call.headers.get(b"content-type"), call.body)
        url = request.get("callback_url")
        refused = None if url is None else self.callbacks.refusal(account, url)
        if refused is not None:
            raise ApiError(400, refused, param="callback_url")
        return request

    def _fingerprint(self, call: Call, request: dict[str, Any]) -> bytes:
        """What tells two bodies apart under the same Idempotency-Key. Raises ApiError 400 for a bad key.

        Assumption: white space, the order of names and defaults that are spelled out do not make another body.
        """
        self.contract.check_idempotency_key(_idempotency_key(call))
        same = {**request, "duration": int(request["duration"])}
        return sha256(msgspec.json.encode(same, order="deterministic")).digest()

    def _replay(self, call: Call, account: Account, fingerprint: bytes) -> Answer | None:
        """The first reply to the same Idempotency-Key. Raises ApiError 409 if that was for another body."""
        reply = account.replies.get(_idempotency_key(call))
        if reply is None:
            return None
        if reply.request != fingerprint:
            row = self.contract.errors[CREATE, 409]
            raise ApiError(self.settings.behaviour.idempotency_conflict_status, row["message"], code=row["code"])
        call.scenario, call.rule = reply.scenario, "replay of an Idempotency-Key"
        return Answer(200, reply.body, ((b"idempotency-replayed", b"true"), *self._mock_headers(reply.scenario)))

    def _new_task(
        self,
        call: Call,
        account: Account,
        now: float,
        creation: int,
        scenario: Scenario,
        video: Video,
        price: int,
        callback: str | None,
    ) -> Task:
        """The task with its plan and a fresh id."""
        shortest, longest = self.settings.generation_time
        if shortest < longest:
            shortest += (longest - shortest) * ids.chance(self.seed, account.name, creation, "generation time")
        plan = scenario.plan(now, shortest, self.settings.behaviour.queue_share, self.contract.failure_messages)
        task_id, attempt = "", 0
        while not task_id or task_id in self.store.tasks:
            task_id = f"{ID_PREFIX}{int(now)}-{ids.task_suffix(self.seed, account.name, creation, attempt)}"
            attempt += 1
        self._make_room(account)
        return Task(task_id, account.name, plan, video, price, call.origin, scenario, callback)

    def _make_room(self, account: Account) -> None:
        """Forgets the oldest task where the store is full; what it had reserved comes back."""
        if not self.store.is_full:
            return
        owner, task = self.store.oldest(account)
        now = owner.clock.at(self.real_now())
        self.settle(owner, now)
        if not lifecycle.has_ended(task.plan, now):
            owner.ledger = owner.ledger.release(task.price)
        self.store.drop_oldest(owner)

    def _mock_headers(self, scenario: str) -> Headers:
        return _scenario_header(scenario) if self.settings.mock_headers else ()


def _print(text: str) -> None:
    # where it cannot be printed, the answer still goes out
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def _has_token(body: bytes | None) -> bool:
    """Whether a body has a prompt with a token, which would override what the key means."""
    try:
        request = msgspec.json.decode(body or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(request, dict) and TOKEN_START in str(request.get("prompt"))


def bearer_key(header: bytes) -> str:
    """The key of an Authorization header; empty where it is no bearer key."""
    # a long one is not kept: ten thousand of 60 KiB would be
    return _short_bearer_key(header) if len(header) <= 256 else _bearer_key(header)


def _bearer_key(header: bytes) -> str:
    scheme, _, key = header.decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


@lru_cache(maxsize=256)
def _scenario_header(name: str) -> Headers:
    return ((b"x-mock-scenario", name.encode()),)


_short_bearer_key = lru_cache(maxsize=store.MOST_ACCOUNTS)(_bearer_key)


def _idempotency_key(call: Call) -> str:
    return call.headers[b"idempotency-key"].decode("latin-1")


# a million tasks share these eight
_VIDEOS: Final = {
    (duration, aspect_ratio, watermark): Video(duration, aspect_ratio, watermark)
    for duration in (10, 15)
    for aspect_ratio in ("16:9", "9:16")
    for watermark in (False, True)
}
