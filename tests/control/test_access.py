"""Who may use the control API: local programs and pages, holders of the token, and no stranger's page."""

import socket
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


# --- raw requests, in forms that no HTTP client library sends ---


def refused(server: MockServer, target: str = CLOCK, *headers: str, version: str = "1.1") -> bool:
    """Whether a request with exactly these headers gets 403, or 400 for a target that is no URL; otherwise 200."""
    raw = "\r\n".join([f"GET {target} HTTP/{version}", *headers, "Connection: close", "", ""]).encode("latin-1")
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 20) as connection:
        connection.sendall(raw)
        received = b""
        while part := connection.recv(65536):
            received += part
    status = received.split()[1]
    assert status in (b"200", b"403") or (status == b"400" and "://" in target), received
    return status != b"200"


LOCAL = "Host: localhost"


@pytest.mark.parametrize(
    "host",
    [
        "evil@localhost",
        "localhost#.evil",
        "localhost?.evil",
        "localhost/.evil",
        "localhost\\.evil",
        "localhost:evil",
        "localhost:0",
        "localhost:65536",
        "localhost:99999999",
        "localhost:80:80",
        "localhost.",
        "localhost%00",
        "localhost evil",
        "[::1%25lo]",
        "[::1]evil",
        "::1",
        "localhost\xa0",
    ],
)
def test_an_odd_form_of_a_host_is_refused(server: MockServer, host: str) -> None:
    assert refused(server, CLOCK, f"Host: {host}")
    assert refused(server, CLOCK, LOCAL, f"Origin: http://{host}")
    if not set(host) & {"#", "?", "/", " ", "\\", "\xa0", "%"}:
        assert refused(server, f"http://{host}{CLOCK}", LOCAL)


@pytest.mark.parametrize("second", ["localhost", "evil.example", ""])
def test_two_hosts_are_refused(server: MockServer, second: str) -> None:
    assert refused(server, CLOCK, LOCAL, f"Host: {second}")
    assert refused(server, CLOCK, f"Host: {second}", LOCAL)


def test_http_1_1_without_a_host_is_refused_and_1_0_is_not(server: MockServer) -> None:
    assert refused(server)
    assert not refused(server, version="1.0")


@pytest.mark.parametrize(
    "target", ["http://evil.example", "http://evil.example:80", "ftp://localhost", "ws://localhost"]
)
def test_a_foreign_target_in_absolute_form_is_refused(server: MockServer, target: str) -> None:
    assert refused(server, target + CLOCK, LOCAL)


def test_a_foreign_host_beside_a_local_target_is_refused(server: MockServer) -> None:
    assert refused(server, f"http://localhost{CLOCK}", "Host: evil.example")


@pytest.mark.parametrize("target", ["http://localhost", "http://127.0.0.1:4010", "HTTP://LOCALHOST"])
def test_a_local_target_in_absolute_form_is_accepted(server: MockServer, target: str) -> None:
    assert not refused(server, target + CLOCK, LOCAL)


def test_two_origins_are_refused(server: MockServer) -> None:
    local, foreign = "Origin: http://localhost", "Origin: http://evil.example"
    assert not refused(server, CLOCK, LOCAL, local)
    for origins in ((local, foreign), (foreign, local), (local, local)):
        assert refused(server, CLOCK, LOCAL, *origins)


@pytest.mark.parametrize("site", ["CROSS-SITE", "Cross-Site", "cross-site \t", "cross-site, none", "another", ""])
def test_every_spelling_of_a_foreign_site_is_refused(server: MockServer, site: str) -> None:
    assert refused(server, CLOCK, LOCAL, f"Sec-Fetch-Site: {site}")


def test_a_second_header_does_not_hide_a_foreign_site(server: MockServer) -> None:
    assert refused(server, CLOCK, LOCAL, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site")


def test_white_space_at_the_end_of_a_header_does_not_count(server: MockServer) -> None:
    assert not refused(server, CLOCK, "Host: localhost \t ", "Origin: http://localhost  ", "Sec-Fetch-Site: none\t")


@pytest.mark.parametrize("hosts", [["10.1.2.3:4010"], ["mock.evil.example"], ["evil@localhost"], ["a", "b"], []])
def test_health_responds_to_any_host(server: MockServer, hosts: list[str]) -> None:
    headers = [f"Host: {host}" for host in hosts]
    assert not refused(server, "/__mock/health", *headers)
    assert refused(server, "/__mock/health", *headers, "Origin: http://evil.example")


def test_the_right_token_does_not_excuse_an_odd_host() -> None:
    with MockServer(port=0, control_token="secret token") as server:
        token = "X-Mock-Token: secret token"
        assert not refused(server, CLOCK, token, "Host: evil.example")
        assert refused(server, CLOCK, token, "Host: evil@localhost")
        assert refused(server, CLOCK, token, LOCAL, LOCAL)
        assert refused(server, CLOCK, token)
