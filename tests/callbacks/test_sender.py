"""The POST itself, over real sockets: which responses count, limits, TLS, and addresses at connect time."""

import asyncio
import json
import socket
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import trustme

from sora_mock.callbacks import resolver as resolver_module
from sora_mock.callbacks.resolver import Resolver
from sora_mock.callbacks.sender import AttemptResult, Sender
from sora_mock.config.loading import load
from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain.callback_url import Address
from sora_mock.domain.delivery import destination
from sora_mock.server import MockServer
from tests.callbacks.receiver import Behaviour, Receiver, hangs, receiver, responds, sends
from tests.conftest import Api

HERE: list[Address] = [ip_address("127.0.0.1")]


def post(url: str, *, trusted: bool = True, limit: float = 5.0, sender: Sender | None = None) -> AttemptResult:
    return asyncio.run((sender or Sender()).post(url, b'{"a":1}', trusted=trusted, limit=limit))


def posted_to(behave: Behaviour, *, limit: float = 5.0) -> tuple[AttemptResult, Receiver]:
    with receiver(behave) as running:
        return post(f"http://127.0.0.1:{running.port}/hook?x=1", limit=limit), running


def test_a_callback_is_a_post_of_json_with_host_length_and_agent() -> None:
    result, running = posted_to(responds(204))
    head, _, body = running.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?x=1 HTTP/1.1"
    sent = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert sent["host"] == f"127.0.0.1:{running.port}"
    assert sent["content-type"] == "application/json"
    assert sent["user-agent"].startswith("sora-mock/")
    assert (body, result.status, result.error) == (b'{"a":1}', 204, None)


def test_credentials_in_the_address_become_basic_authorization() -> None:
    with receiver(responds(200)) as running:
        post(f"http://user:p%40ss@127.0.0.1:{running.port}/")
    assert b"Authorization: Basic dXNlcjpwQHNz" in running.requests[0]


def test_the_beginning_of_the_response_is_kept() -> None:
    assert posted_to(responds(500, body=b"x" * 10_000))[0] == AttemptResult(500, None, b"x" * 4096)


def test_a_redirect_is_not_followed() -> None:
    with receiver(responds(200)) as other:
        result, _ = posted_to(responds(307, f"location: http://127.0.0.1:{other.port}/\r\n"))
        assert (result.status, other.requests) == (307, [])


def test_an_early_hint_is_not_the_response() -> None:
    result, _ = posted_to(sends(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"))
    assert result.status == 201


@pytest.mark.parametrize(
    ("behave", "status", "error"),
    [
        (sends(b""), None, "protocol"),
        (sends(b"SSH-2.0-OpenSSH\r\n"), None, "protocol"),
        (sends(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), None, "protocol"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n", times=100_000), None, "protocol"),
        (sends(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"), 200, None),
        (responds(200, body=b"z" * 5_000_000), 200, None),
    ],
    ids=["closes", "other-protocol", "long-header", "endless-headers", "truncated", "long-body"],
)  # fmt: skip
def test_an_attempt_at_a_bad_receiver_names_the_class_of_its_error(
    behave: Behaviour, status: int | None, error: str
) -> None:
    result, _ = posted_to(behave)
    assert result.status == status
    assert (result.error or "").partition(":")[0] == (error or "")


def test_a_port_without_a_listener_is_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert str(post(f"http://127.0.0.1:{port}/").error).startswith("refused: ")


def test_a_receiver_that_hangs_is_left_after_the_limit() -> None:
    running: list[Receiver] = []
    with receiver(hangs(running)) as hanging:
        running.append(hanging)
        assert post(f"http://127.0.0.1:{hanging.port}/", limit=0.2).error == "timeout: no response within 0.2 s"


def test_a_receiver_that_never_accepts_is_left_after_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        # the kernel takes one or two connections for it, then accepts no more
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        assert str(post(f"http://127.0.0.1:{port}/", limit=0.2).error).startswith("timeout: ")
        for each in waiting:
            each.close()


def drips(part: bytes) -> Behaviour:
    def behave(connection: socket.socket, request: bytes) -> None:
        over = threading.Event()
        while True:
            connection.sendall(part)
            over.wait(0.02)

    return behave


def test_dripping_headers_are_not_a_response() -> None:
    assert str(posted_to(drips(b"H"), limit=0.2)[0].error).split(":")[0] in ("timeout", "protocol")


def test_a_status_counts_even_where_the_body_drips_for_ever() -> None:
    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drips(b"x")(connection, request)

    result, _ = posted_to(behave, limit=0.2)
    assert (result.status, result.error) == (200, None)


# --- addresses at connect time ---


def resolves(*look_ups: str) -> Resolver:
    """A resolver whose name server gives these addresses, one set a look-up."""
    left = list(look_ups)

    def look_up(host: str) -> list[Address]:
        return [ip_address(each) for each in (left.pop(0) if len(left) > 1 else left[0]).split()]

    return Resolver(look_up)


@pytest.mark.parametrize("addresses", ["127.0.0.1", "10.1.2.3", "8.8.8.8 192.168.0.1", "::ffff:127.0.0.1", "fd00::1"])
def test_a_name_that_leads_inside_is_refused_when_connecting(addresses: str) -> None:
    result = post("https://public.example/", trusted=False, sender=Sender(resolver=resolves(addresses)))
    assert str(result.error).startswith("internal_address: ")


def test_the_address_is_checked_again_at_each_attempt() -> None:
    sender = Sender(resolver=resolves("::2", "127.0.0.1"))
    errors = [post("https://public.example/", trusted=False, sender=sender, limit=0.5).error for _ in range(2)]
    assert str(errors[1]).startswith("internal_address: ")


def test_a_literal_is_checked_too() -> None:
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::1]"):
        assert str(post(f"https://{host}/", trusted=False).error).startswith("internal_address: ")


def test_a_name_without_address_is_an_error_that_says_so() -> None:
    def look_up(host: str) -> list[Address]:
        raise socket.gaierror(-2, "Name or service not known")

    error = post("https://nowhere.example/", sender=Sender(resolver=Resolver(look_up))).error
    assert error == "name: nowhere.example cannot be resolved: Name or service not known"


def test_a_name_server_that_hangs_delays_only_its_own() -> None:
    over = threading.Event()

    def look_up(host: str) -> list[Address]:
        if host.startswith("hanging"):
            over.wait(20)
        return HERE

    async def both() -> list[AttemptResult]:
        sender = Sender(resolver=Resolver(look_up))
        with receiver(responds(200)) as running:
            slow = [
                sender.post(f"http://hanging{n}.example:{running.port}/", b"", trusted=True, limit=1) for n in range(20)
            ]
            quick = sender.post(f"http://good.example:{running.port}/", b"", trusted=True, limit=0.9)
            return list(await asyncio.gather(quick, *slow))

    results = asyncio.run(both())
    over.set()
    assert results[0].status == 200
    assert {result.error for result in results[1:]} == {"timeout: no response within 1 s"}


def test_look_ups_are_bounded_and_a_further_name_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "MAX_LOOKUPS", 4)
    over = threading.Event()
    running: list[str] = []

    def look_up(host: str) -> list[Address]:
        running.append(host)
        if host.startswith("hanging"):
            over.wait(20)
        return HERE

    async def many() -> None:
        resolver = Resolver(look_up)
        waiting = [asyncio.ensure_future(resolver.addresses(f"hanging{n}.example")) for n in range(4)]
        late = asyncio.ensure_future(resolver.addresses("one.more.example"))
        await asyncio.wait([late], timeout=0.05)
        assert len(running) == 4
        over.set()
        assert await late == HERE
        await asyncio.gather(*waiting)

    asyncio.run(many())


def test_a_flood_of_early_responses_ends_the_attempt() -> None:
    result, _ = posted_to(sends(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, times=1000))
    assert str(result.error).startswith("protocol: more than 20 responses")


def test_a_receiver_that_closes_without_a_response_is_an_error_in_words() -> None:
    assert posted_to(sends(b""))[0].error == "protocol: the connection was closed before a response arrived"


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def pem(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_tls_bears_the_name_while_the_connection_goes_to_the_checked_address(
    authority: trustme.CA, tmp_path: Path
) -> None:
    sender = Sender(pem(authority, tmp_path), Resolver(lambda host: HERE))
    with receiver(responds(200), server_context(authority, "hooks.example.com")) as running:
        good = post(f"https://hooks.example.com:{running.port}/", sender=sender)
        wrong = post(f"https://other.example.com:{running.port}/", sender=sender)
    assert (good.status, good.error) == (200, None)
    assert f"Host: hooks.example.com:{running.port}".encode() in running.requests[0]
    assert str(wrong.error).startswith("tls: ")
    assert "other.example.com" in str(wrong.error)


def test_an_unknown_authority_is_a_failed_attempt_with_a_readable_error(authority: trustme.CA) -> None:
    sender = Sender(None, Resolver(lambda host: HERE))
    with receiver(responds(200), server_context(authority, "hooks.example.com")) as running:
        error = post(f"https://hooks.example.com:{running.port}/", sender=sender).error
    assert "unable to get local issuer certificate" in str(error)


# --- the whole way, through a server ---


def test_a_route_leads_to_a_receiver_of_ones_own_and_the_delivery_says_so() -> None:
    with receiver(responds(200)) as running:
        route = {"https://hooks.example.com": f"http://127.0.0.1:{running.port}"}
        with MockServer(port=0, frozen_clock=True, callback_route=route) as server:
            with httpx.Client(base_url=server.url) as client:
                api = Api(client, "sk-a")
                task_id = api.new_task(callback_url="https://hooks.example.com/a/b?c=d")
                api.account.clock.advance(5)
                [delivery] = api.account.call("GET", "/deliveries")["deliveries"]
                expected = api.request("GET", f"/v1/tasks/{task_id}").content
    assert running.requests[0].startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert running.requests[0].endswith(expected)
    assert delivery["state"] == "succeeded"
    assert delivery["note"] == f"routed to http://127.0.0.1:{running.port}"
    assert delivery["attempts"][0]["reply"] == "thanks"


def test_credentials_go_with_a_routed_callback() -> None:
    routes = {"https://hooks.example.com": "http://127.0.0.1:9000/base/"}
    assert destination("https://u:p@hooks.example.com/a?b", routes, frozenset(), None).url == (
        "http://u:p@127.0.0.1:9000/base/a?b"
    )


def test_a_file_without_certificates_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("garbage")
    with pytest.raises(SettingError, match="holds no PEM certificates"):
        load({"callback-ca": str(path)}, {}, tmp_path, warn=print)


def test_a_route_of_the_control_api_is_the_accounts_own(api: Api) -> None:
    with receiver(responds(200)) as running:
        url = "http://localhost:8765/hook"
        assert api.create(callback_url=url).status_code == 400
        api.account.call("PUT", "/callback-routes", {"http://localhost:8765": f"http://127.0.0.1:{running.port}"})
        assert Api(api.client, "sk-somebody-else").create(callback_url=url).status_code == 400
        api.new_task(callback_url=url)
        api.account.clock.advance(5)
        [delivery] = api.account.call("GET", "/deliveries")["deliveries"]
    assert delivery["state"] == "succeeded"
    assert "the service would refuse it" in delivery["note"]


def test_an_internal_name_is_refused_unless_a_route_or_a_permission_names_its_origin(api: Api) -> None:
    origins = ("https://receiver:9000", "https://nas.home.arpa", "https://metadata")
    for origin in origins:
        refused = api.create(callback_url=f"{origin}/hook")
        error = refused.json()["error"]
        assert (refused.status_code, error["param"]) == (400, "callback_url")
        assert error["message"].startswith("callback_url must not point to an internal address: ")
    api.account.call("PUT", "/callback-routes", dict.fromkeys(origins, "http://127.0.0.1:9"))
    for origin in origins:
        api.new_task(callback_url=f"{origin}/hook")
    settings = Settings(port=0, allow_callback=origins)
    with MockServer(settings) as server, httpx.Client(base_url=server.url) as client:
        allowing = Api(client, "sk-a")
        for origin in origins:
            allowing.new_task(callback_url=f"{origin}/hook")
        notes = {each["note"] for each in allowing.account.call("GET", "/deliveries")["deliveries"]}
        assert allowing.create(callback_url="https://receiver/hook").status_code == 400
    assert all(note.startswith("allowed by --allow-callback; the service would refuse it: ") for note in notes)


def test_an_allowed_origin_is_exact() -> None:
    with receiver(responds(200)) as running:
        origin = f"http://127.0.0.1:{running.port}"
        with MockServer(port=0, frozen_clock=True, allow_callback=(origin,)) as server:
            with httpx.Client(base_url=server.url) as client:
                api = Api(client, "sk-a")
                for other in (
                    f"http://localhost:{running.port}/",
                    "http://127.0.0.1:1/",
                    f"https://127.0.0.1:{running.port}/",
                ):
                    assert api.create(callback_url=other).status_code == 400
                api.new_task(callback_url=f"{origin}/hook")
                api.account.clock.advance(5)
                [delivery] = api.account.call("GET", "/deliveries")["deliveries"]
    assert delivery["state"] == "succeeded"
    assert "allowed by --allow-callback" in delivery["note"]


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert posted_to(responds(200))[0].status == 200


def test_a_receiver_that_hangs_delays_no_other_receiver() -> None:
    running: list[Receiver] = []
    with receiver(hangs(running)) as hanging, receiver(responds(200)) as good:
        running.append(hanging)
        bad, fine = f"http://127.0.0.1:{hanging.port}", f"http://127.0.0.1:{good.port}"
        with MockServer(port=0, generation_time=(0.05, 0.05), allow_callback=(bad, fine)) as server:
            with httpx.Client(base_url=server.url) as client:
                api = Api(client, "sk-a")
                for _ in range(50):
                    api.new_task(callback_url=f"{bad}/")
                task_id = api.new_task(callback_url="https://inbox.sora-mock.test/fine")
                assert api.account.call("GET", "/inbox/fine?wait=5")["messages"][0]["json"]["id"] == task_id
                states = {each["state"] for each in api.account.call("GET", "/deliveries")["deliveries"]}
    assert states == {"pending", "succeeded"}


def test_nothing_of_it_is_imported_before_the_first_callback() -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom sora_mock.app import create_app\ncreate_app()\n"
        "late = ('h11', 'sora_mock.callbacks.sender', 'sora_mock.callbacks.resolver')\n"
        "print([name for name in late if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_log_of_an_attempt_is_json(api: Api) -> None:
    api.new_task(callback_url="https://inbox.sora-mock.test/hook")
    api.account.clock.advance(5)
    attempt = api.account.call("GET", "/deliveries")["deliveries"][0]["attempts"][0]
    assert {"number", "at", "status", "error", "seconds", "reply"} <= set(attempt)
    assert json.dumps(attempt)
