"""The guard as a process in front of a mock that poses as the live service."""

import asyncio
import base64
import contextlib
import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sora_mock.client import Account
from sora_mock.domain.contract import Contract
from sora_mock.guard.ledger import SpendingLedger, SpendingLimits
from sora_mock.guard.pricing import Pricing
from sora_mock.guard.proxy import GuardProxy
from sora_mock.guard.secret import Secret
from sora_mock.guard.upstream import Upstream
from sora_mock.runtime import connections
from sora_mock.runtime.package_data import contract_document
from sora_mock.server import MockServer
from tests.contract.faults.responses import status
from tests.guard.live import (
    CREATE,
    DEADLINE,
    ORDER,
    PLACEHOLDER,
    REAL,
    command,
    created,
    environment,
    error_code,
    guarding,
    posing,
)
from tests.guard.test_upstream import Reply, replying

BAD = {**ORDER, "duration": 16}


@pytest.fixture
def live() -> Iterator[MockServer]:
    with MockServer(port=0, seed=1) as mock:
        yield mock


class Echo(BaseHTTPRequestHandler):
    """A service that echoes each request, and redirects."""

    protocol_version = "HTTP/1.1"
    paths: list[str]

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        key = self.headers.get("Authorization", "")
        body = json.dumps({"path": self.path, "headers": dict(self.headers), "key": key}).encode()
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("X-Echo", key)
        self.send_header("Location", f"/elsewhere?{key.replace(' ', '+')}")
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.paths = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def orders(url: str, number: int) -> list[httpx.Response]:
    """Sends that many create requests at once."""
    with httpx.Client(base_url=url, headers=PLACEHOLDER, timeout=DEADLINE) as client:
        with ThreadPoolExecutor(20) as pool:
            return list(pool.map(lambda _: client.post(CREATE, json=ORDER), range(number)))


def test_two_guards_and_200_orders_at_once_stay_within_one_cap(live: MockServer, tmp_path: Path) -> None:
    arguments = ("--max-credits", "20", "--surprise-credits", "0", "--ledger", str(tmp_path / "ledger"))
    with guarding(live.url, *arguments) as one, guarding(live.url, *arguments) as other:
        with ThreadPoolExecutor(2) as pool:
            responses = [each for some in pool.map(lambda url: orders(url, 100), (one.url, other.url)) for each in some]
    assert [each.status_code for each in responses].count(200) == len(created(live.url)) == 3
    assert {error_code(each) for each in responses if each.status_code != 200} == {"guard_refused"}
    assert {each.status_code for each in responses} == {200, 470}
    assert Account(live.url, REAL).credits == 1000 - 17.28


@pytest.mark.parametrize(("cap", "bought"), [("0", 0), ("5.75", 0), ("6", 1), ("14.40", 1), ("50", 7)])
def test_a_cap_buys_what_it_pays_for(live: MockServer, cap: str, bought: int) -> None:
    with guarding(live.url, "--max-credits", cap) as guard:
        orders(guard.url, 30)
        assert guard.stop()[0] == 0
    assert len(created(live.url)) == bought


def test_kill_9_in_between_gives_no_money_back(live: MockServer, tmp_path: Path) -> None:
    arguments = ("--max-credits", "20", "--surprise-credits", "0", "--ledger", str(tmp_path / "ledger"))
    with guarding(live.url, *arguments) as guard, guard.client() as client:
        slow = threading.Thread(target=_ignoring, args=(client, {"X-Mock-Scenario": "slow_headers"}))
        slow.start()
        while not created(live.url):  # the service has the order, the guard waits for the reply
            pass
        guard.stop(signal.SIGKILL)
        slow.join()
    with guarding(live.url, *arguments) as guard:
        assert [each.status_code for each in orders(guard.url, 10)].count(200) == 2
    assert len(created(live.url)) == 3


def _ignoring(client: httpx.Client, headers: dict[str, str]) -> None:
    with contextlib.suppress(httpx.HTTPError):
        client.post(CREATE, json=ORDER, headers=headers)


def test_refusals_flow_for_free(live: MockServer) -> None:
    unread = (b"", b"{", b"x" * 1_100_000)
    with guarding(live.url, "--max-credits", "0") as guard, guard.client() as client:
        assert [client.post(CREATE, content=body).status_code for body in unread] == [470] * 3
        assert [httpx.post(guard.url + CREATE, content=body).status_code for body in unread] == [401] * 3
        assert client.get("/v1/credits").json()["data"]["token"]["remaining_credits"] == 1000
        assert client.get("/v1/tasks/nonsense").json()["error"]["code"] == "invalid_task_id"
        assert client.get("/v1/credits", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(CREATE, json=BAD).status_code == 470
    with guarding(live.url, "--max-credits", "14.40") as guard, guard.client() as client:
        # every 4xx returns its reservation, so the small budget is enough
        assert [client.post(CREATE, json=BAD).status_code for _ in range(20)] == [400] * 20
        assert [client.post(CREATE, content=body).status_code for body in unread] == [400, 400, 413]
        assert "spent 0 of 14.4" in guard.stop()[1]
    assert created(live.url) == []


def test_an_accepted_bad_request_is_a_finding_and_uses_the_rejection_budget(tmp_path: Path, lax: str) -> None:
    with guarding(lax, "--max-credits", "14.40") as guard, guard.client() as client:
        assert [client.post(CREATE, json=BAD).status_code for _ in range(3)] == [200, 470, 470]
        assert client.post(CREATE, json=ORDER).status_code == 200
        code, err = guard.stop()
    assert (code, err.count("finding:")) == (0, 1)
    assert "duration" in err


UNREAD = (b'{"model":"sora-2-beta-max","prompt":"x",}', b"", b"{}", b"model=sora-2-beta-max&prompt=x")


def test_accepted_bodies_without_a_certain_price_are_booked_and_printed_and_never_exceed_the_budget(
    lax: str, tmp_path: Path
) -> None:
    arguments = ("--max-credits", "14.40", "--ledger", str(tmp_path / "ledger"))
    with guarding(lax, *arguments) as guard, guard.client() as client:
        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(lambda n: client.post(CREATE, content=UNREAD[n % 4]).status_code, range(40)))
        assert sorted(responses) == [200] + [470] * 39
        assert client.get("/v1/credits").status_code == 200
        code, err = guard.stop()
    assert (code, err.count("finding: the service accepted")) == (0, 1)
    assert "spent 5.76 of 14.4 credits" in err
    with guarding(lax, *arguments) as guard, guard.client() as client:
        assert client.post(CREATE, content=b"{").status_code == 470


def test_orders_wait_while_a_request_of_uncertain_price_is_out(live: MockServer) -> None:
    orders = [BAD, ORDER, {**ORDER, "no_such_field": 1}] * 4
    with guarding(live.url, "--max-credits", "100") as guard, guard.client() as client, ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda order: client.post(CREATE, json=order).status_code, orders))
    assert responses == [400, 200, 200] * 4


def test_an_id_that_is_the_key_is_not_in_the_ledger(echoing: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with guarding(echoing, "--max-credits", "6", "--ledger", str(ledger)) as guard, guard.client() as client:
        assert client.post(CREATE, json=ORDER).json()["id"] == "contract-live"
        _, err = guard.stop()
    assert '"task":"contract-live"' in ledger.read_text()
    assert REAL not in ledger.read_text() + err


def test_a_402_is_passed_on_and_ends_all_spending_where_the_ledger_was_cut_short(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with posing(status(200, 402)) as url, guarding(url, "--max-credits", "6", "--ledger", str(ledger)) as guard:
        with guard.client() as client:
            content = ledger.read_bytes()
            ledger.write_bytes(b"")
            assert client.get("/v1/credits").status_code == 402
            ledger.write_bytes(content)
            assert [error_code(client.post(CREATE, content=body)) for body in (b"{", b"")] == ["guard_refused"] * 2


@pytest.fixture
def lax() -> Iterator[str]:
    """A service that accepts everything, at 5.76."""
    with accepting(lambda key: "task-unified-1-x") as url:
        yield url


@pytest.fixture
def echoing() -> Iterator[str]:
    """One that names its tasks after the key."""
    with accepting(lambda key: key) as url:
        yield url


@contextlib.contextmanager
def accepting(name: Callable[[str], str]) -> Iterator[str]:
    """A service that accepts everything. name: the id of a task, by the key."""

    class Lax(Echo):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(
                {"id": name(self.headers["Authorization"][7:]), "usage": {"credits_reserved": 5.76}}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lax)
    server.paths = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url_of(server)
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_first_402_closes_the_budget_for_good(live: MockServer, tmp_path: Path) -> None:
    Account(live.url, REAL).credits = 0
    arguments = ("--max-credits", "50", "--ledger", str(tmp_path / "ledger"))
    with guarding(live.url, *arguments) as guard, guard.client() as client:
        assert [client.post(CREATE, json=ORDER).status_code for _ in range(2)] == [402, 470]
        Account(live.url, REAL).credits = 100
        assert client.get("/v1/credits").status_code == 200
    with guarding(live.url, *arguments) as guard, guard.client() as client:
        assert "402" in client.post(CREATE, json=ORDER).json()["error"]["message"]
    assert created(live.url) == []


@pytest.mark.parametrize("scenario", ["response_lost", "internal_error", "service_unavailable"])
def test_what_may_have_been_bought_stays_spent(live: MockServer, scenario: str) -> None:
    with guarding(live.url, "--max-credits", "6") as guard, guard.client() as client:
        client.post(CREATE, json=ORDER, headers={"X-Mock-Scenario": scenario})
        assert client.post(CREATE, json=ORDER).status_code == 470
    assert len(created(live.url)) == (scenario == "response_lost")


def test_a_service_that_never_responds_keeps_the_reservation(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "ledger", SpendingLimits(57_600))

    async def order(url: str) -> httpx.Response:
        upstream = Upstream(url, 0.2)
        guard = GuardProxy(upstream, Secret(REAL.encode()), ledger, Pricing(Contract(contract_document())))
        transport = httpx.ASGITransport(app=guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=PLACEHOLDER) as client:
            response = await client.post(CREATE, json=ORDER)
        await upstream.close()
        return response

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        responses = [asyncio.run(order(url)) for _ in range(2)]
    assert [error_code(each) for each in responses] == ["guard_no_reply", "guard_refused"]
    assert ledger.book().spent == 57_600


def test_half_a_body_gets_408_and_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_TIMEOUT", 0.05)
    ledger = SpendingLedger(tmp_path / "ledger", SpendingLimits(57_600))
    sent: list[dict[str, Any]] = []
    parts = iter([{"type": "http.request", "body": b'{"model":', "more_body": True}])

    async def receive() -> dict[str, Any]:
        return next(parts, None) or await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def order() -> None:
        upstream = Upstream("http://127.0.0.1:9", 1)
        guard = GuardProxy(upstream, Secret(REAL.encode()), ledger, Pricing(Contract(contract_document())))
        await guard({"type": "http", "method": "POST"}, receive, send)  # type: ignore[arg-type]
        await upstream.close()

    asyncio.run(order())
    start, body = sent
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert "did not arrive within 0.05 s" in json.loads(body["body"])["error"]["message"]
    assert ledger.book().spent == 0


def test_only_headers_without_a_price_reach_the_service(echo: ThreadingHTTPServer) -> None:
    odd = {"X-Options": "model=dearer", "Prefer": "model=dearer", "X_HTTP_Method_Override": "POST", "Cookie": "a=b"}
    usual = {"User-Agent": "client/1", "Accept": "text/plain", "Accept-Language": "en", "Range": "bytes=0-9"}
    with guarding(url_of(echo), "--max-credits", "0") as guard, guard.client() as client:
        seen = {name.lower(): value for name, value in client.get("/", headers=odd | usual).json()["headers"].items()}
    assert seen.pop("host") == url_of(echo).removeprefix("http://")
    assert seen == {
        "accept-encoding": "identity",
        "authorization": "Bearer contract-live",
        "range": "bytes=0-9",
        "user-agent": "sora-mock-guard",
    }


def test_a_target_that_is_down_costs_nothing(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with guarding(f"http://127.0.0.1:{port}", "--max-credits", "6") as guard, guard.client() as client:
        assert [error_code(client.post(CREATE, json=ORDER)) for _ in range(3)] == ["guard_no_reply"] * 3
        assert "spent 0 of 6 credits" in guard.stop()[1]


def test_the_real_key_is_nowhere_even_when_the_service_echoes_it(echo: ThreadingHTTPServer, tmp_path: Path) -> None:
    record = tmp_path / "record"
    with guarding(url_of(echo), "--max-credits", "0", "--record", str(record)) as guard, guard.client() as client:
        response = client.get(f"/v1/x?key={REAL}")
        assert response.json()["key"] == response.headers["x-echo"] == "Bearer contract-live"
        assert response.headers["x-sora-mock-guard-finding"] == "key"
        without = httpx.get(f"{guard.url}/v1/y", headers={"x-sora-mock-guard-finding": "mine"}, trust_env=False)
        assert "x-sora-mock-guard-finding" not in without.headers
        _, err = guard.stop()
    assert err.count("finding: the response to GET /v1/x contained the key") == err.count("finding:") == 1
    everything = f"{response.text}{response.headers}{err}{record.read_text()}"
    assert REAL not in everything


@pytest.mark.parametrize(
    "spell",
    [
        lambda key: key,
        str.upper,
        lambda key: quote(key, safe=""),
        lambda key: "".join(f"%{ord(c):02x}" for c in key),
        lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
        lambda key: key[:5] + "".join(f"\\u{ord(c):04x}" for c in key[5:]),
        lambda key: key.replace("/", "\\/"),
        lambda key: base64.b64encode(key.encode()).decode(),
    ],
    ids=["itself", "upper", "quoted", "percent", "json", "partly", "slashes", "base64"],
)
def test_the_key_is_found_in_every_spelling(spell: Callable[[str], str]) -> None:
    key = "sk-live/a+b-1234"
    said = f'{{"you sent": "{spell(key)}", "twice": "{spell(key)}"}}'
    left = Secret(key.encode()).scrubbed(said.encode()).decode()
    assert left == '{"you sent": "contract-live", "twice": "contract-live"}'


def test_the_raw_path_arrives_and_redirects_and_cookies_stay(echo: ThreadingHTTPServer) -> None:
    path = "/v1/a%2Fb/%7e/../x;y?q=%20&q=+"
    with guarding(url_of(echo), "--max-credits", "0") as guard:
        host, port = guard.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), DEADLINE) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert raw.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        with guard.client() as client:
            assert client.get("/redirect").status_code == 302
        assert "Cookie" not in httpx.get(guard.url + "/again").json()["headers"]
    assert echo.paths == [path, "/redirect", "/again"]  # type: ignore[attr-defined]


def test_no_spelling_of_the_key_is_in_a_response_or_a_recording(tmp_path: Path) -> None:
    said = f'{{"authorization": "Bearer {REAL}"}}'.encode()
    spelled = [
        base64.b64encode(b"Bearer " + REAL.encode()).rstrip(b"="),
        base64.b64encode(b"user:" + REAL.encode()),
        REAL.encode().hex().upper().encode(),
        quote("".join(f"%{ord(each):02X}" for each in REAL)).encode(),
        "".join(f"&#{ord(each)};" for each in REAL).encode(),
        said.decode().encode("utf-16"),
        gzip.compress(said),
        said,
    ]
    record = tmp_path / "record"
    with replying(*(Reply(200, {"X-Echo": each.hex()}, [each]) for each in spelled)) as url:
        with guarding(url, "--max-credits", "0", "--record", str(record)) as guard, guard.client() as client:
            bodies = [client.get(f"/{number}").content for number in range(len(spelled))]
            guard.stop()
    exchanges = [json.loads(line) for line in record.read_text().splitlines()][1:]
    recorded = [each["reply"]["body"] for each in exchanges]
    assert [
        base64.b64decode(each["base64"]) if "base64" in each else each["text"].encode() for each in recorded
    ] == bodies
    for body, whole in zip(bodies, spelled, strict=True):
        assert b"contract-live" in body
        assert whole not in body
        assert REAL not in body.decode("utf-8", "replace").replace("\0", "")
    assert REAL.encode().hex() not in record.read_text().lower()


def test_a_recording_tells_the_key_class_and_the_chain_of_a_task(live: MockServer, tmp_path: Path) -> None:
    record = tmp_path / "record"
    with guarding(live.url, "--max-credits", "6", "--record", str(record)) as guard, guard.client() as client:
        task = client.post(CREATE, json=ORDER).json()["id"]
        client.get(f"/v1/tasks/{task}")
        client.get("/v1/credits", headers={"Authorization": "Bearer wrong"})
        httpx.get(guard.url + "/v1/credits")
        client.get("/v1/credits", headers={"Authorization": "Bearer sk-somebody-elses"})
        guard.stop()
    first, *lines = (json.loads(line) for line in record.read_text().splitlines())
    assert first["sora-mock-recording"] == 1
    assert [each["key"] for each in lines] == ["live", "live", "invalid", "none", "other"]
    assert [each["reply"]["status"] for each in lines] == [200, 200, 401, 401, 200]
    assert [each["task"] for each in lines[:3]] == [{"id": task, "created_by": 1}] * 2 + [None]
    assert json.loads(lines[0]["request"]["body"]["text"]) == ORDER
    assert "somebody" not in record.read_text()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_a_web_page_elsewhere_spends_nothing(live: MockServer, headers: dict[str, str]) -> None:
    with guarding(live.url, "--max-credits", "50") as guard, guard.client() as client:
        assert client.post(CREATE, json=ORDER, headers=headers).status_code == 470
    assert created(live.url) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--max-credits", "many"], "--max-credits"),
        (["--max-credits", "-1"], "--max-credits"),
        (["--max-credits", "1", "--surprise-credits", "2"], "--surprise-credits"),
        (["--max-credits", "1", "--port", "99999"], "--port"),
        (["--max-credits", "1", "--target", "ftp://x"], "--target"),
        (["--max-credits", "1", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--max-credits", "1", "--ledger", "/"], "ledger"),
        (["--max-credits", "1", "--record", "/"], "record"),
        ([], "--max-credits"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str], named: str) -> None:
    assert_usage(arguments, named)


def test_a_port_in_use_is_one_line_and_exit_2() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert_usage(["--max-credits", "1", "--port", port], port)


def assert_usage(arguments: list[str], named: str) -> None:
    done = subprocess.run(
        command("http://127.0.0.1:9", *arguments),
        env=environment(EVOLINK_API_KEY=REAL),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert named in line
    assert REAL not in line


def test_the_server_starts_without_any_of_it() -> None:
    others = {"verify", "guard", "drift", "httpx"}
    script = f"import sys, sora_mock.server; print([m for m in sys.modules if {others} & set(m.split('.'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
