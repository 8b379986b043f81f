"""The HTTP of the client: URLs, deadlines, TLS, and what its import costs."""

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from sora_mock.client import Account, AllAccounts, Unreachable, wait
from sora_mock.server import MockServer

Serve = Callable[[socket.socket], None]


def test_the_import_brings_in_the_client_alone() -> None:
    code = "import sys, sora_mock.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = done.stdout.split()
    own = {name.removeprefix("sora_mock.") for name in modules if name.startswith("sora_mock.")}
    assert {name for name in own if name.split(".")[0] != "client"} == {"domain", "domain.text", "version"}
    assert not {"httpx", "starlette", "uvicorn", "msgspec", "asyncio", "click"} & set(modules)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:4010",
        "http://",
        "https://",
        "ftp://h",
        "http://h/v1",
        "https://h/v1",
        "http://h?x",
        "http://h#x",
        "http://a:b@h",
        " http://h",
    ],
)
def test_an_account_is_at_an_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected a URL such as http://127\.0\.0\.1:4010, got "):
        Account(url, "sk-a")


# deadlines


@contextlib.contextmanager
def accepting(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL of a server that does this with its one connection."""

    def run(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with tls.wrap_socket(connection, server_side=True) if tls else connection as accepted:
                serve(accepted)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        yield f"{'https' if tls else 'http'}://localhost:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", b""], ids=["body", "head"])
def test_a_request_has_to_be_over_in_time_however_often_a_byte_comes(
    sent: bytes, scheme: str, server_tls: ssl.SSLContext
) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(sent)
        while not over.wait(0.05):
            connection.sendall(b" ")

    with accepting(drip, server_tls if scheme == "https" else None) as url:
        account = Account(url, "sk-a", timeout=0.5)
        with pytest.raises(Unreachable, match="timed out"):
            account.reset()
        over.set()


def test_a_request_without_a_response_says_which() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        reason = f"{url} does not respond to GET /__mock/clock: TimeoutError: timed out"
        with pytest.raises(Unreachable, match=reason):
            _ = Account(url, "sk-a", timeout=0.05).clock.now


# TLS


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that SSL_CERT_FILE names."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS of a server called localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def tls_url(server: MockServer, server_tls: ssl.SSLContext) -> Iterator[str]:
    """The https URL of a proxy in front of the mock."""

    class Forwarding(BaseHTTPRequestHandler):
        def forward(self) -> None:
            mock = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            mock.request(self.command, self.path, body, dict(self.headers))
            response = mock.getresponse()
            content = response.read()
            mock.close()
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = forward  # noqa: N815  # the names that http.server asks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forwarding) as proxy:
        proxy.socket = server_tls.wrap_socket(proxy.socket, server_side=True)
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield f"https://localhost:{proxy.server_port}"
        proxy.shutdown()
        thread.join()


def test_an_account_is_steered_over_https(tls_url: str, account: Account) -> None:
    over_tls = Account(tls_url, account.api_key)
    now = over_tls.clock.freeze()
    assert over_tls.clock.advance(300) == account.clock.now == now + 300
    over_tls.credits = 7
    assert account.credits == 7


def test_a_mock_behind_https_is_waited_for(tls_url: str) -> None:
    assert wait(tls_url, 10)


def test_a_certificate_of_an_unknown_authority_is_rejected(tls_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        _ = AllAccounts(tls_url).clock.now


def test_a_certificate_for_another_name_is_rejected(tls_url: str) -> None:
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        _ = AllAccounts(tls_url.replace("localhost", "127.0.0.1")).clock.now


def test_http_to_an_https_port_is_unreachable(tls_url: str) -> None:
    with pytest.raises(Unreachable):
        _ = AllAccounts(tls_url.replace("https", "http")).clock.now
