"""A bug of the mock itself: the client gets the documented 500, and the journal, the log and later requests go on."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sora_mock.api.endpoint import Operation, ServiceRoute
from sora_mock.app import create_app
from sora_mock.domain.contract import QUERY
from sora_mock.domain.events import BugFound
from sora_mock.domain.exchange import ApiResponse, Exchange
from sora_mock.service.context import Service

HEADERS = {"Authorization": "Bearer sk-a", "Origin": "http://app.example"}


def broken(service: Service, exchange: Exchange) -> ApiResponse:
    raise RuntimeError("no value for sk-SECRET")


async def broken_control(request: Request) -> Response:
    raise KeyError("nothing")


class HalfSent:
    """An endpoint that fails when its response has begun."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")


def broken_app() -> tuple[Starlette, list[str]]:
    """The application with three endpoints that fail, and the tracebacks that it publishes."""
    app, tracebacks = create_app(seed=1, cors="http://app.example"), list[str]()
    app.router.routes[:0] = [
        ServiceRoute("/v1/broken", Operation(app.state.service, broken, QUERY), methods=["GET"]),
        Route("/v1/half-sent", HalfSent()),
        Route("/__mock/broken", broken_control),
    ]
    app.state.events.subscribe(BugFound, lambda event: tracebacks.append(event.traceback))
    return app, tracebacks


def responses(app: Starlette, *paths: str, headers: dict[str, str] = HEADERS) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(send())


def journaled(app: Starlette) -> list[tuple[str, int]]:
    service: Service = app.state.service
    return [(each.path, each.status) for each in service.storage.account("sk-a").journal]


def test_a_bug_is_the_documented_500_with_cors_and_journal_and_the_server_goes_on() -> None:
    app, tracebacks = broken_app()
    failed, later = responses(app, "/v1/broken", "/v1/credits")
    assert failed.status_code == 500
    assert failed.json()["error"] == {
        "code": "internal_error",
        "message": "Failed to retrieve task status",
        "type": "api_error",
    }
    assert failed.headers["access-control-allow-origin"] == "http://app.example"
    assert later.status_code == 200
    assert journaled(app) == [("/v1/broken", 500), ("/v1/credits", 200)]
    assert len(tracebacks) == 1


def test_the_traceback_of_a_bug_is_published_without_keys() -> None:
    app, tracebacks = broken_app()
    responses(app, "/v1/broken")
    [traceback] = tracebacks
    assert "in broken" in traceback
    assert traceback.rstrip().endswith("RuntimeError: no value for sk-***")


def test_a_bug_of_the_control_api_has_its_envelope_and_is_not_journaled() -> None:
    app, tracebacks = broken_app()
    [failed] = responses(app, "/__mock/broken", headers={"Authorization": "Bearer sk-a"})
    assert failed.status_code == 500
    assert failed.json()["error"] == {"code": "internal_error", "message": "a bug of sora-mock; see its output"}
    assert journaled(app) == []
    assert "KeyError: 'nothing'" in tracebacks[0]


def test_a_response_that_has_begun_is_broken_off() -> None:
    app, tracebacks = broken_app()
    with pytest.raises(RuntimeError, match="too late"):
        responses(app, "/v1/half-sent")
    assert len(tracebacks) == 1


def test_a_bug_of_a_subscriber_does_not_cost_the_client_its_response() -> None:
    app, tracebacks = broken_app()

    def fail(exchange: Exchange) -> None:
        raise ValueError("a subscriber with a bug")

    app.state.events.subscribe(Exchange, fail)
    [response] = responses(app, "/v1/credits")
    assert response.status_code == 200
    assert "a subscriber with a bug" in tracebacks[0]


def test_a_connection_that_a_scenario_resets_in_process_is_no_bug() -> None:
    app, tracebacks = broken_app()
    with pytest.raises(ConnectionResetError):
        responses(app, "/v1/credits", headers={**HEADERS, "X-Mock-Scenario": "connection_reset"})
    assert tracebacks == []


def test_a_client_that_leaves_within_the_body_of_a_control_request_is_no_bug() -> None:
    app, tracebacks = broken_app()
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    path = "/__mock/clock/advance"
    headers = [(b"host", b"localhost"), (b"content-length", b"9")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "headers": headers,
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({**scope, "raw_path": path.encode(), "query_string": b"", "root_path": ""}, receive, send))
    assert (tracebacks, sent) == ([], [])
