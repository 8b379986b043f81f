"""Callbacks at a receiver on this machine: the bytes of the request, and the effect of its response."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from contract_tests.orders import GENERATION
from contract_tests.reading import error_of
from contract_tests.receiver import OK, RESET, Receiver
from contract_tests.service import Service
from sora_mock.client import Account

PROSE = "published contract, prose of callback_url"
ROUTED = "https://hooks.example.com"
UNKNOWN = "no-such-name.invalid"
OWN_NAMES = ("127.0.0.1", "localhost", "::1")
NEEDS = {"clock", "receiver"}

Receiving = Callable[..., AbstractContextManager[Receiver]]


@pytest.fixture
def receiving(mock: Account) -> Receiving:
    """Makes receivers, `with receiving(OK) as receiver:`, that get the callbacks to `ROUTED`."""
    if urlsplit(mock.url).hostname not in OWN_NAMES:
        pytest.skip("the target runs on another machine and cannot reach a receiver on this machine")

    @contextmanager
    def make(*responses: bytes, scheme: str = "http", path: str = "") -> Iterator[Receiver]:
        with Receiver(*responses) as receiver:
            route(mock, ROUTED, f"{scheme}://{receiver.origin}{path}")
            yield receiver

    return make


def route(mock: Account, origin: str, url: str) -> None:
    """Makes this the only route."""
    mock.call("PUT", "/callback-routes", {origin: url})


def delivered(service: Service, mock: Account, url: str = f"{ROUTED}/video") -> Any:
    """The delivery of a new task's callback after all its attempts; the task's id is in it."""
    service.created(callback_url=url)
    mock.clock.advance(GENERATION + 60)
    return mock.deliveries()[0]


@pytest.mark.contract(id="callback.wire.request", source=PROSE, needs=NEEDS)
def test_a_callback_is_one_post_of_json_with_its_length_and_the_hosts_name(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """A callback is one POST of JSON to the path and query of callback_url, with its length and the host's name."""
    with receiving(OK) as receiver:
        found = delivered(service, mock, f"{ROUTED}/a/video.php?x=1&y=%20z")
        assert found["state"] == "succeeded"
        [post] = receiver.posts
        assert post.line == "POST /a/video.php?x=1&y=%20z HTTP/1.1"
        wanted = {
            "host": receiver.origin,
            "content-type": "application/json",
            "content-length": str(len(post.body)),
            "connection": "close",
        }
        assert {name: post.headers.get(name) for name in wanted} == wanted
        assert post.headers.get("user-agent", "").startswith("sora-mock/")
        assert "authorization" not in post.headers
        assert post.body == service.get(f"/v1/tasks/{found['task_id']}").content
        attempt = found["attempts"][0]
        assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 200, None)


@pytest.mark.contract(id="callback.wire.address", source=f"{PROSE}; docs/callbacks.md, the rules", needs=NEEDS)
def test_a_missing_path_is_a_slash_and_credentials_become_basic_authorization(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """A path that is left out is /, credentials become Basic authorization, case and own port are one origin."""
    with receiving(OK, path="/") as receiver:
        for url in ("https://u%40:p%3As@hooks.example.com", "HTTPS://HOOKS.example.com:443/?a=1", f"{ROUTED}/#x"):
            assert delivered(service, mock, url)["state"] == "succeeded", url
        assert [(post.line, post.headers.get("authorization")) for post in receiver.posts] == [
            ("POST / HTTP/1.1", "Basic dUA6cDpz"),
            ("POST /?a=1 HTTP/1.1", None),
            ("POST / HTTP/1.1", None),
        ]
        route(mock, ROUTED, f"http://me:you@{receiver.origin}/base")
        delivered(service, mock, "https://u:p@hooks.example.com/x")
        delivered(service, mock, f"{ROUTED}/y?z")
        assert [(post.line, post.headers.get("authorization")) for post in receiver.posts[3:]] == [
            ("POST /base/x HTTP/1.1", "Basic bWU6eW91"),
            ("POST /base/y?z HTTP/1.1", "Basic bWU6eW91"),
        ]


@pytest.mark.contract(
    id="callback.wire.spelling", source="docs/callbacks.md: the name is resolved once, every address tried", needs=NEEDS
)
def test_a_receiver_is_reached_by_name_and_by_its_address_however_it_is_written(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    with receiving(OK) as receiver:
        port = receiver.origin.rpartition(":")[2]
        for host in ("localhost", "LOCALHOST", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.1."):
            route(mock, ROUTED, f"http://{host}:{port}")
            assert delivered(service, mock)["state"] == "succeeded", host
            # the Host header keeps what was written
            assert receiver.posts[-1].headers.get("host", "").lower() == f"{host}:{port}".lower()


@pytest.mark.contract(
    id="callback.wire.inbox", source="docs/callbacks.md, the built-in inbox and the rules", needs=NEEDS
)
def test_an_inbox_gets_the_same_headers_and_its_own_name_as_the_host(service: Service, mock: Account) -> None:
    """What an inbox gets has the same headers, and its own name as the host."""
    # the path is the name: whole, decoded, without slashes around it; without one it is `default`
    paths = {"/hook": "hook", "": "default", "/": "default", "/a/b/": "a/b", "/x%20y?q=1": "x%20y", "//c": "c"}
    urls = {f"https://inbox.sora-mock.test{path}": name for path, name in paths.items()}
    urls["https://INBOX.sora-mock.test./hook"] = "hook"
    messages: list[Any] = []
    for url, name in urls.items():
        before = len(mock.call("GET", f"/inbox/{name}")["messages"])
        assert delivered(service, mock, url)["state"] == "succeeded", url
        messages = mock.call("GET", f"/inbox/{name}")["messages"]
        assert len(messages) == before + 1, url
    headers, body = messages[-1]["headers"], messages[-1]["body"]
    wanted = {"host": "inbox.sora-mock.test", "content-type": "application/json"}
    wanted["content-length"] = str(len(body.encode()))
    assert {name: headers.get(name) for name in wanted} == wanted
    assert headers["user-agent"].startswith("sora-mock/")


@pytest.mark.contract(id="callback.wire.route", source="docs/reference.md, control API, callback-routes", needs=NEEDS)
def test_a_route_applies_to_one_origin_and_allows_a_receiver_that_the_service_would_reject(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """A route applies to exactly one origin, and allows a receiver that the service would reject."""
    with receiving(OK) as receiver:
        url = f"http://{receiver.origin}"
        mock.call("PUT", "/callback-routes", {"https://10.0.0.1:8443": url, "https://[fc00::1]": url})
        # another port is another origin
        for other in ("https://10.0.0.1/x", "https://[fc00::1]:444/x"):
            assert error_of(service.create(callback_url=other))[:2] == (400, "invalid_request"), other
        for routed in ("https://10.0.0.1:8443/a", "https://[FC00::1]/b"):
            found = delivered(service, mock, routed)
            assert found["state"] == "succeeded", routed
            # the message of the service follows
            start = f"routed to {url}; the service would refuse it: callback_url must"
            assert found["note"].startswith(start), routed
        route(mock, ROUTED, url)
        assert delivered(service, mock)["note"] == f"routed to {url}"
        assert delivered(service, mock, "https://inbox.sora-mock.test/hook")["note"] is None
        lines = [post.line for post in receiver.posts]
        assert lines == ["POST /a HTTP/1.1", "POST /b HTTP/1.1", "POST /video HTTP/1.1"]


RESPONSES: dict[str, tuple[bytes, bool]] = {
    "204": (b"HTTP/1.1 204 Fine\r\n\r\n", True),
    "http_1_0": (b"HTTP/1.0 200 OK\r\n\r\nfine", True),
    "early": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, True),
    "large": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, True),
    "chunked": (b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", True),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", False),
    "permanent": (b"HTTP/1.1 308 Gone\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n", False),
    "404": (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", False),
    "garbage": (b"this is no HTTP\r\n\r\n", False),
    "silence": (b"", False),
    "flood": (b"HTTP/1.1 102 Wait\r\n\r\n" * 40 + OK, False),
}
"""Responses of a receiver, and whether each is a success."""


@pytest.mark.contract(
    id="callback.wire.answers",
    source=f"{PROSE}: any 2xx is success; docs/fidelity.md for redirects and bodies that break off",
    needs=NEEDS,
)
def test_any_2xx_is_a_success_and_everything_else_is_retried(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """Any 2xx is a success, even with a broken body; everything else is retried, and redirects are not followed."""
    for name, (response, counts) in RESPONSES.items():
        with receiving(response, OK) as receiver:
            found = delivered(service, mock)
            statuses = [attempt["status"] for attempt in found["attempts"]]
            assert (found["state"], len(statuses)) == ("succeeded", 1 if counts else 2), name
            assert {post.line for post in receiver.posts} == {"POST /video HTTP/1.1"}, name
            assert statuses[-1] in (200, 202, 204), name


def errors_of(delivery: Any) -> list[str]:
    """The kind of error of each attempt of a delivery, such as `refused`; what it was follows the kind."""
    kinds = []
    for attempt in delivery["attempts"]:
        kind, _, detail = (attempt["error"] or "").partition(": ")
        assert attempt["status"] is None
        assert len(detail) > 5, attempt
        kinds.append(kind)
    return kinds


@pytest.mark.contract(
    id="callback.wire.nobody", source=f"{PROSE}; docs/callbacks.md, errors of an attempt", needs=NEEDS
)
def test_a_receiver_that_is_down_silent_or_without_tls_gets_four_attempts_each_with_its_error(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """A receiver that is down, silent or without TLS gets four attempts, each with its error."""

    def outcome() -> tuple[str, list[str]]:
        found = delivered(service, mock)
        assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3, 4]
        return found["state"], errors_of(found)

    with receiving(OK, scheme="https") as receiver:
        assert outcome() == ("failed", ["tls"] * 4)
        # the first bytes of a ClientHello
        assert {first[:2] for first in receiver.first_bytes} == {b"\x16\x03"}
        assert len(receiver.first_bytes) == 4
        # the ClientHello has the name of the route, if it has one (RFC 6066, 3)
        port = receiver.origin.rpartition(":")[2]
        route(mock, ROUTED, f"https://localhost:{port}")
        assert outcome() == ("failed", ["tls"] * 4)
        assert b"\x00\x09localhost\x00" in receiver.first_bytes[-1]
    assert outcome() == ("failed", ["refused"] * 4)
    for response, reason in ((RESET, "connection"), (b"", "protocol"), (b"no HTTP\r\n\r\n", "protocol")):
        with receiving(response):
            assert outcome() == ("failed", [reason] * 4), response


@pytest.mark.contract(
    id="callback.wire.name",
    source="docs/fidelity.md: a name that cannot be resolved is a failed attempt",
    needs=NEEDS,
)
def test_a_name_without_an_address_is_a_failed_attempt_and_is_tried_four_times(service: Service, mock: Account) -> None:
    if resolved(UNKNOWN):
        pytest.skip(f"the resolver of this machine has an address for {UNKNOWN}")
    for host in (UNKNOWN, UNKNOWN + "."):
        found = delivered(service, mock, f"https://{host}/video")
        assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3, 4]
        assert (found["state"], errors_of(found)) == ("failed", ["name"] * 4), host


@pytest.mark.contract(
    id="callback.wire.rebinding",
    source=f"{PROSE}: internal addresses are prohibited; asked when connecting",
    needs=NEEDS,
)
def test_the_server_does_not_connect_to_a_name_that_resolves_to_an_internal_address(
    service: Service, mock: Account, receiving: Receiving
) -> None:
    """The server does not connect to a name that resolves to an internal address, even if a route allowed it."""
    with receiving(OK) as receiver:
        origin = f"https://localhost:{receiver.origin.rpartition(':')[2]}"
        # the route lets the create request pass, and is gone when the callback is due
        route(mock, origin, f"http://{receiver.origin}")
        service.created(callback_url=f"{origin}/video")
        mock.call("PUT", "/callback-routes", {})
        mock.clock.advance(GENERATION + 60)
        found = mock.deliveries()[0]
        assert (found["state"], set(errors_of(found))) == ("failed", {"internal_address"})
        assert receiver.first_bytes == []


def resolved(name: str) -> set[str]:
    """The addresses that this machine has for a name."""
    try:
        return {str(address[0]) for *_, address in socket.getaddrinfo(name, None)}
    except OSError:
        return set()
