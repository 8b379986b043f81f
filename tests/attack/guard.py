"""Attacks on the guard: orders whose price it cannot know, replies that are too large, replies that hold the key."""

import base64
import gzip
import html
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from time import perf_counter
from typing import Any
from urllib.parse import quote

from tests.attack.keys import leaks
from tests.attack.registry import Run, attack
from tests.attack.servers import MIB, Target, running
from tests.attack.wire import CREATE, ORDER, Client, Reply, request
from tests.guard.prices import could_create, price_of

KEY = "sk-evo-the-real-key-of-the-attack"
PLACEHOLDER = "contract-live"
CAP = 50.0

Respond = Callable[["Service", bytes], None]


class Service(BaseHTTPRequestHandler):
    """A service on loopback whose responses an attack decides."""

    protocol_version = "HTTP/1.1"
    # head and body are two writes: the second would wait 40 ms for the acknowledgement of the first
    disable_nagle_algorithm = True
    server: "Upstream"

    def handle_any(self) -> None:
        """Reads the body and responds."""
        length = int(self.headers.get("Content-Length") or 0)
        self.server.respond(self, self.rfile.read(length))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815  # names of http.server

    def reply(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


class Upstream(ThreadingHTTPServer):
    """The server of `Service`. charged: credits that it has taken. orders: requests that it charged."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.respond = respond
        self.lock = threading.Lock()
        self.charged = 0.0
        self.dearest = 0.0
        self.orders = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The guard may close a connection whenever it wants."""


@contextmanager
def guarded(respond: Respond, *flags: str) -> Iterator[tuple[Upstream, Target]]:
    """A service and a guard process in front of it."""
    upstream = Upstream(respond)
    thread = threading.Thread(target=upstream.serve_forever, daemon=True)
    thread.start()
    target = f"http://127.0.0.1:{upstream.server_port}"
    command = ("guard", "--target", target, "--port", "0", "--max-credits", f"{CAP:g}", "--ledger", "spent.jsonl")
    try:
        with running(*command, *flags, memory=3072 * MIB, environment={"EVOLINK_API_KEY": KEY}) as guard:
            yield upstream, guard
    finally:
        upstream.shutdown()
        upstream.server_close()


def charge_everything(service: Service, body: bytes) -> None:
    """A service that charges for all that could be an order, as much as it can read into it.

    An attack is as good as what the service charges for, so this is the price of the service in tests/guard.
    """
    if not could_create(service.command, str(service.headers), body):
        service.reply(200, b'{"data":{}}', ("Content-Type", "application/json"))
        return
    price = round(price_of(service.path, str(service.headers), body), 4)
    with service.server.lock:
        service.server.charged += price
        service.server.dearest = max(service.server.dearest, price)
        service.server.orders += 1
        number = service.server.orders
    task = {"id": f"task-unified-1795921535-{number:08d}", "status": "pending", "usage": {"credits_reserved": price}}
    service.reply(200, json.dumps(task).encode(), ("Content-Type", "application/json"))


def odd_order(random: Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers of an order whose price the contract does not name."""
    count = random.choice([2, 3, 5, 10])
    odd: dict[str, Any] = random.choice(
        [
            {"n": count},
            {"model": "dearer"},
            {"model": ["dearer"]},
            {"model": {"name": "dearer", "n": count}},
            {"options": {"model": "dearer"}},
            {"Model": "dearer"},
            {"model ": "dearer"},
            {"quality": "dearer"},
            {"duration": "15", "n": count},
            {"batch": [ORDER] * count, "n": count},
            {"duration": [None] * 20 * count},
            {"duration": [1] * count},
            {"prompt": ["x"] * 20 * count},
            {"model": random.choice(["o3", "x3", "v"])},
            {},
        ]
    )
    order = {**ORDER, **odd}
    text = json.dumps(order)
    pairs = "&".join(f"{name}={quote(str(value))}" for name, value in order.items())
    form = (
        "".join(f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in order.items())
        + "--x--\r\n"
    )
    yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in order.items())
    xml = "<order>" + "".join(f"<{name.strip()}>{value}</{name.strip()}>" for name, value in order.items()) + "</order>"
    squeezed = zlib.compressobj(wbits=-15)
    bodies: list[tuple[bytes, str]] = [
        (text.encode(), "application/json"),
        (text.encode(), "application/json"),
        (text.encode(), "text/plain"),
        (pairs.encode(), "application/x-www-form-urlencoded"),
        (form.encode(), "multipart/form-data; boundary=x"),
        (yaml.encode(), "application/yaml"),
        (xml.encode(), "application/xml"),
        (json.dumps(text).encode(), "application/json"),
        (f"[{text}]".encode(), "application/json"),
        (f"{text}\n{text}".encode(), "application/x-ndjson"),
        (f"callback({text})".encode(), "application/javascript"),
        (f"{text[:-1]},}}".encode(), "application/json"),
        (text.replace('"', "'").encode(), "application/json"),
        (b"\xef\xbb\xbf" + text.encode(), "application/json"),
        (b"[" + b"{}," * 20 * count + b"]", "application/json"),
        (b"{}\n" * 20 * count, "application/json"),
        (b'{"prompt":[' + b'"x",' * 20 * count + b"]}", "application/json"),
        (b'"" ' * 20 * count, "application/json"),
        (json.dumps([random.choice(["abc", "", 1, None, {}, []])] * 20 * count).encode(), "application/json"),
        (text.encode("utf-16"), "application/json; charset=utf-16"),
        (base64.b64encode(text.encode()), "application/json"),
        (gzip.compress(text.encode()), "application/json"),
        (zlib.compress(text.encode()), "application/json"),
        (squeezed.compress(text.encode()) + squeezed.flush(), "application/json"),
        (json.dumps(ORDER)[:-1].encode() + f', "model": "dearer", "n": {count}}}'.encode(), "application/json"),
    ]
    body, content_type = random.choice(bodies)
    path = random.choice(
        [CREATE] * 6 + [f"{CREATE}?model=dearer", f"{CREATE}?n={count}", "/v1/images/generations", f"{CREATE}/"]
    )
    method = random.choice(["POST"] * 8 + ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
    headers = {"Content-Type": content_type}
    if random.random() < 0.2:
        name = random.choice(["X-Options", "Prefer", "Accept", "User-Agent", "Idempotency-Key", "Cookie", "X-Api-Key"])
        headers[name] = "model=dearer"
    if random.random() < 0.1:
        method, headers["X_HTTP_Method_Override"] = "GET", "POST"
        body = random.choice([b"", body])
    if random.random() < 0.1:
        headers["Content-Encoding"] = random.choice(["gzip", "deflate", "br", "gzip, gzip", "identity"])
    return method, path, body, headers


def _sent(port: int, order: tuple[str, str, bytes, dict[str, str]]) -> Reply:
    method, path, body, headers = order
    client = Client(port, 20.0)
    all_headers = [("Host", "127.0.0.1"), ("Authorization", f"Bearer {PLACEHOLDER}"), *headers.items()]
    reply = client.send(request(method, path, all_headers, body), method)
    client.close()
    return reply


@attack(
    what="orders with fields, models, queries, methods and encodings that the contract does not name, 20 at once, to "
    f"a service that charges for all of them; the cap is {CAP:g}",
    promise="the cap holds",
    tries=800,
    short=40,
    seconds=180,
)
def guard_cap(run: Run) -> None:
    """Orders with an uncertain price. Each batch has a guard and a budget of its own."""
    batch, done, most, sent = 40, 0, 0.0, 0
    while done < run.tries:
        # a cap that holds because nothing goes out proves nothing, so each batch has good orders too
        orders = [odd_order(run.random) for _ in range(batch)]
        good = ("POST", CREATE, json.dumps(ORDER).encode(), {"Content-Type": "application/json"})
        for _ in range(batch // 8):
            orders[run.random.randrange(batch)] = good
        with guarded(charge_everything) as (upstream, guard):
            with ThreadPoolExecutor(20) as pool:
                replies = list(pool.map(lambda order: _sent(guard.port, order), orders))
            for reply, order in zip(replies, orders, strict=True):
                run.check(reply.status > 0, f"no response to {order[0]} {order[1]} {order[2][:80]!r}")
            charged = upstream.charged
            run.check(charged <= CAP + 1e-6, f"{charged:.2f} credits in {upstream.orders} orders, the cap is {CAP:g}")
            run.check(guard.is_alive and not guard.bug(), f"the guard is broken: {guard.bug()}")
            most, sent = max(most, charged), sent + upstream.orders
        done += batch
    run.measured["most credits of a batch"] = f"{most:.2f}"
    run.measured["orders that went out"] = f"{sent:,}"
    run.check(sent > 0, "no order went out at all")


def _make_bombs() -> None:
    """Compressed spaces of each size, compressed again up to three times."""
    for size in SIZES:
        data = b" " * size
        for stacked in range(1, 5):
            data = BOMBS[size, stacked] = gzip.compress(data, 1)


def _hostile_reply(random: Random) -> Respond:
    """A response that is too large, not HTTP, or says something that cannot be."""
    stacked = random.choice([1, 1, 2, 3, 4])
    encoding = random.choice([", ".join(["gzip"] * stacked), "gzip", "deflate", "br, gzip", "gzip, identity"])
    status = random.choice([99, 600, 700, 999])
    amount = random.choice(
        ["1e300", "-5", "1e999", "NaN", '"x"', "true", "[]", "99999999999999999999", "0.00001", "null"]
    )
    size = random.choice(SIZES)

    escape = random.choice(ESCAPES)
    data = escape * (random.choice([MIB, 8 * MIB - 1, 16 * MIB]) // len(escape))

    def respond(service: Service, body: bytes) -> None:
        kind = service.path.rpartition("/")[2]
        if kind == "plain-escapes":
            service.reply(200, data)
        elif kind == "escapes":
            service.reply(200, gzip.compress(data, 1), ("Content-Encoding", "gzip"))
        elif kind == "undeclared":
            service.reply(200, gzip.compress(data[: 8 * MIB - 1], 1) * 8)
        elif kind == "bomb":
            service.reply(200, BOMBS[size, stacked], ("Content-Encoding", encoding))
        elif kind == "status":
            service.reply(status, b"{}")
        elif kind == "chunks":
            service.send_response(200)
            service.send_header("Transfer-Encoding", "chunked")
            service.end_headers()
            for _ in range(300):
                service.wfile.write(b"100000\r\n" + b"a" * MIB + b"\r\n")
        elif kind == "headers":
            service.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaaaaa\r\n" * 200_000)
        elif kind == "garbage":
            service.wfile.write(random.randbytes(5000))
            service.close_connection = True
        else:
            text = f'{{"id":"task-unified-1795921535-abcdefgh","usage":{{"credits_reserved":{amount}}}}}'
            service.reply(200, text.encode(), ("Content-Type", "application/json"))

    return respond


SIZES = (MIB, 192 * MIB)
BOMBS: dict[tuple[int, int], bytes] = {}
"""Bodies by the bytes that they decode to, and by how often they are compressed."""

ESCAPES = (b"\\", b"\\a", b"%73", b"&#115;", b"&", b"\\u0073", b"=73", b"s\x00", b"\r\x00", b"\n ")
ABSURD = ("1e300", "1e999", "-5", '"x"', "99999999999999999999")
KINDS = ("bomb", "escapes", "undeclared", "plain-escapes", "bomb", "status", "chunks", "headers", "garbage", "amount")


@attack(
    what="replies of a hostile service: nested and huge Content-Encoding, compressed and plain escapes by the million, "
    "endless chunks and headers, a status of 99 or 999, absurd `credits_reserved`",
    promise="bounded memory, a response within 10 s each time (another request within 2 s meanwhile), no status above "
    "599, no order after an absurd amount",
    tries=160,
    short=10,
    seconds=180,
)
def guard_replies(run: Run) -> None:
    """Replies that cost the guard more than they cost the service."""
    _make_bombs()
    holder = [_hostile_reply(run.random)]
    slowest, other = 0.0, 0.0
    with (
        guarded(lambda service, body: holder[0](service, body)) as (_, guard),
        ThreadPoolExecutor(1) as pool,
    ):
        start = guard.memory
        for number in range(run.tries):
            holder[0] = _hostile_reply(run.random)
            kind = KINDS[number % len(KINDS)]
            began = perf_counter()
            hostile = pool.submit(_sent, guard.port, ("GET", f"/v1/tasks/{kind}", b"", {}))
            while not hostile.done():
                before = perf_counter()
                _sent(guard.port, ("GET", "/v1/tasks/amount", b"", {}))
                other = max(other, perf_counter() - before)
            reply = hostile.result()
            slowest = max(slowest, perf_counter() - began)
            run.check(100 < reply.status < 600, f"{kind}: status {reply.status}")
            run.check(slowest < 10, f"{kind}: a response after {slowest:.1f} s")
            run.check(other < 2, f"{kind}: another request waited {other:.2f} s")
            run.measured["slowest"] = f"{slowest:.1f} s"
            run.measured["another request meanwhile"] = f"{other:.2f} s"
            grown = guard.peak_memory - start
            run.measured["grown"] = f"{grown // MIB} MiB"
            run.check(grown < 160 * MIB, f"{kind}: the guard grew by {grown // MIB} MiB")
        run.check(guard.is_alive and not guard.bug(), f"the guard is broken: {guard.bug()}")
    for amount in ABSURD[: max(1, run.tries // 8)]:
        seen: list[int] = []

        def absurd(service: Service, body: bytes, amount: str = amount, seen: list[int] = seen) -> None:
            seen.append(1)
            text = f'{{"id":"task-unified-1795921535-abcdefgh","usage":{{"credits_reserved":{amount}}}}}'
            service.reply(200, text.encode(), ("Content-Type", "application/json"))

        with guarded(absurd) as (_, guard):
            good = ("POST", CREATE, json.dumps(ORDER).encode(), {"Content-Type": "application/json"})
            statuses = [_sent(guard.port, good).status for _ in range(12)]
            run.check(
                len(seen) * 5.76 <= CAP, f"{len(seen)} orders went out with credits_reserved {amount}: {statuses}"
            )


def _form_of_key(random: Random) -> bytes:
    """The key in one of the forms that the guard promises to find."""
    text = random.choice([KEY, f"Bearer {KEY}", f"user:{KEY}", f"{KEY}:", f"{'x' * random.randrange(4)}{KEY}"])
    data = text.encode()
    encoded = base64.b64encode(data)
    return random.choice(
        [
            data,
            encoded,
            encoded.rstrip(b"="),
            base64.urlsafe_b64encode(data),
            data.hex().encode(),
            data.hex().upper().encode(),
            quote(text, safe="").encode(),
            "".join(f"%{byte:02x}" for byte in data).encode(),
            quote("".join(f"%{byte:02X}" for byte in data), safe="").encode(),
            "".join(f"&#{byte};" for byte in data).encode(),
            "".join(f"&#x{byte:x};" for byte in data).encode(),
            "".join(f"\\u{byte:04x}" for byte in data).encode(),
            text.encode("utf-16"),
            text.encode("utf-16-be"),
            gzip.compress(data),
            data.upper(),
        ]
    )


def _found(data: bytes) -> list[str]:
    """Forms in which bytes hold the key."""
    texts = {
        "": data,
        "unescaped": re.sub(rb"\\u00([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), data),
    }
    for place in (match.start() for match in re.finditer(rb"\x1f\x8b\x08", data)):
        texts["gzip"] = zlib.decompressobj(31).decompress(data[place:], MIB)
    texts["UTF-16 BE"] = data.replace(b"\x00", b"")
    texts["entities"] = html.unescape(data.decode("latin-1")).encode("latin-1", "replace")
    return [f"{name} {form}".strip() for name, text in texts.items() for form in leaks(text, KEY)]


@attack(
    what="replies that hold the real key in headers and bodies: base64 at three alignments and unpadded, hexadecimal, "
    "HTML entities, percent-encoding twice, UTF-16, gzip",
    promise="no response and no recording of the guard holds the key in these forms",
    tries=600,
    short=60,
)
def guard_keys(run: Run) -> None:
    """A service that sends the key back in many forms."""
    forms = [b""]

    def echo(service: Service, body: bytes) -> None:
        form = forms[0]
        header = form.decode("latin-1") if form.isascii() and form.isalnum() else "none"
        wrapped = b'{"message": "before ' + form + b' after"}'
        service.reply(200, form if form.startswith(b"\x1f\x8b") else wrapped, ("X-Echo", header))

    with guarded(echo, "--record", "recording.jsonl") as (_, guard):
        for _ in range(run.tries):
            forms[0] = _form_of_key(run.random)
            reply = _sent(guard.port, ("GET", "/v1/credits", b"", {}))
            found = _found(reply.head + b"\r\n\r\n" + reply.body)
            run.check(reply.status > 0 and not found, f"status {reply.status}, shown {found} of {forms[0][:60]!r}")
        recorded = (guard.folder / "recording.jsonl").read_bytes()
        found = _found(recorded)
        for text in re.findall(rb"[A-Za-z0-9+/_-]{40,}={0,2}", recorded):
            found += _found(base64.urlsafe_b64decode(text.translate(bytes.maketrans(b"+/", b"-_")) + b"=="))
        run.check(len(recorded) > 100 * run.tries, "the recording is too short to say anything")
        run.check(not found, f"the recording holds the key: {', '.join(dict.fromkeys(found))}")
        found = _found(guard.log.read_bytes())
        run.check(not found, f"the log of the guard holds the key: {', '.join(found)}")
