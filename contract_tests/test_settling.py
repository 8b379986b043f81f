"""Credits and rate limit over time: ends out of order, unlimited accounts, resets, the refill of the token bucket."""

import math
from collections.abc import Callable

import pytest

from contract_tests.orders import CREDITS, GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import FIFTEEN_SECONDS

UNLIMITED_SHOWN = 999_999_999
RATES = {"2/second": 0.5, "4/minute": 15.0, "2/hour": 1800.0, "1/day": 86_400.0}
"""Rate limits, and the seconds in which each gets a new token."""


@pytest.mark.contract(
    id="money.order",
    source="service documentation, credits (D): reserved at the create request, settled on completion",
    needs={"clock", "ledger"},
)
def test_each_task_is_settled_at_its_own_end(service: Service, mock: Account, every_task: Callable[..., None]) -> None:
    """Each task is settled at its own end, in any order of ends."""
    tasks = ((20, True), (10, False), (5, True), (15, True), (10, True), (2, False), (25, False))
    for seconds, completes in tasks:
        every_task("completed" if completes else "failed", generation_time=seconds)
        service.created(duration=15)
    balances, expected = [], []
    for now in range(1, 31):
        mock.clock.advance(1)
        balances.append(service.balance())
        used = sum(1 for seconds, completes in tasks if completes and seconds <= now)
        returned = sum(1 for seconds, completes in tasks if not completes and seconds <= now)
        remaining = 1000 - FIFTEEN_SECONDS * (len(tasks) - returned)
        expected.append((round(remaining, 4), round(FIFTEEN_SECONDS * used, 4)))
    assert balances == expected
    assert mock.reserved_credits == 0


@pytest.mark.contract(
    id="money.unlimited",
    source="service documentation, credits (D); the figure shown is an assumption (docs/fidelity.md)",
    needs={"clock", "ledger"},
)
def test_an_unlimited_account_is_never_rejected_and_counts_what_it_uses(
    service: Service, mock: Account, every_task: Callable[..., None]
) -> None:
    """An unlimited account says so, is never rejected, and still counts what it uses; it can be limited again."""
    limited = accepted(service.get(CREDITS))["data"]
    assert limited["token"]["unlimited_credits"] is False
    assert limited["user"] == {"remaining_credits": 1000, "used_credits": 0}
    mock.credits = math.inf
    service.created(duration=15)
    every_task("failed", generation_time=GENERATION)
    service.created(duration=15)
    mock.clock.advance(GENERATION)
    body = accepted(service.get(CREDITS))
    figures = {"remaining_credits": UNLIMITED_SHOWN, "used_credits": FIFTEEN_SECONDS}
    token, user = body["data"]["token"], body["data"]["user"]
    assert token == {**figures, "unlimited_credits": True}
    assert token["unlimited_credits"] is True
    assert user == figures
    assert [list(each) for each in (body, body["data"], token, user)] == [
        sorted(each) for each in (body, body["data"], token, user)
    ]
    assert mock.reserved_credits == 0
    mock.credits = 5
    assert error_of(service.create())[:2] == (402, "insufficient_quota")


@pytest.mark.contract(id="rate.steps", source="published contract, responses 429; Retry-After (C)", needs={"clock"})
def test_the_bucket_refills_evenly(service: Service, mock: Account) -> None:
    """The bucket refills evenly; a rejected request takes nothing; Retry-After is always enough and never long."""
    for rate, seconds in RATES.items():
        mock.rate_limit = rate
        burst = [service.get(CREDITS).status_code for _ in range(int(rate[0]))]
        assert burst == [200] * len(burst), rate
        mock.clock.advance(seconds * 0.75)
        rejected = [service.get(CREDITS) for _ in range(3)]
        assert [error_of(each)[:3] for each in rejected] == [(429, "rate_limit_exceeded", "evo_api_error")] * 3, rate
        after = str(max(1, math.ceil(seconds * 0.25)))
        assert [each.headers.get("retry-after") for each in rejected] == [after] * 3, rate
        mock.clock.advance(seconds * 0.25)
        assert service.get(CREDITS).status_code == 200, rate
        assert error_of(service.get(CREDITS))[:2] == (429, "rate_limit_exceeded"), rate
        mock.clock.advance(seconds * 1.5)
        assert [service.get(CREDITS).status_code for _ in range(2)] == [200, 429], rate


@pytest.mark.contract(id="rate.speed", source="docs/fidelity.md, Retry-After: whole real seconds", needs={"clock"})
def test_on_a_fast_clock_retry_after_is_in_real_seconds(service: Service, mock: Account) -> None:
    """On a fast clock Retry-After is in real seconds."""
    mock.rate_limit = "1/hour"
    accepted(service.get(CREDITS))
    # at sixty times the speed an hour takes a minute
    mock.clock.speed = 60
    mock.clock.unfreeze()
    after = service.get(CREDITS).headers.get("retry-after", "0")
    assert 50 <= int(after) <= 60


@pytest.mark.contract(id="money.reset", source="docs/reference.md, control API, reset", needs={"mock", "ledger"})
def test_an_account_that_is_reset_begins_anew(
    service: Service, mock: Account, other_service: Service, every_task: Callable[..., None]
) -> None:
    """An account that is reset begins anew: no tasks, no use, no queue, nothing remembered, another first task.

    Another account keeps its own.
    """
    kept = other_service.created()["id"]
    key = {"Idempotency-Key": "verify-0123456789-abcdef"}
    for _ in range(2):
        task_id = accepted(service.create(headers=key, callback_url=mock.inbox("hook").url))["id"]
        mock.clock.advance(GENERATION)
        path = service.task(task_id)["results"][0].partition("/files/")[2]
        mock.reset()
        assert error_of(service.get(f"/v1/tasks/{task_id}"))[:2] == (404, "task_not_found")
        assert error_of(service.with_key(None).get(f"/files/{path}"))[:2] == (404, "file_not_found")
        assert (mock.tasks, mock.deliveries(), mock.inbox("hook").messages) == ([], [], [])
        assert mock.call("GET", "/scenarios")["queue"] == []
        assert service.balance()[1] == 0
        first = service.create(headers=key)
        assert accepted(first)
        assert "idempotency-replayed" not in first.headers
        assert len(mock.tasks) == 1
        mock.reset()
        mock.clock.freeze()
        every_task("completed", generation_time=GENERATION)
    assert other_service.task(kept)
