"""The operations together, in process, on a clock that the test holds: order of refusals, money, time, bounds."""

import contextlib
import json
import re
from email.utils import parsedate_to_datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_mock.app import built_in_scenarios
from sora_mock.config.settings import Settings
from sora_mock.control.operations import ControlError, Controls
from sora_mock.domain.contract import CREATE, CREDITS, QUERY, Contract
from sora_mock.domain.errors import ApiError
from sora_mock.domain.task import Behaviour
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.runtime import package_data as data
from sora_mock.service.calls import Answer, Call
from sora_mock.service.emulator import Emulator
from sora_mock.storage import memory as store
from sora_mock.storage.memory import Store

CONTRACT = Contract(data.contract_document())
START = 1_795_341_600.25
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}


class World:
    """An emulator whose machine clock stands where the test puts it."""

    def __init__(self, **changes: Any) -> None:
        self.real = START
        self.emulator = Emulator(
            Settings(seed=7, **changes), CONTRACT, built_in_scenarios(), Store(), real_now=lambda: self.real
        )
        self.controls = Controls(self.emulator, worker=lambda: pytest.fail("nobody delivers here"))

    def call(self, operation: str, *, key: str = "sk-a", body: Any = None, task_id: str = "", **headers: str) -> Answer:
        sent = {b"authorization": f"Bearer {key}".encode()}
        sent |= {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else json.dumps(ORDER if body is None else body).encode()
        call = Call("POST" if operation == CREATE else "GET", f"/v1/tasks/{task_id}", sent, raw, "http://localhost")
        try:
            if operation == CREATE:
                return self.emulator.create(call)
            return self.emulator.query(call, task_id) if operation == QUERY else self.emulator.credits(call)
        except ApiError as error:
            return self.emulator.refusal(operation, call, error)

    def create(self, **more: Any) -> Any:
        answer = self.call(CREATE, **more)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def query(self, task_id: str, **more: Any) -> Any:
        return json.loads(self.call(QUERY, task_id=task_id, **more).body)

    def account(self, key: str = "sk-a") -> Any:
        return self.controls.account(key)


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
def test_no_reply_ever_leaves_the_contract_and_no_credit_is_lost(events: list[Any], rate: str | None) -> None:
    world = World(credits=400_000)
    if rate is not None:
        world.controls.set_rate(None, parse_rate_limit(rate))
    known = ["task-unified-1757169743-7cvnl5zw", "nonsense"]
    for event, detail, key in events:
        operation, answer = "", None
        if event == "create":
            operation, answer = CREATE, world.call(CREATE, key=key, body=detail)
            if answer.status == 200:
                known.append(json.loads(answer.body)["id"])
        elif event == "query":
            operation, answer = QUERY, world.call(QUERY, key=key, task_id=known[-1 - detail % len(known)])
        elif event == "credits":
            operation, answer = CREDITS, world.call(CREDITS, key=key)
        elif event == "pass":
            world.real += detail
        else:
            with contextlib.suppress(ControlError):
                world.controls.finish("sk-a", known[-1], detail, None, None)
        if answer is not None:
            validator = RESPONSES[operation, answer.status]
            assert validator.is_valid(json.loads(answer.body)), answer.body
        for name in ("sk-a", "sk-b"):
            balance = world.account(name)
            total = sum(round(balance[part] * 10_000) for part in balance if part.endswith("credits"))
            assert total == 400_000


def test_credits_are_reserved_charged_on_completion_and_returned_on_failure() -> None:
    world = World()
    first, second = world.create()["id"], world.create(body={**ORDER, "duration": 15})["id"]
    assert world.account()["reserved_credits"] == 14.4
    world.controls.finish("sk-a", first, "failed", "service_error", None)
    assert world.account() == {
        "remaining_credits": 991.36,
        "reserved_credits": 8.64,
        "used_credits": 0,
        "rate_limit": None,
    }
    world.real += 5
    assert world.query(second)["status"] == "completed"
    assert world.account()["used_credits"] == 8.64
    assert world.account()["reserved_credits"] == 0


def test_402_comes_before_anything_exists() -> None:
    world = World(credits=57_599)
    assert world.call(CREATE).status == 402
    assert world.controls.tasks("sk-a", 10) == []
    assert world.account()["remaining_credits"] == 5.7599


def test_a_running_clock_moves_tasks_without_anybody_looking() -> None:
    world = World(speed=60.0, generation_time=(300.0, 300.0))
    task_id = world.create()["id"]
    world.real += 5
    assert world.query(task_id)["status"] == "completed"


def test_a_range_of_generation_times_is_drawn_from_the_seed_and_the_account() -> None:
    def draw(key: str) -> list[int]:
        world = World(generation_time=(60.0, 180.0))
        return [world.create(key=key)["task_info"]["estimated_time"] for _ in range(20)]

    first = draw("sk-a")
    assert first == draw("sk-a")
    assert first != draw("sk-b")
    assert all(60 <= seconds <= 180 for seconds in first)
    assert len(set(first)) > 10


def test_ids_repeat_with_the_seed_and_never_within_a_run() -> None:
    def ids(key: str) -> list[str]:
        world = World(credits=None)
        return [world.create(key=key)["id"] for _ in range(500)]

    assert ids("sk-a") == ids("sk-a")
    assert len(set(ids("sk-a") + ids("sk-b"))) == 1000
    assert all(re.fullmatch(rf"task-unified-{int(START)}-[a-z0-9]{{8}}", task_id) for task_id in ids("sk-a"))


def test_an_idempotency_key_answers_the_first_reply_again_and_books_once() -> None:
    world = World()
    first = world.call(CREATE, idempotency_key="order-0000000001")
    world.real += 3
    again = world.call(CREATE, body=dict(reversed(ORDER.items())), idempotency_key="order-0000000001")
    assert again.body == first.body
    assert (b"idempotency-replayed", b"true") in again.headers
    assert world.account()["reserved_credits"] == 5.76
    other = world.call(CREATE, body={**ORDER, "prompt": "a dog"}, idempotency_key="order-0000000001")
    assert other.status == 409
    assert json.loads(other.body)["error"]["code"] == "idempotency_conflict"
    assert world.call(CREATE, key="sk-b", idempotency_key="order-0000000001").body != first.body


def test_a_refused_creation_is_not_remembered_under_its_key() -> None:
    world = World(credits=0)
    assert world.call(CREATE, idempotency_key="order-0000000001").status == 402
    world.controls.set_balance("sk-a", 10**6)
    assert world.call(CREATE, idempotency_key="order-0000000001").status == 200


def test_a_full_store_forgets_the_oldest_task_and_gives_its_reservation_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_TASKS", 3)
    world = World()
    ids = [world.create()["id"] for _ in range(4)]
    assert world.call(QUERY, task_id=ids[0]).status == 404
    assert world.call(QUERY, task_id=ids[1]).status == 200
    assert world.account()["reserved_credits"] == 3 * 5.76
    world.real += 10
    world.create()
    assert world.account()["used_credits"] == 3 * 5.76
    # another account, which has no task of its own to give
    assert world.create(key="sk-b")


def test_too_many_accounts_forget_the_one_that_was_not_used_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ACCOUNTS", 2)
    world = World()
    first, second = world.create(key="sk-1")["id"], world.create(key="sk-2")["id"]
    world.account("sk-1")
    world.create(key="sk-3")
    assert world.query(first, key="sk-1")["status"] == "pending"
    assert world.call(QUERY, key="sk-1", task_id=second).status == 404


def test_a_task_that_never_ends_keeps_its_reservation() -> None:
    world = World()
    world.emulator.select.default = "stuck"
    task_id = world.create()["id"]
    world.real += 10**6
    assert world.query(task_id)["status"] == "processing"
    assert world.query(task_id)["progress"] == 99
    assert world.account()["reserved_credits"] == 5.76
    done = world.controls.finish("sk-a", task_id, "completed", None, None)
    assert re.match(r"http://localhost/files/", done["results"][0])


def test_a_poll_writes_nothing_but_the_journal() -> None:
    world = World()
    task_id = world.create()["id"]
    account = world.emulator.account("sk-a")
    before = (account.ledger, account.clock, len(account.due), world.emulator.store.tasks[task_id])
    world.real += 60
    world.query(task_id)
    assert (account.ledger, account.clock, len(account.due), world.emulator.store.tasks[task_id]) == before


def test_retry_after_is_in_the_seconds_that_a_client_waits() -> None:
    def wait(**changes: Any) -> bytes:
        world = World(rate_limit=parse_rate_limit("1/minute"), **changes)
        world.call(CREDITS)
        return dict(world.call(CREDITS).headers)[b"retry-after"]

    assert wait() == b"60"
    assert wait(frozen_clock=True) == b"60"
    assert wait(speed=60.0) == b"1"
    assert wait(speed=0.1) == b"600"


def test_retry_after_as_a_date_is_enough_in_real_time_too() -> None:
    world = World(rate_limit=parse_rate_limit("1/minute"), behaviour=Behaviour(retry_after="date"))
    world.call(CREDITS)
    value = dict(world.call(CREDITS).headers)[b"retry-after"].decode()
    assert value.endswith(" GMT")
    assert 60 <= parsedate_to_datetime(value).timestamp() - world.real < 61


def test_a_whole_float_is_the_same_body_for_an_idempotency_key() -> None:
    world = World()
    one = world.call(CREATE, body={**ORDER, "duration": 10}, idempotency_key="order-0000000001")
    other = world.call(CREATE, body={**ORDER, "duration": 10.0}, idempotency_key="order-0000000001")
    assert one.body == other.body


def test_a_task_that_is_finished_while_it_waits_never_was_processed_later() -> None:
    world = World()
    task_id = world.create()["id"]
    done = world.controls.finish("sk-a", task_id, "completed", None, None)["mock"]
    assert done["processing_at"] <= done["ended_at"]


def test_long_authorization_headers_are_not_kept() -> None:
    from sora_mock.service import emulator

    emulator._short_bearer_key.cache_clear()
    World().call(CREDITS, key="bad" * 1000)
    assert emulator._short_bearer_key.cache_info().currsize == 0
