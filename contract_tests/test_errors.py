"""Errors: the envelope on every operation, task ids, bodies without a create request, unknown routes."""

import pytest

from contract_tests.orders import CREATE, CREDITS, SOME_TASK, WRONG_KEY
from contract_tests.reading import error_of, json_of, problems
from contract_tests.service import Service, accepted
from sora_mock.verify.rule import REJECTION_BUDGET

QUERY_ERRORS = "service documentation, errors of the task query (D)"
ERRORS = "published contract, ErrorResponse"
BODIES = "published contract, requestBody and responses 400 of the create request"
ROUTES = "clients of the service, wrong routes (C)"
INVALID = (400, "invalid_request", "invalid_request_error")


@pytest.mark.contract(id="envelope.fits", source=ERRORS)
def test_every_kind_of_error_has_the_shape_error_response(service: Service) -> None:
    """Every kind of error has the shape ErrorResponse."""
    for response in (
        # broken JSON, so that a service that does not check it still charges nothing
        service.create(content=b"{"),
        service.with_key(WRONG_KEY).get(CREDITS),
        service.get("/v1/tasks/task-unified-1000000000-00000000"),
        service.get("/v1/tasks/nonsense"),
    ):
        assert 400 <= response.status_code < 500, response.request.url
        assert problems("ErrorResponse", json_of(response)) == [], response.request.url


@pytest.mark.contract(
    id="envelope.500", source=f"published contract, responses 500; {QUERY_ERRORS}", needs={"mock", "keys"}
)
def test_an_internal_error_has_the_500_of_the_operation(service: Service) -> None:
    broken = service.with_key("sk-mock-broken-verify")
    internal = (500, "internal_error", "api_error")
    assert error_of(broken.create())[:4] == (*internal, "Internal server error")
    assert error_of(broken.get(SOME_TASK))[:4] == (*internal, "Failed to retrieve task status")


@pytest.mark.contract(id="query.id.prefix", source=QUERY_ERRORS)
def test_a_task_id_without_the_prefix_gets_400_invalid_task_id(service: Service) -> None:
    """An id without the prefix gets 400 invalid_task_id."""
    message = "Invalid task ID format, must start with 'task-unified-'"
    for wrong in ("nonsense", "task-unifie-1", "Task-unified-1757169743-7cvnl5zw", "xtask-unified-1", "task_unified-1"):
        error = error_of(service.get(f"/v1/tasks/{wrong}"))
        assert error == (400, "invalid_task_id", "invalid_request_error", message, "task_id"), wrong


@pytest.mark.contract(id="query.id.*", source=QUERY_ERRORS)
@pytest.mark.parametrize(
    "task_id",
    [
        pytest.param(
            task_id,
            id=name,
            marks=pytest.mark.contract(claim=f"an id with the prefix that does not exist gets 404: {task_id[:40]}"),
        )
        for name, task_id in {
            "unknown": "task-unified-1000000000-00000000",
            "prefix_alone": "task-unified-",
            "short": "task-unified-1",
            "other_letters": "task-unified-1757169743-ABCDEFGH",
            "long": "task-unified-" + "9" * 300,
        }.items()
    ],
)
def test_an_unknown_task_id_gets_404(service: Service, task_id: str) -> None:
    message = "The requested task could not be found"
    error = error_of(service.get(f"/v1/tasks/{task_id}"))
    assert error[:4] == (404, "task_not_found", "invalid_request_error", message)


@pytest.mark.contract(id="create.body.*", source=BODIES)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, id=name, marks=pytest.mark.contract(claim=f"{claim} gets 400 invalid_request"))
        for name, claim, content in (
            ("empty", "an empty body", b""),
            ("blank", "a body of white space", b" \r\n\t "),
            ("open", "JSON that is not closed", b"{"),
            ("text", "a body that is no JSON", b"model=sora-2-beta-max"),
            ("utf8", "a body that is not UTF-8", b'"\xff\xfe"'),
            ("number", "a number", b"1"),
            ("string", "a text", b'"sora-2-beta-max"'),
            ("null", "null", b"null"),
        )
    ],
)
def test_a_body_in_which_no_parser_finds_a_create_request_gets_400(service: Service, content: bytes) -> None:
    assert error_of(service.create(content=content))[:3] == INVALID


@pytest.mark.contract(id="create.body.*", source=BODIES, needs={REJECTION_BUDGET})
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, id=name, marks=pytest.mark.contract(claim=f"{claim} gets 400 invalid_request"))
        for name, claim, content in (
            ("list", "a list", b"[]"),
            ("list_of_order", "a create request inside a list", b'[{"model":"sora-2-beta-max","prompt":"x"}]'),
            ("object", "an object without fields", b"{}"),
            ("trailing", "a create request with text after it", b'{"model":"sora-2-beta-max","prompt":"x"} x'),
            ("single_quotes", "a create request in single quotes", b"{'model':'sora-2-beta-max','prompt':'x'}"),
            ("trailing_comma", "a comma before the end", b'{"model":"sora-2-beta-max","prompt":"x",}'),
            ("nan", "NaN", b'{"model":"sora-2-beta-max","prompt":"x","duration":NaN}'),
        )
    ],
)
def test_a_body_that_a_lax_service_might_accept_gets_400(service: Service, content: bytes) -> None:
    assert error_of(service.create(content=content))[:3] == INVALID


@pytest.mark.contract(id="route.unknown", source=ROUTES)
def test_an_unknown_route_gets_404_and_is_named(service: Service) -> None:
    """An unknown route gets 404 with a message that contains `Invalid URL (METHOD PATH)`."""
    # a client of the service falls back to another route when it sees that text
    for path in (f"{CREATE}/task-unified-1757169743-7cvnl5zw", "/v1/nonsense", "/v1/videos"):
        error = error_of(service.get(path))
        assert (error.status, error.type) == (404, "invalid_request_error"), path
        assert f"Invalid URL (GET {path})" in error.message


@pytest.mark.contract(id="route.unknown.post", source=ROUTES)
def test_an_unknown_route_gets_404_for_a_post_too(service: Service) -> None:
    """An unknown route gets 404 for a POST too, and the message has the method."""
    error = error_of(service.post("/v1/video/generations", content=b"{"))
    assert error[:2] == (404, "invalid_url")
    assert "Invalid URL (POST /v1/video/generations)" in error.message


@pytest.mark.contract(
    id="route.method",
    source="RFC 9110, 15.5.6; the envelope is an assumption (docs/fidelity.md)",
    needs={"mock"},
)
def test_another_method_on_a_known_route_gets_405(service: Service) -> None:
    """Another method on a known route is rejected in the envelope, and the response names the allowed one."""
    for method, path, allowed in (
        ("GET", CREATE, "POST"),
        ("PUT", CREATE, "POST"),
        ("DELETE", SOME_TASK, "GET"),
        ("POST", SOME_TASK, "GET"),
        ("POST", CREDITS, "GET"),
    ):
        response = service.request(method, path)
        assert error_of(response)[:3] == (405, "method_not_allowed", "invalid_request_error"), (method, path)
        assert response.headers.get("allow") == allowed, (method, path)


@pytest.mark.contract(id="query.slash", source=ROUTES, needs={"mock"})
def test_a_path_with_a_slash_too_many_is_an_unknown_route(service: Service) -> None:
    """A path with a slash too many is an unknown route, not a redirect."""
    paths = ["/v1/credits/", "/v1/tasks/", "/v1/tasks/a/b"]
    assert {path: service.get(path).status_code for path in paths} == dict.fromkeys(paths, 404)


@pytest.mark.contract(id="credits.shape", source="service documentation, credits (D)")
def test_the_balance_has_the_documented_shape(service: Service) -> None:
    credits = accepted(service.get(CREDITS))
    assert problems("Credits", credits) == []
    assert credits["success"] is True
    assert credits["message"] == ""
