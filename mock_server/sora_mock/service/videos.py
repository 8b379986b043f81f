"""`POST /v1/videos/generations`: checks in the order of docs/reference.md (Order of checks), then a task."""

from hashlib import sha256
from typing import Any

import msgspec

from sora_mock.domain import callback_url, ids
from sora_mock.domain.contract import CREATE
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse, Exchange, Headers
from sora_mock.domain.models import Model, VideoOrder
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.shape import shaped
from sora_mock.domain.task import ID_PREFIX, Task, created_view
from sora_mock.service import callbacks, tasks
from sora_mock.service.admission import reject_by_key, rejection, take_token
from sora_mock.service.authentication import arrive, authenticate
from sora_mock.service.context import Service, encode
from sora_mock.service.selection import HEADER, TOKEN
from sora_mock.storage.memory import MemoryAccount
from sora_mock.storage.replies import StoredReply


def create(service: Service, exchange: Exchange) -> ApiResponse:
    """Creates a task and reserves its price. Raises ApiError for everything that is rejected."""
    with authenticate(service, exchange) as account:
        now = arrive(service, account, exchange)
        named, rule = service.selector.from_header(exchange), HEADER
        take_token(service, account, exchange, now, overridden=named is not None)
        request = _read(service, account, exchange)
        if named is None:
            named, rule = service.selector.from_token(request["prompt"]), TOKEN
        fingerprint = _fingerprint(service, exchange, request)
        if fingerprint is not None and (replay := _replay(service, account, exchange, fingerprint)) is not None:
            return replay
        if named is None:
            reject_by_key(service, account, exchange)
        model = service.models[request["model"]]
        order = model.order(request)
        tasks.settle(account, now)
        if not account.facts.ledger.affords(model.price(order)):
            exchange.rule = account.facts.special_key and f"key {account.facts.special_key}"
            raise ApiError(402)
        scenario, number = _choose(service, account, exchange, request, model, named, rule)
        if scenario.rejects or scenario.fault == "reset_before":
            raise rejection(service, account, exchange, scenario, scenario_header(service, scenario.name))
        task = _new_task(service, account, exchange, now, number, model, order, scenario, request.get("callback_url"))
        ledger = account.facts.ledger.reserve(task.price)
        account.facts = msgspec.structs.replace(account.facts, ledger=ledger)
        account.put_task(task)
        exchange.hint = callbacks.expect(service, account, task) or exchange.hint
        exchange.task_id = task.id
        body = encode(shaped(created_view(task, service.settings.behaviour), scenario.shape))
        if fingerprint is not None:
            account.store_reply(_idempotency_key(exchange), StoredReply(fingerprint, body, scenario.name, task.id))
        return ApiResponse(200, body, scenario_header(service, scenario.name))


def _read(service: Service, account: MemoryAccount, exchange: Exchange) -> dict[str, Any]:
    """The request's fields, checked against the contract. Raises ApiError 413 and 400."""
    if exchange.body is None:
        raise ApiError(413)
    request = service.contract.read_create_request(exchange.headers.get(b"content-type"), exchange.body)
    url = request.get("callback_url")
    rejected = None if url is None else callbacks.rejection(service, account, url)
    if url is not None and rejected is not None:
        if callback_url.is_local(url):
            exchange.hint = callbacks.LOCAL_HINT
        raise ApiError(400, rejected, param="callback_url")
    return request


def _choose(
    service: Service,
    account: MemoryAccount,
    exchange: Exchange,
    request: dict[str, Any],
    model: Model,
    named: Scenario | None,
    rule: str,
) -> tuple[Scenario, int]:
    """The scenario of a create request, and the number of that request, from 0."""
    number = account.facts.create_count
    account.facts = msgspec.structs.replace(account.facts, create_count=number + 1)
    if named is None:
        return service.selector.for_create(exchange, account, number, request, model), number
    return service.selector.use(exchange, named, rule), number


def _fingerprint(service: Service, exchange: Exchange, request: dict[str, Any]) -> bytes | None:
    """What differs between two bodies with the same Idempotency-Key; None without that header.

    Assumption: white space, the order of names and defaults that are written out do not make another body.
    Raises ApiError 400 for an invalid key.
    """
    if b"idempotency-key" not in exchange.headers:
        return None
    service.contract.check_idempotency_key(_idempotency_key(exchange))
    same = {**request, "duration": int(request["duration"])}
    return sha256(msgspec.json.encode(same, order="deterministic")).digest()


def _replay(service: Service, account: MemoryAccount, exchange: Exchange, fingerprint: bytes) -> ApiResponse | None:
    """The first response to the same Idempotency-Key; None for a new key. Raises ApiError 409 for another body."""
    reply = account.stored_reply(_idempotency_key(exchange))
    if reply is None:
        return None
    if reply.fingerprint != fingerprint:
        row = service.contract.errors[CREATE, 409]
        status = service.settings.behaviour.idempotency_conflict_status
        raise ApiError(status, row["message"], code=row["code"])
    exchange.scenario, exchange.rule, exchange.task_id = reply.scenario, "replay of an Idempotency-Key", reply.task_id
    return ApiResponse(200, reply.body, ((b"idempotency-replayed", b"true"), *scenario_header(service, reply.scenario)))


def _idempotency_key(exchange: Exchange) -> str:
    return exchange.headers[b"idempotency-key"].decode("latin-1")


def _new_task(
    service: Service,
    account: MemoryAccount,
    exchange: Exchange,
    now: float,
    number: int,
    model: Model,
    order: VideoOrder,
    scenario: Scenario,
    callback: str | None,
) -> Task:
    """The task with its plan and a new id."""
    settings, name = service.settings, account.facts.name
    shortest, longest = settings.generation_time
    if shortest < longest:
        shortest += (longest - shortest) * ids.chance(service.seed, name, number, "generation time")
    plan = scenario.plan(now, shortest, settings.behaviour.queue_share, service.contract.failure_messages)
    task_id, attempt = "", 0
    while not task_id or task_id in service.storage.tasks:
        task_id = f"{ID_PREFIX}{int(now)}-{ids.task_suffix(service.seed, name, number, attempt)}"
        attempt += 1
    if service.storage.is_full:
        tasks.forget_oldest(service, account)
    return Task(task_id, name, model, plan, order, model.price(order), exchange.origin, scenario, callback)


def scenario_header(service: Service, scenario: str) -> Headers:
    """The X-Mock-Scenario header of a response; empty with `--no-mock-headers`."""
    return ((b"x-mock-scenario", scenario.encode()),) if service.settings.mock_headers else ()
