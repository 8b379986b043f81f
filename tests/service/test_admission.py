"""What a request passes before its operation: the rate limit with its hint, and keys that reject."""

from typing import Any

import pytest

from sora_mock.domain.contract import CREATE, CREDITS, QUERY
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.service import credits
from sora_mock.service.admission import IMPATIENT_HINT
from tests.frozen import ORDER, FrozenService


def limited(rate: str = "1/minute", **settings: Any) -> FrozenService:
    return FrozenService(rate_limit=parse_rate_limit(rate), **settings)


def poll(frozen: FrozenService) -> tuple[int, str | None]:
    return frozen.send(CREDITS).status, frozen.exchange.hint


def test_a_client_that_waits_gets_no_hint() -> None:
    frozen = limited()
    assert poll(frozen) == (200, None)
    assert poll(frozen) == (429, None)
    frozen.real += 60
    assert poll(frozen) == (200, None)
    assert poll(frozen) == (429, None)


def test_a_client_that_ignores_retry_after_gets_a_hint_until_it_waits() -> None:
    frozen = limited()
    poll(frozen)
    assert poll(frozen) == (429, None)
    frozen.real += 30
    assert poll(frozen) == (429, IMPATIENT_HINT)
    assert poll(frozen) == (429, IMPATIENT_HINT)
    frozen.real += 60
    assert poll(frozen) == (200, None)


def test_a_new_rate_limit_begins_without_a_hint() -> None:
    frozen = limited()
    for _ in range(3):
        poll(frozen)
    credits.set_rate_limit(frozen.service, "sk-a", parse_rate_limit("1/minute"))
    assert poll(frozen) == (200, None)
    assert poll(frozen) == (429, None)


def test_another_account_has_a_rate_limit_of_its_own() -> None:
    frozen = limited()
    poll(frozen)
    poll(frozen)
    assert frozen.send(CREDITS, key="sk-b").status == 200


def test_a_rejected_request_changes_nothing_except_the_count_of_the_rate_limit() -> None:
    frozen = limited("2/minute", credits=57_600)
    account = frozen.service.storage.account("sk-a")
    before = account.facts
    assert frozen.send(CREATE, body={**ORDER, "duration": 12}).status == 400
    assert frozen.send(QUERY, task_id="nonsense").status == 400
    assert account.facts.bucket != before.bucket
    assert (account.facts.ledger, account.facts.create_count) == (before.ledger, 0)
    assert account.newest_tasks(10) == []
    assert frozen.send(CREATE).status == 429


@pytest.mark.parametrize(
    ("key", "operation", "status"),
    [
        ("sk-mock-rate-limited", CREDITS, 429),
        ("sk-mock-rate-limited", CREATE, 429),
        ("sk-mock-broken", QUERY, 500),
        ("sk-mock-broken", CREATE, 500),
        ("sk-mock-no-access", CREATE, 403),
        ("sk-mock-no-access", CREDITS, 200),
        ("sk-mock-no-credit", CREATE, 402),
    ],
)
def test_a_special_key_rejects_and_the_rule_names_it(key: str, operation: str, status: int) -> None:
    frozen = FrozenService()
    task_id = "task-unified-1757169743-7cvnl5zw"
    assert frozen.send(operation, key=key, task_id=task_id).status == status
    assert frozen.exchange.rule == (None if status == 200 else f"key {key}")


@pytest.mark.parametrize(
    ("key", "headers"),
    [("sk-mock-rate-limited-1", {}), ("sk-a", {"x_mock_scenario": "rate_limited"})],
    ids=["a special key", "a scenario"],
)
def test_every_429_that_a_client_ignores_gives_the_hint(key: str, headers: dict[str, str]) -> None:
    frozen = FrozenService()

    def ask() -> tuple[int, str | None]:
        return frozen.send(CREDITS, key=key, **headers).status, frozen.exchange.hint

    assert ask() == (429, None)
    frozen.real += 59
    assert ask() == (429, IMPATIENT_HINT)
    frozen.real += 61
    assert ask() == (429, None)
