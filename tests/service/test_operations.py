"""The operations together, without HTTP: every response follows the contract; money, time and bounds."""

import json
import re
from email.utils import parsedate_to_datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_mock.domain import lifecycle
from sora_mock.domain.contract import CREATE, CREDITS, QUERY, Contract
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.task import Behaviour, result_url
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.runtime.package_data import contract_document
from sora_mock.service import authentication
from sora_mock.service import credits as credits_operation
from sora_mock.storage import memory
from tests.frozen import ORDER, START, FrozenService

CONTRACT = Contract(contract_document())


def responses() -> dict[tuple[str, int], jsonschema_rs.Draft202012Validator]:
    found = {}
    for methods in CONTRACT.document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                schema = response["content"]["application/json"]["schema"]
                found[operation["operationId"], int(status)] = jsonschema_rs.Draft202012Validator(
                    {**schema, "components": CONTRACT.document["components"]}, validate_formats=True
                )
    return found


RESPONSES = responses()
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
orders = st.fixed_dictionaries(
    {"model": st.just("sora-2-beta-max"), "prompt": st.text(max_size=20)},
    optional={
        "duration": st.sampled_from([10, 15, 10.0, 12]),
        "aspect_ratio": st.sampled_from(["16:9", "9:16", "1:1"]),
        "remove_watermark": st.booleans(),
        "image_urls": st.lists(st.just("http://a.example/1.png"), max_size=2),
        "callback_url": st.sampled_from(["https://a.example/hook", "http://a.example", "https://127.1/"]),
        "other": anything,
    },
)
steps = st.one_of(
    st.tuples(st.just("create"), orders | anything, st.sampled_from(["sk-a", "sk-b", "bad", "sk-mock-no-credit"])),
    st.tuples(st.just("query"), st.integers(0, 5), st.sampled_from(["sk-a", "sk-b", "bad"])),
    st.tuples(st.just("credits"), st.none(), st.sampled_from(["sk-a", "sk-b"])),
    st.tuples(st.just("pass"), st.floats(0, 10), st.just("")),
    st.tuples(st.just("finish"), st.sampled_from(["completed", "failed", "cancelled"]), st.just("sk-a")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), st.sampled_from(["20/minute", None]))
def test_every_response_follows_the_contract_and_no_credit_is_lost(events: list[Any], rate: str | None) -> None:
    frozen = FrozenService(credits=400_000)
    if rate is not None:
        credits_operation.set_rate_limit(frozen.service, None, parse_rate_limit(rate))
    known = ["task-unified-1757169743-7cvnl5zw", "nonsense"]
    for event, detail, key in events:
        operation, response = "", None
        if event == "create":
            operation, response = CREATE, frozen.send(CREATE, key=key, body=detail)
            if response.status == 200:
                known.append(json.loads(response.body)["id"])
        elif event == "query":
            operation, response = QUERY, frozen.send(QUERY, key=key, task_id=known[-1 - detail % len(known)])
        elif event == "credits":
            operation, response = CREDITS, frozen.send(CREDITS, key=key)
        elif event == "pass":
            frozen.real += detail
        else:
            frozen.finish(known[-1], detail)
        if response is not None:
            validator = RESPONSES[operation, response.status]
            assert validator.is_valid(json.loads(response.body)), response.body
        for name in ("sk-a", "sk-b"):
            ledger = frozen.ledger(name)
            assert ledger.remaining is not None
            assert ledger.remaining + ledger.reserved + ledger.used == 400_000


def test_credits_are_reserved_charged_on_completion_and_returned_on_failure() -> None:
    frozen = FrozenService()
    first, second = frozen.create()["id"], frozen.create(body={**ORDER, "duration": 15})["id"]
    assert frozen.ledger().reserved == 144_000
    frozen.finish(first, "failed")
    assert frozen.ledger() == Ledger(remaining=9_913_600, reserved=86_400, used=0)
    frozen.real += 5
    assert frozen.query(second)["status"] == "completed"
    assert frozen.ledger() == Ledger(remaining=9_913_600, reserved=0, used=86_400)


def test_402_comes_before_anything_exists() -> None:
    frozen = FrozenService(credits=57_599)
    assert frozen.send(CREATE).status == 402
    assert frozen.service.storage.account("sk-a").newest_tasks(10) == []
    assert frozen.ledger().remaining == 57_599


def test_a_running_clock_moves_tasks_though_no_request_reads_them() -> None:
    frozen = FrozenService(speed=60.0, generation_time=(300.0, 300.0))
    task_id = frozen.create()["id"]
    frozen.real += 5
    assert frozen.query(task_id)["status"] == "completed"


def test_a_random_generation_time_follows_from_the_seed_and_the_account() -> None:
    def times(key: str) -> list[int]:
        frozen = FrozenService(generation_time=(60.0, 180.0))
        return [frozen.create(key=key)["task_info"]["estimated_time"] for _ in range(20)]

    first = times("sk-a")
    assert first == times("sk-a")
    assert first != times("sk-b")
    assert all(60 <= seconds <= 180 for seconds in first)
    assert len(set(first)) > 10


def test_ids_repeat_with_the_seed_and_never_within_a_run() -> None:
    def ids(key: str) -> list[str]:
        frozen = FrozenService(credits=None)
        return [frozen.create(key=key)["id"] for _ in range(500)]

    assert ids("sk-a") == ids("sk-a")
    assert len(set(ids("sk-a") + ids("sk-b"))) == 1000
    assert all(re.fullmatch(rf"task-unified-{int(START)}-[a-z0-9]{{8}}", task_id) for task_id in ids("sk-a"))


def test_the_same_idempotency_key_gets_the_first_response_again_and_one_reservation() -> None:
    frozen = FrozenService()
    first = frozen.send(CREATE, idempotency_key="order-0000000001")
    frozen.real += 3
    again = frozen.send(CREATE, body=dict(reversed(ORDER.items())), idempotency_key="order-0000000001")
    assert again.body == first.body
    assert (b"idempotency-replayed", b"true") in again.headers
    assert frozen.ledger().reserved == 57_600
    other = frozen.send(CREATE, body={**ORDER, "prompt": "a dog"}, idempotency_key="order-0000000001")
    assert other.status == 409
    assert json.loads(other.body)["error"]["code"] == "idempotency_conflict"
    assert frozen.send(CREATE, key="sk-b", idempotency_key="order-0000000001").body != first.body


def test_a_rejected_create_request_is_not_stored_under_its_idempotency_key() -> None:
    frozen = FrozenService(credits=0)
    assert frozen.send(CREATE, idempotency_key="order-0000000001").status == 402
    credits_operation.set_balance(frozen.service, "sk-a", 10**6)
    assert frozen.send(CREATE, idempotency_key="order-0000000001").status == 200


def test_a_full_storage_forgets_the_oldest_task_and_releases_its_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_TASKS", 3)
    frozen = FrozenService()
    ids = [frozen.create()["id"] for _ in range(4)]
    assert frozen.send(QUERY, task_id=ids[0]).status == 404
    assert frozen.send(QUERY, task_id=ids[1]).status == 200
    assert frozen.ledger().reserved == 3 * 57_600
    frozen.real += 10
    frozen.create()
    assert frozen.ledger().used == 3 * 57_600
    # this account has no task of its own that could be forgotten
    assert frozen.create(key="sk-b")


def test_beyond_the_bound_the_least_recently_used_account_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ACCOUNTS", 2)
    frozen = FrozenService()
    first, second = frozen.create(key="sk-1")["id"], frozen.create(key="sk-2")["id"]
    frozen.ledger("sk-1")
    frozen.create(key="sk-3")
    assert frozen.query(first, key="sk-1")["status"] == "pending"
    assert frozen.send(QUERY, key="sk-1", task_id=second).status == 404


def test_a_task_that_never_ends_keeps_its_reservation() -> None:
    frozen = FrozenService(scenario="stuck")
    task_id = frozen.create()["id"]
    frozen.real += 10**6
    assert frozen.query(task_id)["status"] == "processing"
    assert frozen.query(task_id)["progress"] == 99
    assert frozen.ledger().reserved == 57_600
    ended = frozen.finish(task_id, "completed")
    assert ended is not None
    assert result_url(ended).startswith("http://localhost/files/")
    assert frozen.query(task_id)["results"] == [result_url(ended)]


def test_a_query_changes_nothing_except_the_journal() -> None:
    frozen = FrozenService()
    task_id = frozen.create()["id"]
    account = frozen.service.storage.account("sk-a")
    facts, task = account.facts, account.task(task_id)
    frozen.real += 60
    frozen.query(task_id)
    assert account.facts is facts
    assert account.task(task_id) is task
    # even the credits of the task are settled by a later operation
    assert account.has_unsettled(frozen.real)


def test_retry_after_is_in_the_seconds_that_a_client_waits() -> None:
    def wait(**changes: Any) -> bytes:
        frozen = FrozenService(rate_limit=parse_rate_limit("1/minute"), **changes)
        frozen.send(CREDITS)
        return dict(frozen.send(CREDITS).headers)[b"retry-after"]

    assert wait() == b"60"
    assert wait(frozen_clock=True) == b"60"
    assert wait(speed=60.0) == b"1"
    assert wait(speed=0.1) == b"600"


def test_retry_after_as_a_date_is_enough_in_real_time_too() -> None:
    frozen = FrozenService(rate_limit=parse_rate_limit("1/minute"), behaviour=Behaviour(retry_after="date"))
    frozen.send(CREDITS)
    value = dict(frozen.send(CREDITS).headers)[b"retry-after"].decode()
    assert value.endswith(" GMT")
    assert 60 <= parsedate_to_datetime(value).timestamp() - frozen.real < 61


def test_a_whole_float_is_the_same_body_for_an_idempotency_key() -> None:
    frozen = FrozenService()
    one = frozen.send(CREATE, body={**ORDER, "duration": 10}, idempotency_key="order-0000000001")
    other = frozen.send(CREATE, body={**ORDER, "duration": 10.0}, idempotency_key="order-0000000001")
    assert one.body == other.body


def test_a_task_that_is_finished_while_it_is_pending_has_no_later_start_of_processing() -> None:
    frozen = FrozenService()
    task_id = frozen.create()["id"]
    ended = frozen.finish(task_id, "completed")
    assert ended is not None
    assert ended.plan.processing_at <= ended.plan.ended_at
    assert lifecycle.has_ended(ended.plan, frozen.real)


def test_long_authorization_headers_are_not_kept() -> None:
    authentication._short_bearer_key.cache_clear()
    FrozenService().send(CREDITS, key="bad" * 1000)
    assert authentication._short_bearer_key.cache_info().currsize == 0
