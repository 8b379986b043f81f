"""`GET /__mock/requests`: what it shows of each request, and that it shows no key."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sora_mock.control.requests import view
from sora_mock.domain.exchange import Exchange
from sora_mock.server import MockServer
from sora_mock.storage.journal import Journal
from tests.frozen import ORDER

KEY = {"Authorization": "Bearer sk-a"}


@pytest.fixture(scope="module")
def running() -> Iterator[httpx.Client]:
    with MockServer(port=0, seed=1, frozen_clock=True) as server:
        with httpx.Client(base_url=server.url) as client:
            yield client


@pytest.fixture
def own(running: httpx.Client) -> httpx.Client:
    """The server after a reset."""
    running.post("/__mock/reset")
    return running


def listed(client: httpx.Client, **headers: str) -> Any:
    return client.get("/__mock/requests", headers=headers).json()["requests"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"sk-evo-SECRET"}',
        b'{"\\u0073k-evo-SECRET":1}',
        b'{"\\u0073k-evo-SECRET": ',
        b'{"a":"\\u0073k-evo-SECRET","b":"' + b"x" * 20_000 + b'"}',
        b"sk-evo;SECRET&SECRET,SECRET",
        b"Bearer sk-evo-SECRET and more",
    ],
)
def test_no_spelling_of_a_key_is_shown(body: bytes) -> None:
    journal = Journal()
    journal.append(
        Exchange(
            "POST",
            "/sk-evo-SECRET;SECRET",
            {b"x": b"sk-evo-SECRET"},
            body,
            status=200,
            response_body=body,
            unmatched=("prompt 'sk-evo-SECRET' does not match",),
        )
    )
    assert "SECRET" not in str([view(exchange) for exchange in journal])


@pytest.mark.parametrize("header", ["authorization", "proxy-authorization", "cookie", "x-mock-token"])
def test_a_header_that_holds_a_secret_is_hidden_whole(header: str) -> None:
    shown = view(Exchange("GET", "/", {header.encode(): b"no key at all"}, status=200))
    assert shown["headers"] == {header: "***"}


def test_the_number_counts_the_requests_of_all_accounts_and_of_none(own: httpx.Client) -> None:
    before = own.get("/v1/credits").status_code, listed(own)[0]["number"]
    own.get("/v1/credits", headers=KEY)
    own.get("/v1/credits", headers={"Authorization": "Bearer sk-b"})
    own.get("/nothing")
    assert before[0] == 401
    assert [each["number"] - before[1] for each in listed(own)] == [3, 2, 1, 0]
    assert [each["number"] - before[1] for each in listed(own, **KEY)] == [1]


def test_the_first_request_of_a_server_has_number_1() -> None:
    with MockServer(port=0) as server, httpx.Client(base_url=server.url) as client:
        client.get("/__mock/health")
        client.get("/v1/credits")
        assert [each["number"] for each in listed(client)] == [1]


def test_a_request_that_needs_no_hint_has_none(own: httpx.Client) -> None:
    own.post("/v1/videos/generations", headers=KEY, json=ORDER)
    assert listed(own)[0]["hint"] is None


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status", "hint"),
    [
        ("GET", "/v1/credits", "Bearer 12345", None, 401, "keys begin with sk-"),
        ("GET", "/v1/credits", "Bearer Sk-12345", None, 401, "keys begin with sk-"),
        ("GET", "/credits", "Bearer sk-a", None, 404, "the base URL may lack /v1"),
        ("GET", "/tasks/task-unified-1", "Bearer sk-a", None, 404, "the base URL may lack /v1"),
        ("POST", "/videos/generations", "Bearer sk-a", ORDER, 404, "the base URL may lack /v1"),
        ("GET", "/v1/videos", "Bearer sk-a", None, 404, None),
        (
            "POST",
            "/v1/videos/generations",
            "Bearer sk-a",
            {**ORDER, "callback_url": "http://localhost:3000/hook"},
            400,
            "use the inbox or --callback-route",
        ),
        (
            "POST",
            "/v1/videos/generations",
            "Bearer sk-a",
            {**ORDER, "callback_url": "https://127.0.0.1/hook"},
            400,
            "use the inbox or --callback-route",
        ),
        ("POST", "/v1/videos/generations", "Bearer sk-a", {**ORDER, "callback_url": "https://10.0.0.1/"}, 400, None),
        (
            "POST",
            "/v1/videos/generations",
            "Bearer sk-a",
            {**ORDER, "callback_url": "https://receiver:9000/hook"},
            400,
            "use the inbox or --callback-route",
        ),
    ],
)
def test_a_mistake_that_is_easy_to_mend_has_a_hint(
    own: httpx.Client, method: str, path: str, key: str, body: Any, status: int, hint: str | None
) -> None:
    response = own.request(
        method, path, headers={"Authorization": key}, content=None if body is None else json.dumps(body)
    )
    assert response.status_code == status
    shown = listed(own)[0]["hint"]
    assert shown is None if hint is None else shown.startswith(hint)


def test_a_client_that_does_not_wait_gets_a_hint(own: httpx.Client) -> None:
    own.patch("/__mock/account", headers=KEY, json={"rate_limit": "1/minute"})

    def poll() -> Any:
        status = own.get("/v1/credits", headers=KEY).status_code
        return status, listed(own)[0]["hint"]

    assert poll() == (200, None)
    assert poll() == (429, None)
    assert poll() == (429, "the client does not wait as long as Retry-After says")
    own.post("/__mock/clock/advance", headers=KEY, json={"seconds": 60})
    assert poll() == (200, None)
    assert poll() == (429, None)
