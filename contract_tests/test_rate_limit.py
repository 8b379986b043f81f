"""The rate limit: the 429 of each operation, and when it ends."""

import pytest

from contract_tests.orders import CREDITS, SOME_TASK
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account

ERRORS = "published contract, responses 429; service documentation, errors of the task query (D)"
SETTING = "docs/reference.md, settings, --rate-limit"
CHECKS = "docs/reference.md, order of checks"
LIMITED = (429, "rate_limit_exceeded")


def poll(service: Service, count: int) -> list[int]:
    """Reads the balance `count` times and returns the statuses."""
    return [service.get(CREDITS).status_code for _ in range(count)]


@pytest.mark.contract(id="rate.create", source=ERRORS, needs={"mock"})
def test_beyond_the_limit_a_create_request_gets_429(service: Service, mock: Account) -> None:
    """Beyond the limit a create request gets 429 rate_limit_error, and makes no task."""
    mock.rate_limit = "2/minute"
    service.created()
    service.created()
    message = "Too many requests, please try again later"
    assert error_of(service.create())[:4] == (*LIMITED, "rate_limit_error", message)
    assert len(mock.tasks) == 2


@pytest.mark.contract(id="rate.query", source=ERRORS, needs={"mock"})
def test_beyond_the_limit_a_query_gets_429(service: Service, mock: Account) -> None:
    """Beyond the limit a query gets 429 evo_api_error."""
    mock.rate_limit = "1/minute"
    assert error_of(service.get(SOME_TASK))[:2] == (404, "task_not_found")
    assert error_of(service.get(SOME_TASK))[:4] == (*LIMITED, "evo_api_error", "Rate limit exceeded")
    assert error_of(service.get(CREDITS))[:3] == (*LIMITED, "evo_api_error")


@pytest.mark.contract(id="rate.shared", source=SETTING, needs={"mock"})
def test_the_three_operations_have_one_common_limit(service: Service, mock: Account) -> None:
    mock.rate_limit = "3/minute"
    service.created()
    assert accepted(service.get(CREDITS))
    assert error_of(service.get(SOME_TASK))[:2] == (404, "task_not_found")
    assert error_of(service.create())[:2] == LIMITED


@pytest.mark.contract(id="rate.refill", source=f"{ERRORS}; Retry-After (C)", needs={"clock"})
def test_a_request_is_accepted_after_the_time_of_retry_after(service: Service, mock: Account) -> None:
    """After the time that Retry-After names, one request is accepted, and not a second one."""
    mock.rate_limit = "6/minute"
    assert poll(service, 6) == [200] * 6
    rejected = service.get(CREDITS)
    assert error_of(rejected)[:2] == LIMITED
    after = rejected.headers.get("retry-after", "")
    assert after.isdecimal()
    assert 0 < int(after) <= 10
    mock.clock.advance(9.9 if int(after) == 10 else 0)
    assert error_of(service.get(CREDITS))[:2] == LIMITED
    mock.clock.advance(10)
    assert poll(service, 1) == [200]
    assert error_of(service.get(CREDITS))[:2] == LIMITED


@pytest.mark.contract(id="rate.full", source=SETTING, needs={"clock"})
def test_a_pause_fills_the_bucket_to_its_capacity_and_not_beyond(service: Service, mock: Account) -> None:
    mock.rate_limit = "3/minute"
    mock.clock.advance(3600)
    assert poll(service, 3) == [200] * 3
    assert error_of(service.get(CREDITS))[:2] == LIMITED


@pytest.mark.contract(id="rate.order", source=CHECKS, needs={"mock"})
def test_the_limit_is_checked_before_the_body_and_after_the_key(service: Service, mock: Account) -> None:
    mock.rate_limit = "1/minute"
    assert accepted(service.get(CREDITS))
    assert error_of(service.create(content=b"{"))[:2] == LIMITED
    assert error_of(service.with_key("wrong").create(content=b"{"))[:2] == (401, "unauthorized")


@pytest.mark.contract(id="rate.apart", source=SETTING, needs={"mock", "keys"})
def test_each_account_has_its_own_limit(service: Service, other_service: Service, mock: Account) -> None:
    mock.rate_limit = "1/minute"
    assert accepted(service.get(CREDITS))
    assert error_of(service.get(CREDITS))[:2] == LIMITED
    assert accepted(other_service.get(CREDITS))


@pytest.mark.contract(id="rate.key", source=CHECKS, needs={"mock", "keys"})
def test_a_key_that_is_limited_is_rejected_on_every_operation(service: Service) -> None:
    limited = service.with_key("sk-mock-rate-limited-verify")
    for response in (limited.create(), limited.get(CREDITS), limited.get(SOME_TASK)):
        assert error_of(response)[:2] == LIMITED, response.request.url
        assert response.headers.get("retry-after", "").isdecimal(), response.request.url
