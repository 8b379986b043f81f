"""Callbacks at a receiver on this machine: the bytes of the request, and the effect of its response."""

import socket

from contract_tests.callbacks import PROSE, RECEIVER
from contract_tests.listener import OK, RESET, ROUTED, delivery, outcome, receiving
from sora_mock.verify.rule import Unverified, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

UNKNOWN = "no-such-name.invalid"


@rule(
    id="callback.wire.request",
    claim="a callback is one POST of JSON to the path and query of callback_url, with its length and the host's name",
    source=PROSE,
    needs=RECEIVER,
)
def request(target: Target) -> None:
    """The body is the response to the query, byte for byte."""
    with receiving(target, OK) as receiver:
        found = delivery(target, url=f"{ROUTED}/a/video.php?x=1&y=%20z")
        equal("state", found["state"], "succeeded")
        equal("posts", len(receiver.posts), 1)
        post = receiver.posts[0]
        equal("request line", post.line, "POST /a/video.php?x=1&y=%20z HTTP/1.1")
        wanted = {
            "host": receiver.origin,
            "content-type": "application/json",
            "content-length": str(len(post.body)),
            "connection": "close",
        }
        equal("headers", {name: post.headers.get(name) for name in wanted}, wanted)
        true("user agent", post.headers.get("user-agent", "").startswith("sora-mock/"), post.headers, "sora-mock/...")
        equal("authorization", post.headers.get("authorization"), None)
        equal("body", post.body, target.get(f"/v1/tasks/{found['task_id']}").body)
        attempt = found["attempts"][0]
        equal("attempt", (attempt["number"], attempt["status"], attempt["error"]), (1, 200, None))


@rule(
    id="callback.wire.address",
    claim="a path that is left out is /, credentials become Basic authorization, case and own port are one origin",
    source=f"{PROSE}; docs/callbacks.md, the rules",
    needs=RECEIVER,
)
def address(target: Target) -> None:
    """Five ways to write one origin, and one that is another."""
    with receiving(target, OK, path="/") as receiver:
        for url in ("https://u%40:p%3As@hooks.example.com", "HTTPS://HOOKS.example.com:443/?a=1", f"{ROUTED}/#x"):
            equal(f"state for {url}", delivery(target, url=url)["state"], "succeeded")
        lines = [post.line for post in receiver.posts]
        equal("lines", lines, ["POST / HTTP/1.1", "POST /?a=1 HTTP/1.1", "POST / HTTP/1.1"])
        authorizations = [post.headers.get("authorization") for post in receiver.posts]
        equal("authorization", authorizations, ["Basic dUA6cDpz", None, None])
        target.control("PUT", "/callback-routes", {ROUTED: f"http://me:you@{receiver.origin}/base"})
        delivery(target, url="https://u:p@hooks.example.com/x")
        delivery(target, url=f"{ROUTED}/y?z")
        equal("lines", [post.line for post in receiver.posts[3:]], ["POST /base/x HTTP/1.1", "POST /base/y?z HTTP/1.1"])
        equal("authorization", receiver.posts[4].headers.get("authorization"), "Basic bWU6eW91")
        equal("authorization", receiver.posts[3].headers.get("authorization"), "Basic bWU6eW91")


@rule(
    id="callback.wire.spelling",
    claim="a receiver is reached by name, and by its address however it is written",
    source="docs/callbacks.md: the name is resolved once, every address tried",
    needs=RECEIVER,
)
def spelling(target: Target) -> None:
    """The Host header keeps what was written."""
    with receiving(target, OK) as receiver:
        port = receiver.origin.rpartition(":")[2]
        for host in ("localhost", "LOCALHOST", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.1."):
            target.control("PUT", "/callback-routes", {ROUTED: f"http://{host}:{port}"})
            equal(f"state with {host}", delivery(target)["state"], "succeeded")
            equal("Host", receiver.posts[-1].headers.get("host", "").lower(), f"{host}:{port}".lower())


@rule(
    id="callback.wire.inbox",
    claim="what an inbox gets has the same headers, and its own name as the host",
    source="docs/callbacks.md, the built-in inbox and the rules",
    needs=RECEIVER,
)
def inbox(target: Target) -> None:
    """The path is the name: whole, decoded, without slashes around it; without one it is `default`."""
    paths = {"/hook": "hook", "": "default", "/": "default", "/a/b/": "a/b", "/x%20y?q=1": "x%20y", "//c": "c"}
    for path, name in paths.items():
        for host in ("inbox.sora-mock.test", "INBOX.sora-mock.test.") if path == "/hook" else ("inbox.sora-mock.test",):
            before = len(target.control("GET", f"/inbox/{name}")["messages"])
            equal(f"state for {host}{path}", delivery(target, url=f"https://{host}{path}")["state"], "succeeded")
            got = target.control("GET", f"/inbox/{name}")["messages"]
            equal(f"messages of {name}", len(got), before + 1)
    headers = {each: got[-1]["headers"].get(each) for each in ("host", "content-type", "content-length")}
    wanted = {"host": "inbox.sora-mock.test", "content-type": "application/json"}
    equal("headers", headers, {**wanted, "content-length": str(len(got[-1]["body"].encode()))})
    true("user agent", got[-1]["headers"]["user-agent"].startswith("sora-mock/"), got[-1]["headers"], "sora-mock/...")


@rule(
    id="callback.wire.route",
    claim="a route applies to exactly one origin, and allows a receiver that the service would reject",
    source="docs/reference.md, control API, callback-routes",
    needs=RECEIVER,
)
def route(target: Target) -> None:
    """An internal address with a route is accepted. Another port is another origin."""
    with receiving(target, OK) as receiver:
        routes = {
            "https://10.0.0.1:8443": f"http://{receiver.origin}",
            "https://[fc00::1]": f"http://{receiver.origin}",
        }
        target.control("PUT", "/callback-routes", routes)
        target.create(callback_url="https://10.0.0.1/x").error(400, "invalid_request")
        target.create(callback_url="https://[fc00::1]:444/x").error(400, "invalid_request")
        for url in ("https://10.0.0.1:8443/a", "https://[FC00::1]/b"):
            found = delivery(target, url=url)
            equal(f"state for {url}", found["state"], "succeeded")
            note = str(found["note"])
            # the message of the service follows
            complete = note.startswith(
                f"routed to http://{receiver.origin}; the service would refuse it: callback_url must"
            )
            true("note", complete, note, "where it went, and that the service would refuse it")
        target.control("PUT", "/callback-routes", {ROUTED: f"http://{receiver.origin}"})
        equal("note", delivery(target)["note"], f"routed to http://{receiver.origin}")
        equal("note", delivery(target, url="https://inbox.sora-mock.test/hook")["note"], None)
        lines = [post.line for post in receiver.posts]
        equal("lines", lines, ["POST /a HTTP/1.1", "POST /b HTTP/1.1", "POST /video HTTP/1.1"])


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


@rule(
    id="callback.wire.answers",
    claim="any 2xx is a success, even with a broken body; everything else is retried, and redirects are not followed",
    source=f"{PROSE}: any 2xx is success; docs/fidelity.md for redirects and bodies that break off",
    needs=RECEIVER,
)
def responses(target: Target) -> None:
    """Twelve responses, each followed by a good one."""
    for name, (response, counts) in RESPONSES.items():
        with receiving(target, response, OK) as receiver:
            state, statuses = outcome(target)
            equal(f"state after {name}", state, "succeeded")
            equal(f"attempts after {name}", len(statuses), 1 if counts else 2)
            equal(f"requests after {name}", {post.line for post in receiver.posts}, {"POST /video HTTP/1.1"})
            equal(f"last status after {name}", statuses[-1] in (200, 202, 204), True)


@rule(
    id="callback.wire.nobody",
    claim="a receiver that is down, silent or without TLS gets four attempts, each with its error",
    source=f"{PROSE}; docs/callbacks.md, errors of an attempt",
    needs=RECEIVER,
)
def no_receiver(target: Target) -> None:
    """Without TLS, refused, reset, silent, no HTTP."""
    with receiving(target, OK, scheme="https") as receiver:
        _fails(target, f"{ROUTED}/video", "tls")
        # the first bytes of a ClientHello
        equal("first bytes", {first[:2] for first in receiver.first_bytes}, {b"\x16\x03"})
        equal("connections", len(receiver.first_bytes), 4)
        # the ClientHello has the name of the route, if it has one (RFC 6066, 3)
        port = receiver.origin.rpartition(":")[2]
        target.control("PUT", "/callback-routes", {ROUTED: f"https://localhost:{port}"})
        _fails(target, f"{ROUTED}/video", "tls")
        true("server name", b"\x00\x09localhost\x00" in receiver.first_bytes[-1], receiver.first_bytes[-1], "localhost")
    _fails(target, f"{ROUTED}/video", "refused")
    for response, reason in ((RESET, "connection"), (b"", "protocol"), (b"no HTTP\r\n\r\n", "protocol")):
        with receiving(target, response):
            _fails(target, f"{ROUTED}/video", reason)


@rule(
    id="callback.wire.name",
    claim="a name without an address is a failed attempt, and is tried four times",
    source="docs/fidelity.md: a name that cannot be resolved is a failed attempt",
    needs=RECEIVER,
)
def no_name(target: Target) -> None:
    """With and without a dot at the end. Needs a resolver that does not invent addresses."""
    if _resolved(UNKNOWN):
        raise Unverified(f"the resolver of this machine has an address for {UNKNOWN}")
    for host in (UNKNOWN, UNKNOWN + "."):
        _fails(target, f"https://{host}/video", "name")


def _fails(target: Target, url: str, reason: str) -> None:
    found = delivery(target, url=url)
    equal(f"state for {url}", found["state"], "failed")
    numbers = [attempt["number"] for attempt in found["attempts"]]
    equal(f"attempts for {url}", numbers, [1, 2, 3, 4])
    for attempt in found["attempts"]:
        equal(f"status for {url}", attempt["status"], None)
        kind, _, detail = (attempt["error"] or "").partition(": ")
        true(f"error for {url}", kind == reason and len(detail) > 5, attempt, f"{reason}: and what it was")


@rule(
    id="callback.wire.rebinding",
    claim="the server does not connect to a name that resolves to an internal address, even if a route allowed it",
    source=f"{PROSE}: internal addresses are prohibited; asked when connecting",
    needs=RECEIVER,
)
def rebinding(target: Target) -> None:
    """A route lets the create request pass, and is gone when the callback is due."""
    with receiving(target, OK) as receiver:
        origin = f"https://localhost:{receiver.origin.rpartition(':')[2]}"
        target.control("PUT", "/callback-routes", {origin: f"http://{receiver.origin}"})
        target.created(callback_url=f"{origin}/video")
        target.control("PUT", "/callback-routes", {})
        target.advance(GENERATION + 60)
        found = target.control("GET", "/deliveries")["deliveries"][0]
        equal("state", found["state"], "failed")
        errors = {str(attempt["error"]).partition(":")[0] for attempt in found["attempts"]}
        equal("errors", errors, {"internal_address"})
        equal("connections", len(receiver.first_bytes), 0)


def _resolved(name: str) -> set[str]:
    try:
        return {str(address[0]) for *_, address in socket.getaddrinfo(name, None)}
    except OSError:
        return set()
