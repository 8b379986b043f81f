"""Idempotency-Key: the same request twice creates one task and one charge."""

import httpx
import pytest

from contract_tests.orders import GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import TEN_SECONDS

SOURCE = "clients of the service, idempotency (C)"
KEY = {"Idempotency-Key": "verify-0123456789-abcdef"}
REPLAYED = "idempotency-replayed"


@pytest.mark.contract(id="idempotency.replay", source=SOURCE, price=2 * TEN_SECONDS, shared="explicit")
def test_a_repeated_create_request_gets_the_first_response_again(
    service: Service, shared_response: httpx.Response, request: pytest.FixtureRequest
) -> None:
    """A repeated create request gets the first response again, marked idempotency-replayed."""
    first = shared_response
    headers = {"Idempotency-Key": first.request.headers["idempotency-key"]}
    second = service.create(content=first.request.content, headers=headers)
    assert accepted(second) == accepted(first)
    assert second.content == first.content
    assert [response.headers.get(REPLAYED) for response in (first, second)] == [None, "true"]
    if service.is_mock:
        mock: Account = request.getfixturevalue("mock")
        assert len(mock.tasks) == 1
        assert mock.reserved_credits == TEN_SECONDS


@pytest.mark.contract(id="idempotency.replay.later", source=SOURCE, needs={"clock"})
def test_the_first_response_is_repeated_after_the_task_has_ended(service: Service, mock: Account) -> None:
    first = service.create(headers=KEY)
    mock.clock.advance(GENERATION + 60)
    assert service.create(headers=KEY).content == first.content


@pytest.mark.contract(id="idempotency.conflict", source=SOURCE, needs={"mock"})
def test_the_same_key_with_another_body_is_a_conflict(service: Service, mock: Account) -> None:
    """The same key with another body is idempotency_conflict, and makes no task."""
    service.created(headers=KEY)
    error = error_of(service.create(headers=KEY, duration=15))
    assert error[:3] == (409, "idempotency_conflict", "invalid_request_error")
    assert len(mock.tasks) == 1


@pytest.mark.contract(id="idempotency.other", source=SOURCE, needs={"mock"})
def test_another_key_makes_another_task(service: Service, mock: Account) -> None:
    service.created(headers=KEY)
    service.created(headers={"Idempotency-Key": "verify-0123456789-abcdeg"})
    assert len(mock.tasks) == 2


@pytest.mark.contract(id="idempotency.accounts", source=SOURCE, needs={"mock", "keys"})
def test_each_account_has_its_own_keys(service: Service, other_service: Service) -> None:
    assert service.created(headers=KEY)["id"] != other_service.created(headers=KEY)["id"]


@pytest.mark.contract(id="idempotency.refusal", source="docs/reference.md, order of checks", needs={"mock"})
def test_a_rejected_create_request_is_not_remembered(service: Service, mock: Account) -> None:
    assert error_of(service.create(headers=KEY, duration=11))[:2] == (400, "invalid_request")
    mock.credits = 0
    assert error_of(service.create(headers=KEY))[:2] == (402, "insufficient_quota")
    mock.credits = 10
    response = service.create(headers=KEY)
    assert (response.status_code, response.headers.get(REPLAYED)) == (200, None)


@pytest.mark.contract(id="idempotency.key.*", claim="a key of * characters is accepted", source=SOURCE, needs={"mock"})
@pytest.mark.parametrize("length", [pytest.param(length, id=str(length)) for length in (16, 96)])
def test_a_key_of_16_to_96_characters_is_accepted(service: Service, length: int) -> None:
    assert service.created(headers={"Idempotency-Key": "k" * length})


@pytest.mark.contract(
    id="idempotency.key.*", claim="a key of * characters is rejected with 400", source=SOURCE, needs={"mock"}
)
@pytest.mark.parametrize("length", [pytest.param(length, id=str(length)) for length in (15, 97)])
def test_a_key_of_another_length_is_rejected(service: Service, length: int) -> None:
    error = error_of(service.create(headers={"Idempotency-Key": "k" * length}))
    assert error[:3] == (400, "invalid_request", "invalid_request_error")
    assert error.param == "Idempotency-Key"


@pytest.mark.contract(id="idempotency.key.letters", source=SOURCE, needs={"mock"})
def test_a_key_has_only_letters_digits_dot_underscore_and_hyphen(service: Service) -> None:
    """A key has only letters, digits, dots, underscores and hyphens."""
    assert service.created(headers={"Idempotency-Key": "aZ09._-aZ09._-aZ09._-"})
    for wrong in ("a b c d e f g h i", "key/with/slashes/0", "key:with:colons:0"):
        error = error_of(service.create(headers={"Idempotency-Key": wrong}))
        assert error[:2] == (400, "invalid_request"), wrong
