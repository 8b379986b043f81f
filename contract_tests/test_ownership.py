"""Tasks of other accounts."""

import pytest

from contract_tests.orders import GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service
from sora_mock.client import Account

SOURCE = "service documentation, errors of the task query (D)"


@pytest.mark.contract(id="foreign.query", source=SOURCE, needs={"keys"})
def test_a_task_of_another_account_gets_403(service: Service, mock: Account, other_service: Service) -> None:
    """Another account's task gets 403 permission_denied at every age, by the clock of either account."""
    other = Account(service.target.url, f"{other_service.key}")
    message = "You don't have permission to access this task"
    task_id, errors = service.created()["id"], []
    for step in (0, 5, GENERATION):
        mock.clock.advance(step)
        errors.append(error_of(other_service.get(f"/v1/tasks/{task_id}"))[:4])
        other.clock.advance(step)
        errors.append(error_of(other_service.get(f"/v1/tasks/{task_id}"))[:4])
    assert errors == [(403, "permission_denied", "invalid_request_error", message)] * 6
    assert service.task(task_id)


@pytest.mark.contract(id="foreign.money", source="service documentation, credits (D)", needs={"keys", "ledger"})
def test_a_task_costs_another_account_nothing(service: Service, mock: Account, other_service: Service) -> None:
    service.created()
    mock.clock.advance(GENERATION)
    assert other_service.balance() == (1000, 0)


@pytest.mark.contract(id="foreign.own", source=SOURCE, needs={"keys"})
def test_each_account_sees_its_own_task_alone(service: Service, other_service: Service) -> None:
    """Each account sees its own task, and only that."""
    own, foreign = service.created()["id"], other_service.created()["id"]
    assert service.task(own)["id"] == own
    assert other_service.task(foreign)["id"] == foreign
    assert error_of(service.get(f"/v1/tasks/{foreign}"))[:2] == (403, "permission_denied")
