"""One request in several spellings: query strings and percent signs in its path, its body as other JSON."""

import httpx
import pytest

from contract_tests.orders import CREATE, CREDITS, GENERATION, ORDER
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from sora_mock.client import Account
from sora_mock.verify.rule import TEN_SECONDS

HEADER = "X-Mock-Scenario"


@pytest.mark.contract(
    id="route.query_string", source="RFC 3986, 2.3 and 3.4; no operation documents a query", needs={"mock"}
)
def test_the_query_string_is_ignored_and_a_percent_encoded_path_is_decoded(service: Service, mock: Account) -> None:
    """The query string is ignored, and a percent-encoded path is decoded, on every operation and on a file.

    An encoded question mark is part of the path.
    """
    task_id = accepted(service.post(f"{CREATE}?duration=15", json=ORDER))["id"]
    assert service.balance()[0] == round(1000 - TEN_SECONDS, 4)
    for path in (f"/v1/tasks/{task_id}?x=1", f"/v1/tasks/{task_id.replace('-', '%2D')}", f"/v1/tasks/{task_id}?"):
        assert accepted(service.get(path))["id"] == task_id, path
    for path in (f"{CREDITS}?a=b&c", "/v1/c%72edits", f"{CREDITS}?"):
        assert service.get(path).status_code == 200, path
    mock.clock.advance(GENERATION)
    link = httpx.URL(service.task(task_id)["results"][0]).path
    assert service.with_key(None).get(f"{link}?download=1").status_code == 200
    for path in (f"{CREDITS}%3Fa", f"{CREDITS}%20", f"/v1/tasks/{task_id}%2F"):
        assert service.get(path).status_code == 404, path


@pytest.mark.contract(id="idempotency.same", source="docs/fidelity.md (an assumption)", needs={"mock"})
def test_an_equal_create_request_in_another_spelling_is_the_same(service: Service, mock: Account) -> None:
    """An equal create request in another spelling is the same: spaces, order of names, 10.0, explicit defaults.

    A repeated response uses no rule of the queue.
    """
    key = {"Idempotency-Key": "verify-0123456789-abcdef"}
    body = b'{"model":"sora-2-beta-max","prompt":"x"}'
    spellings = (
        b' {"prompt" : "x",\n"model":"sora-2-beta-max"} ',
        b'{"prompt":"x","model":"sora-2-beta-max","duration":10}',
        b'{"duration":10.0,"prompt":"\\u0078","model":"sora-2-beta-max"}',
    )
    first = service.create(content=body, headers=key)
    accepted(first)
    mock.clear_scenarios()
    mock.scenario("slow")
    for spelling in spellings:
        response = service.create(content=spelling, headers=key)
        assert (response.status_code, response.content) == (200, first.content), spelling
        assert response.headers.get(HEADER) == first.headers.get(HEADER), spelling
    for other in (b'{"model":"sora-2-beta-max","prompt":"y"}', body[:-1] + b',"z":1}'):
        assert error_of(service.create(content=other, headers=key))[:2] == (409, "idempotency_conflict"), other
    assert len(mock.call("GET", "/scenarios")["queue"]) == 1
    assert error_of(service.create(content=b"{", headers=key))[:2] == (400, "invalid_request")
    mock.credits = 0
    assert service.create(content=body, headers=key).content == first.content, "without credit"
