"""Good requests with random changes in each of their parts, sent as bytes, many at once."""

import asyncio
import base64
import gzip
import json
import re
from random import Random

from tests.attack.registry import Run, attack
from tests.attack.servers import serving
from tests.attack.wire import CREATE, ORDER, request, usual

KEY = "sk-mutated"
AT_ONCE = 64
PATIENCE = 0.3
"""Real seconds that a request which is not complete waits for its response."""

WORDS = (
    *(b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"%00", b"%", b"%ff"),
    *(
        b"../",
        b"//",
        b"?",
        b"#",
        b";",
        b":",
        b" ",
        b"\t",
        b"'",
        b'"',
        b"{",
        b"}",
        b"[" * 100,
        b"9" * 400,
        b"-1",
        b"1e999",
    ),
    *(
        b"NaN",
        b"null",
        b"\\ud800",
        b"\\u0000",
        b"${7*7}",
        b"{{7*7}}",
        b"<script>",
        b"$(id)",
        b"A" * 5000,
        b"\xe2\x80\xae",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: -1\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Range: bytes=5-1,-0\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"Host: a\r\n", b"Authorization: Basic eA==\r\n", b"Content-Type: text/xml\r\n", b" HTTP/0.9", b"HTTP/2.0"),
    *(b"Idempotency-Key: a-key-of-16-letters\r\n", b"Cookie: a=b\r\n", b": no name\r\n", b" folded\r\n"),
)
VALUES: tuple[object, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10,
        15,
        1e308,
        2**63,
        -(2**64),
        "",
        " ",
        "x",
        "10",
        "null",
        [],
        {},
        [[]],
        {"": None},
    ),
    *(["a"] * 50, "\ud800", "\u0000", "a" * 6000, "🎹" * 2000, "http://a", "https://a", {"a": {"b": {"c": []}}}),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "X" * 40)


def _seeds(link: str, task: str) -> list[tuple[str, str, object]]:
    """Method, path and JSON body of good requests. None of their callbacks leaves the server."""
    return [
        ("POST", CREATE, ORDER),
        ("POST", CREATE, {**ORDER, "duration": 15, "aspect_ratio": "9:16", "remove_watermark": False}),
        ("POST", CREATE, {**ORDER, "image_urls": ["https://a.example/a.png"], "callback_url": "https://127.0.0.1/x"}),
        ("GET", f"/v1/tasks/{task}", None),
        ("GET", "/v1/credits", None),
        ("GET", link, None),
        ("HEAD", link, None),
        ("GET", "/__mock/clock", None),
        ("PATCH", "/__mock/clock", {"frozen": True, "speed": 2, "per_request": 0.5}),
        ("POST", "/__mock/clock/advance", {"seconds": 3}),
        ("PATCH", "/__mock/account", {"remaining_credits": 1000, "rate_limit": "1000/second"}),
        ("POST", "/__mock/scenarios", {"scenario": "failed", "times": 1, "match": {"prompt": "cat"}}),
        ("DELETE", "/__mock/scenarios", None),
        ("GET", "/__mock/tasks?limit=3", None),
        ("POST", f"/__mock/tasks/{task}/finish", {"outcome": "completed"}),
        ("GET", "/__mock/requests?limit=2", None),
        ("GET", "/__mock/deliveries?limit=2", None),
        ("GET", "/__mock/inbox/hook?wait=0", None),
        ("POST", "/__mock/inbox/hook", {"a": 1}),
        ("PUT", "/__mock/inbox/hook", {"replies": [{"status": 204}]}),
        ("GET", "/__mock/health", None),
    ]


def _changed_value(random: Random, value: object) -> object:
    """A JSON value with one change somewhere."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        kind = random.randrange(4)
        if kind == 0:
            return {each: value[each] for each in value if each != name}
        if kind == 1:
            return {**value, random.choice(["n", "__proto__", "", "Model", "x" * 300, "\u0000"]): random.choice(VALUES)}
        return {**value, name: _changed_value(random, value[name])}
    return random.choice(VALUES)


def _encoded(random: Random, body: object) -> tuple[bytes, list[tuple[str, str]]]:
    """The bytes of a body and the headers that describe it, rightly or not."""
    if body is None:
        return b"", []
    text = json.dumps(_changed_value(random, body) if random.random() < 0.5 else body)
    types = ["application/json"] * 4 + ["application/json; charset=utf-16", "text/plain", "multipart/form-data", ";"]
    headers = [("Content-Type", random.choice(types))]
    kind = random.randrange(10)
    if kind == 0:
        return gzip.compress(text.encode()), [
            *headers,
            ("Content-Encoding", random.choice(["gzip", "gzip, gzip", "br"])),
        ]
    if kind == 1:
        return text.encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"])), headers
    if kind == 2:
        return base64.b64encode(text.encode()), headers
    return text.encode(), headers


def _chunked(random: Random, body: bytes) -> bytes:
    size = random.choice([1, 3, len(body) or 1])
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    end = random.choice([b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"-1\r\n", b"0;x=y\r\n\r\n"])
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def _changed_bytes(random: Random, data: bytes) -> bytes:
    """Bytes with a change at a random place. data: at least one byte."""
    place, end = random.randrange(len(data)), random.randrange(len(data))
    kind = random.randrange(7)
    if kind == 0:
        return data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]
    if kind == 1:
        return data[:place] + random.choice(WORDS) + data[place:]
    if kind == 2:
        return data[:place] + data[place + random.randrange(1, 20) :]
    if kind == 3:
        return data[: max(place, 1)]
    if kind == 4:
        return data[:place] + data[min(place, end) : max(place, end)] + data[place:]
    lines = data.split(b"\r\n")
    where = random.randrange(len(lines))
    return b"\r\n".join([*lines[:where], random.choice(WORDS).strip(b"\r\n"), *lines[where:]])


def mutated(random: Random, seeds: list[tuple[str, str, object]]) -> bytes:
    """A good request with a few changes."""
    method, path, body = random.choice(seeds)
    if random.random() < 0.1:
        method = random.choice(METHODS)
    content, described = _encoded(random, body)
    headers = [*usual(KEY), *described]
    if content and random.random() < 0.2:
        data = request(method, path, [*headers, ("Transfer-Encoding", "chunked")]).replace(
            b"Content-Length: 0\r\n", b""
        )
        data += _chunked(random, content)
    else:
        data = request(method, path, headers, content)
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        data = _changed_bytes(random, data) or b"\r\n"
    return data


async def _status(port: int, data: bytes, patience: float) -> int:
    """The last status of what came back; 0 for none."""
    received = b""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            while part := await reader.read(65536):
                received = (received + part)[-200_000:]
                if b"\r\n\r\n" in received:
                    break
    except (TimeoutError, OSError):
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
    found = re.findall(rb"HTTP/1\.1 (\d{3})", received)
    return int(found[-1]) if found else 0


async def _send_all(run: Run, port: int, seeds: list[tuple[str, str, object]]) -> None:
    counts: dict[int, int] = {}
    left = iter(range(run.tries))

    async def sender() -> None:
        for _ in left:
            data = mutated(run.random, seeds)
            status = await _status(port, data, PATIENCE)
            counts[status // 100] = counts.get(status // 100, 0) + 1
            run.check(status < 500, f"{status} for {data[:250]!r}")

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    for hundreds, count in sorted(counts.items()):
        run.measured["no response" if hundreds == 0 else f"{hundreds}xx"] = f"{count:,}"


@attack(
    what="good requests with random changes of method, path, headers, body, chunks, encodings and length",
    promise="no 5xx that no scenario asked for; the server keeps running",
    tries=40_000,
    short=600,
    seconds=240,
)
def mutations(run: Run) -> None:
    """Mutated requests to the service and to the control API."""
    with serving("--frozen-clock") as target:
        client = target.client
        task = client.create("sk-link")
        client.ask("POST", "/__mock/clock/advance", "sk-link", {"seconds": 60})
        url = client.ask("GET", f"/v1/tasks/{task}", "sk-link").json()["results"][0]
        link = url[url.index("/files/") :]
        seeds = _seeds(link, client.create(KEY))
        asyncio.run(_send_all(run, target.port, seeds))
        run.check(target.client.ask("GET", "/v1/credits", KEY).status in (200, 429), "the server is not alive")
        run.check(not target.bug(), f"a traceback in the log: {target.bug()}")
