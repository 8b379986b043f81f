"""Authentication: every operation needs a key, and the key is checked first."""

from typing import Any

import httpx
import pytest

from contract_tests.orders import CREATE, CREDITS, ORDER, SOME_TASK, WRONG_KEY
from contract_tests.reading import error_of, problems
from contract_tests.service import Service, accepted

UNAUTHORIZED = (401, "unauthorized", "authentication_error")
MESSAGES = {
    "create": "Invalid or expired token",
    "query": "Authentication required",
    "credits": "Authentication required",
}
SOURCES = {
    "create": "published contract, responses 401 of the create request",
    "query": "service documentation, errors of the task query (D)",
    "credits": "service documentation, errors of the task query (D); for credits an assumption",
}
WRONG = {
    "none": ("no key at all", None),
    "wrong": ("an unknown key", f"Bearer {WRONG_KEY}"),
    "empty": ("an empty key", "Bearer"),
    "basic": ("another scheme", "Basic d3Jvbmc6a2V5"),
    "bare": ("a key without a scheme", WRONG_KEY),
    "good_basic": ("the right key under another scheme", "Basic {key}"),
    "good_bare": ("the right key without a scheme", "{key}"),
}
"""The claim about each key, and the header Authorization."""


def request(service: Service, operation: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """A request to an operation."""
    if operation == "create":
        # broken JSON, so that a service that does not check keys still charges nothing
        return service.create(content=b"{", headers=headers)
    return service.get(SOME_TASK if operation == "query" else CREDITS, headers=headers)


@pytest.mark.contract(id="auth.*")
@pytest.mark.parametrize(
    ("operation", "authorization"),
    [
        pytest.param(
            operation,
            header,
            id=f"{operation}.{case}",
            marks=pytest.mark.contract(claim=f"{operation}: {claim} gets 401 unauthorized", source=SOURCES[operation]),
        )
        for operation in SOURCES
        for case, (claim, header) in WRONG.items()
    ],
)
def test_a_wrong_key_gets_401(service: Service, operation: str, authorization: str | None) -> None:
    headers = None if authorization is None else {"Authorization": authorization.format(key=service.key)}
    response = request(service.with_key(None), operation, headers)
    assert error_of(response)[:4] == (*UNAUTHORIZED, MESSAGES[operation])


@pytest.mark.contract(id="auth.before.task_id", source=SOURCES["query"])
def test_a_wrong_key_is_rejected_before_a_bad_task_id(service: Service) -> None:
    response = service.with_key(WRONG_KEY).get("/v1/tasks/nonsense")
    assert error_of(response)[:4] == (*UNAUTHORIZED, MESSAGES["query"])


@pytest.mark.contract(id="auth.before.*", source=SOURCES["create"], needs={"mock"})
@pytest.mark.parametrize("fields", [pytest.param({}, id="valid_body"), pytest.param({"duration": 11}, id="fields")])
def test_a_wrong_key_is_rejected_before_the_body_is_read(service: Service, fields: dict[str, Any]) -> None:
    response = service.with_key(WRONG_KEY).create(**fields)
    assert error_of(response)[:4] == (*UNAUTHORIZED, MESSAGES["create"])


@pytest.mark.contract(
    id="auth.scheme.case", source="RFC 9110, 11.1; published contract, securitySchemes", needs={"mock"}
)
def test_the_name_of_the_scheme_is_not_case_sensitive(service: Service) -> None:
    response = service.with_key(None).get(CREDITS, headers={"Authorization": f"bearer {service.key}"})
    assert response.status_code == 200


@pytest.mark.contract(id="auth.expired", source=SOURCES["create"], needs={"mock", "keys"})
def test_an_expired_key_gets_401_on_every_operation(service: Service) -> None:
    expired = service.with_key("sk-mock-expired-verify")
    for operation, message in MESSAGES.items():
        assert error_of(request(expired, operation))[:4] == (*UNAUTHORIZED, message)
    assert error_of(expired.post(CREATE, json=ORDER))[:2] == (401, "unauthorized")


@pytest.mark.contract(
    id="auth.no_access",
    source="published contract, responses 403 of the create request",
    needs={"mock", "keys"},
)
def test_a_key_without_access_to_the_model_gets_403_and_pays_nothing(service: Service) -> None:
    barred = service.with_key(f"{service.key}".replace("sk-verify-", "sk-mock-no-access-"))
    before = barred.balance()
    message = "Token does not have access to model: sora-2-beta-max"
    assert error_of(barred.create())[:4] == (403, "model_access_denied", "invalid_request_error", message)
    assert barred.balance() == before


@pytest.mark.contract(id="auth.key.works", source="published contract, securitySchemes")
def test_the_right_key_is_accepted(service: Service) -> None:
    assert problems("Credits", accepted(service.get(CREDITS))) == []


@pytest.mark.contract(
    id="auth.scheme.spaces", source="RFC 9110, 11.4; published contract, securitySchemes", needs={"mock"}
)
def test_several_spaces_are_allowed_between_the_scheme_and_the_key(service: Service) -> None:
    statuses = {"Bearer    {key}": 200, "Bearer{key}": 401, "Bearer x {key}": 401}
    for authorization, status in statuses.items():
        headers = {"Authorization": authorization.format(key=service.key)}
        response = service.with_key(None).get(CREDITS, headers=headers)
        assert response.status_code == status, authorization
