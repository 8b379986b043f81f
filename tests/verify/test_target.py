"""What `verify` does with a server that is neither a mock nor the service as its contract describes it."""

from contextlib import nullcontext
from typing import Any

import httpx
import pytest

from contract_tests.service import check_live
from sora_mock.verify.exits import Stop
from sora_mock.verify.target import FINDING, is_documented, is_mock
from tests.contract.faults.responses import CREDITS, Change, Response, error
from tests.guard.live import REAL, Posing, posing_app
from tests.verify.running import suite, verify

LOCATION = "https://moved.example/login"


def always(status: int, body: bytes, **headers: str) -> Change:
    """Every response is this one."""

    def change(response: Response) -> None:
        response.status, response.body = status, body
        response.headers = {"content-length": str(len(body)), **headers}

    return change


FLAT = always(404, b'{"detail":"Not Found"}', **{"content-type": "application/json"})
PAGE = always(403, b"<html>Attention Required!</html>", **{"content-type": "text/html"})
MOVED = always(301, b"", location=LOCATION)
DOWN = always(503, b"<html>Unavailable</html>", **{"content-type": "text/html"})


def sent_keys(front: Posing) -> list[bytes]:
    """The keys of all later requests to the service."""
    keys: list[bytes] = []
    front.before = lambda scope: keys.extend(value for name, value in scope["headers"] if name == b"authorization")
    return keys


def test_another_address_than_the_documented_one_gets_the_key_only_after_live() -> None:
    with posing_app() as (url, front):
        keys = sent_keys(front)
        code, out, err = verify(url, "--max-credits", "6")
        assert (code, out, keys, front.spent) == (2, "", [], 0)
        assert len(err.splitlines()) == 1
        assert "add --live, which sends it the key in EVOLINK_API_KEY" in err
        code, out, err = verify(url, "--live", "--only", "auth.key.works")
        assert (code, keys) == (0, [f"Bearer {REAL}".encode()]), out + err


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.evolink.ai", True),
        ("https://api.evolink.ai/", True),
        ("https://api.evolink.ai/v9", True),
        ("http://api.evolink.ai", False),
        ("https://api.evolink.ai.example", False),
        ("https://api.evolink.ai:8443", False),
        ("https://example.com/https://api.evolink.ai", False),
    ],
)
def test_the_documented_address_is_that_of_the_contract_with_its_scheme_and_port(url: str, expected: bool) -> None:
    assert is_documented(url) is expected


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (FLAT, 2, "neither a mock nor the service: GET /v1/credits gets 404 with JSON that has neither an error nor"),
        (PAGE, 2, "neither a mock nor the service: GET /v1/credits gets 403 without JSON"),
        (MOVED, 2, f"neither a mock nor the service: GET /v1/credits gets 301 to '{LOCATION}'"),
        (DOWN, 5, "responds with 503"),
    ],
    ids=["flat", "page", "moved", "down"],
)
def test_without_live_another_program_is_no_service(change: Change, code: int, reason: str) -> None:
    with posing_app(change) as (url, _):
        with pytest.raises(Stop) as stop:
            is_mock(url)
        assert is_mock(url, is_live=True) is False
    assert stop.value.code == code
    assert reason in str(stop.value)


def test_an_error_of_the_service_that_is_down_is_5_with_live_too() -> None:
    down = always(503, b'{"error":{"code":"service_unavailable"}}', **{"content-type": "application/json"})
    with posing_app(down) as (url, _), pytest.raises(Stop) as stop:
        is_mock(url, is_live=True)
    assert stop.value.code == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (FLAT, "404 has not the documented envelope"),
        (PAGE, "403 is not JSON but 'text/html': <html>Attention Required!"),
        (MOVED, f"301 redirects to {LOCATION}"),
    ],
    ids=["flat", "page", "moved"],
)
def test_with_live_a_response_that_is_not_the_documented_one_is_a_finding_and_nothing_is_bought(
    change: Change, reason: str
) -> None:
    with posing_app(change) as (url, front):
        flags = ("--live", "--max-credits", "6", "--only", "creation.fixed", "--only", "auth.query.none")
        code, out, err = verify(url, *flags)
        assert (code, front.spent) == (1, 0), out + err
    assert reason in out


def test_a_response_with_the_key_fails_the_rule_and_the_guard_prints_a_finding() -> None:
    with posing_app(error(401, CREDITS, message=f"bad key {REAL}")) as (url, _):
        code, out, err = verify(url, "--live", "--only", "auth.credits.good_bare", "--only", "auth.query.none")
    assert code == 1
    assert "the response contained the API key" in out
    assert "1 passed, 1 failed" in out
    assert "finding: the response to GET /v1/credits contained the key" in err
    assert REAL not in out + err


def test_several_processes_under_pytest_are_2() -> None:
    with posing_app() as (url, front):
        keys = sent_keys(front)
        done = suite("--base-url", url, "--live", "--max-credits", "6", "-n", "2", key=REAL)
        assert (done.returncode, keys, front.spent) == (2, [], 0)
    assert "one process" in done.stdout + done.stderr


def envelope(status: int, code: str, type: str) -> dict[str, Any]:
    """An error of the service, as arguments of a response."""
    return {"status_code": status, "json": {"error": {"code": code, "message": "x", "type": type}}}


LIMIT = envelope(429, "rate_limit_exceeded", "evo_api_error")


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"status_code": 200, "json": {}}, nullcontext()),
        (envelope(404, "task_not_found", "invalid_request_error"), nullcontext()),
        (LIMIT, pytest.raises(pytest.skip.Exception, match="rate limit")),
        (LIMIT | {"headers": {"retry-after": "3"}}, pytest.raises(pytest.skip.Exception)),
        (
            LIMIT | {"headers": {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}},
            pytest.raises(pytest.skip.Exception),
        ),
        (LIMIT | {"headers": {"retry-after": "soon"}}, pytest.raises(AssertionError, match="Retry-After")),
        (envelope(429, "slow_down", "evo_api_error"), pytest.raises(AssertionError)),
        (envelope(429, "rate_limit_exceeded", "api_error"), pytest.raises(AssertionError)),
        ({"status_code": 429, "json": {"detail": "slow down"}}, pytest.raises(pytest.fail.Exception)),
        ({"status_code": 429, "text": "slow down"}, pytest.raises(pytest.fail.Exception, match="is not JSON")),
        (envelope(402, "insufficient_quota", "insufficient_quota"), pytest.raises(pytest.skip.Exception)),
        (envelope(402, "pay", "insufficient_quota"), pytest.raises(AssertionError)),
        ({"status_code": 200, "json": {}, "headers": {FINDING: "key"}}, pytest.raises(pytest.fail.Exception)),
    ],
)
def test_a_live_response_is_checked_before_it_counts_as_no_proof(given: dict[str, Any], outcome: Any) -> None:
    response = httpx.Response(**given, request=httpx.Request("GET", "http://127.0.0.1/v1/credits"))
    with outcome:
        check_live(response)


def test_a_redirect_of_a_link_is_not_one_of_the_service() -> None:
    response = httpx.Response(
        302, headers={"location": LOCATION}, request=httpx.Request("GET", "https://files.example/")
    )
    check_live(response, is_api=False)
    with pytest.raises(pytest.fail.Exception, match=LOCATION):
        check_live(response)
