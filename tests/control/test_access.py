"""Who may use the control API: local programs and pages, holders of the token, and no stranger's page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from sora_mock.server import MockServer
from tests.conftest import Api

CLOCK = "/__mock/clock"
TOKEN = {"X-Mock-Token": "secret token"}
FOREIGN = {"Host": "mock.evil.example"}

CALLS = [
    ("GET", "/__mock/clock"),
    ("PATCH", "/__mock/clock"),
    ("POST", "/__mock/clock/advance"),
    ("GET", "/__mock/account"),
    ("PATCH", "/__mock/account"),
    ("GET", "/__mock/tasks"),
    ("POST", "/__mock/tasks/task-unified-x/finish"),
    ("GET", "/__mock/requests"),
    ("POST", "/__mock/reset"),
    ("GET", "/__mock/nothing"),
]


@contextmanager
def serving(**settings: Any) -> Iterator[httpx.Client]:
    """A server with settings of its own, called by a loopback name."""
    with MockServer(port=0, **settings) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def closed() -> Iterator[httpx.Client]:
    """A server on every address, without a token."""
    with serving(host="0.0.0.0") as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A server on every address, with a token."""
    with serving(host="0.0.0.0", control_token="secret token") as client:
        yield client


def get(client: httpx.Client, path: str = CLOCK, **headers: str) -> int:
    return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code


def assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message"}


# --- Host ---


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:4010",
        "LocalHost:1",
        "127.0.0.1",
        "127.0.0.1:65535",
        "[::1]",
        "[::1]:4010",
        "localhost:",
    ],
)
def test_a_loopback_name_is_the_servers_own_on_any_port(client: httpx.Client, host: str) -> None:
    assert get(client, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4010",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "10.0.0.1",
        "[::2]",
        "[",
        "]",
        "",
        ":4010",
        "localhost,evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "\u00e9vil",
    ],
)
def test_another_host_is_refused(client: httpx.Client, host: str) -> None:
    assert_refused(client.get(CLOCK, headers={b"Host": host.encode("latin-1")}))


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_another_host_is_refused_on_every_control_call(client: httpx.Client, method: str, path: str) -> None:
    assert_refused(client.request(method, path, headers=FOREIGN))


def test_another_host_may_use_the_emulated_service(api: Api) -> None:
    assert api.create(headers=FOREIGN).status_code == 200


def test_the_host_of_the_settings_is_the_servers_own() -> None:
    with serving(host="127.0.0.1") as client:
        assert get(client, Host="127.0.0.1:9") == 200


def test_the_host_of_the_public_url_is_the_servers_own() -> None:
    with serving(public_url="https://Mock.Example:8443/below") as client:
        assert get(client, Host="mock.example") == 200
        assert get(client, Host="MOCK.example:1") == 200
        assert get(client, Origin="https://mock.example") == 200
        assert get(client, Host="sub.mock.example") == 403


# --- Origin ---


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "https://127.0.0.1:1", "http://[::1]:3000", "HTTP://LOCALHOST"],
)
def test_a_local_page_may_call(client: httpx.Client, origin: str) -> None:
    assert get(client, Origin=origin) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://localhost.evil.example",
        "http://evil.example:4010",
        "http://localhost@evil.example",
        "null",
        "",
        "file://",
        "localhost",
        "http://[",
        "http://[::1",
        "http://[x]",
        "http://evil.example http://localhost",
        "chrome-extension://abcdefgh",
    ],
)
def test_a_page_of_another_origin_is_refused(client: httpx.Client, origin: str) -> None:
    assert_refused(client.get(CLOCK, headers={"Origin": origin}))


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_another_origin_is_refused_on_every_control_call(client: httpx.Client, method: str, path: str) -> None:
    assert_refused(client.request(method, path, headers={"Origin": "http://evil.example"}))


def test_a_refused_write_does_nothing(api: Api) -> None:
    before = api.account.call("GET", "/clock")
    for headers in (FOREIGN, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert_refused(api.request("POST", "/__mock/clock/advance", json={"seconds": 5}, headers=headers))
    assert api.account.call("GET", "/clock") == before


# --- Sec-Fetch-Site ---


def test_a_cross_site_call_is_refused(client: httpx.Client) -> None:
    assert_refused(client.get(CLOCK, headers={"Sec-Fetch-Site": "cross-site"}))


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_any_other_call_of_a_browser_is_let_in(client: httpx.Client, site: str) -> None:
    assert get(client, Sec_Fetch_Site=site) == 200


# --- beyond loopback, without a token ---


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_beyond_loopback_every_path_needs_a_token(closed: httpx.Client, method: str, path: str) -> None:
    assert_refused(closed.request(method, path))
    assert_refused(closed.request(method, path, headers=TOKEN))
    assert_refused(closed.request(method, path, headers={"X-Mock-Token": ""}))
    assert_refused(closed.request(method, path, headers={"Authorization": "Bearer sk-a"}))


def test_beyond_loopback_health_responds(closed: httpx.Client) -> None:
    assert closed.get("/__mock/health").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/__mock/health/", "/__mock/health/../clock", "/__mock/healthy", "/__mock//health"])
def test_only_health_itself_is_open(closed: httpx.Client, path: str) -> None:
    assert closed.get(path).status_code in (403, 404)


def test_beyond_loopback_the_emulated_service_responds(closed: httpx.Client) -> None:
    assert Api(closed, "sk-a").create().status_code == 200


# --- with a token ---


@pytest.mark.parametrize(
    ("method", "path"), [call for call in CALLS if call[0] == "GET" and not call[1].endswith("/nothing")]
)
def test_the_right_token_opens_the_control_api(guarded: httpx.Client, method: str, path: str) -> None:
    assert guarded.request(method, path, headers=TOKEN).status_code == 200


@pytest.mark.parametrize("token", [None, "", "wrong", "secret", "secret token2", "SECRET TOKEN", "secret tok\u00e9n"])
def test_a_wrong_token_opens_nothing(guarded: httpx.Client, token: str | None) -> None:
    headers = {} if token is None else {b"X-Mock-Token": token.encode("latin-1")}
    for method, path in CALLS:
        assert_refused(guarded.request(method, path, headers=headers))


def test_health_needs_no_token(guarded: httpx.Client) -> None:
    assert guarded.get("/__mock/health").status_code == 200


def test_the_right_token_exempts_from_the_host_check(guarded: httpx.Client) -> None:
    assert guarded.get(CLOCK, headers={**TOKEN, **FOREIGN}).status_code == 200


def test_the_right_token_does_not_exempt_from_the_origin_check(guarded: httpx.Client) -> None:
    assert_refused(guarded.get(CLOCK, headers={**TOKEN, "Origin": "http://evil.example"}))


def test_a_wrong_token_does_not_exempt_from_the_host_check(guarded: httpx.Client) -> None:
    assert_refused(guarded.get(CLOCK, headers={"X-Mock-Token": "wrong", **FOREIGN}))


def test_the_token_exempts_from_the_host_check_on_loopback_too() -> None:
    with serving(control_token="secret token") as client:
        assert client.get(CLOCK, headers={**TOKEN, **FOREIGN}).status_code == 200
        assert_refused(client.get(CLOCK, headers=FOREIGN))


def test_a_token_is_not_the_key_of_an_account(guarded: httpx.Client) -> None:
    assert guarded.get("/v1/credits", headers=TOKEN).status_code == 401


def test_a_token_does_not_reach_the_journal() -> None:
    with serving(control_token="secret token") as client:
        client.get("/v1/credits", headers=TOKEN)
        assert "secret token" not in client.get("/__mock/requests", headers=TOKEN).text
