"""Attacks on who may do what: other accounts, and strangers on the control API."""

import json
from urllib.parse import urlsplit

from tests.attack.registry import Run, attack
from tests.attack.servers import Target, serving
from tests.attack.wire import CREATE, ORDER, Client, Reply, request, usual

Headers = list[tuple[str, str]]

MARKER = "a prompt that only its account may see"


class Victim:
    """An account with tasks, a callback and an inbox message; others try to get at them."""

    def __init__(self, target: Target, key: str) -> None:
        self.key, self.client = key, target.client
        order = {"prompt": MARKER, "callback_url": "https://inbox.sora-mock.test/hook"}
        reply = self.client.ask("POST", CREATE, key, {**ORDER, **order}, Idempotency_Key="order-of-the-victim")
        self.ended = str(reply.json()["id"])
        self.client.ask("POST", "/__mock/clock/advance", key, {"seconds": 60})
        self.pending = self.client.create(key, prompt=MARKER)
        self.delivery = str(self.client.ask("GET", "/__mock/deliveries", key).json()["deliveries"][0]["id"])
        task = self.client.ask("GET", f"/v1/tasks/{self.ended}", key)
        self.link = urlsplit(task.json()["results"][0]).path
        self.before = self.state()

    def state(self) -> bytes:
        """All that the account's owner sees."""
        parts = ("tasks", "account", "inbox/hook", "deliveries", "clock", "scenarios")
        return b"".join(self.client.ask("GET", f"/__mock/{part}", self.key).body for part in parts)

    def is_shown(self, reply: Reply, *words: str) -> bool:
        """Whether a response shows what only the owner may see."""
        return reply.is_success and any(each.encode() in reply.body for each in words)


def _wrong_key(run: Run, key: str) -> str:
    """A key that is nearly the victim's."""
    place = run.random.randrange(3, len(key))
    letter = run.random.choice("abcXYZ019-_.%*?'\"\\/;,=@")
    return run.random.choice(
        [
            key[:place],
            key[:place] + letter + key[place:],
            key[:place] + (letter if letter != key[place] else "~") + key[place + 1 :],
            key[:place] + key[place:].upper() + "A",
            key + letter,
            key + " " + letter,
            "sk-" + letter,
            "sk-*",
            key.replace("-", "%2D") + letter,
            f"sk-x, Bearer {key[:-1]}",
            f"{key[:-1]}\x80",
        ]
    )


def _trick(run: Run, victim: Victim) -> tuple[str, str, Headers, bytes]:
    """Method, path, headers and body of a request that tries to get at the victim's things."""
    wrong, own = _wrong_key(run, victim.key), f"sk-thief-{run.random.randrange(50)}"
    task = run.random.choice([victim.ended, victim.pending])
    letter = run.random.choice("abcdefghij0123456789")
    place = run.random.randrange(7, len(victim.link) - 4)
    forged = victim.link[:place] + (letter if victim.link[place] != letter else "z") + victim.link[place + 1 :]
    paths = [f"/v1/tasks/{task}", f"/v1//tasks/{task}", f"/v1/tasks/../tasks/{task}", f"/v1/tasks/%2e/{task}"]
    paths += [f"/v1/tasks/{task}/", f"/v1/tasks/{task}%00", f"/v1/tasks/{task}?key={own}", f"/v1/tasks/x;/{task}"]
    control = [
        ("GET", "/__mock/tasks", b""),
        ("GET", "/__mock/requests?limit=1000", b""),
        ("GET", f"/__mock/deliveries?task_id={task}", b""),
        ("GET", "/__mock/inbox/hook", b""),
        ("POST", f"/__mock/tasks/{task}/finish", b'{"outcome": "failed"}'),
        ("POST", f"/__mock/deliveries/{victim.delivery}/redeliver", b""),
        ("POST", "/__mock/reset", b""),
        ("PATCH", "/__mock/clock", b'{"frozen": true}'),
        ("PATCH", "/__mock/account", b'{"remaining_credits": 0}'),
        ("DELETE", "/__mock/scenarios", b""),
    ]
    kind = run.random.randrange(5)
    if kind == 0:
        return "GET", f"/v1/tasks/{task}", [("Host", "localhost"), ("Authorization", f"Bearer {wrong}")], b""
    if kind == 1:
        more = [("X-Forwarded-User", victim.key[:-1]), ("X-Original-URL", f"/v1/tasks/{task}"), ("X-User-Id", "1")]
        extra = [("Authorization", f"Bearer {wrong}"), ("Cookie", f"key={wrong}"), *more]
        return "GET", run.random.choice(paths), [*usual(own), *run.random.sample(extra, 1)], b""
    if kind == 2:
        files = ["/files/../../../etc/passwd", "/files/%2e%2e/%2e%2e/etc/passwd", "/files/..%2f..%2fetc%2fpasswd"]
        return run.random.choice(["GET", "HEAD"]), run.random.choice([forged, forged, *files]), usual(), b""
    if kind == 3:
        method, path, body = run.random.choice(control)
        return method, path, usual(own), body
    body = json.dumps(ORDER).encode()
    return "POST", CREATE, [*usual(own), ("Idempotency-Key", "order-of-the-victim")], body


@attack(
    what="keys that are nearly right, paths, forged links and control requests that try to reach another account",
    promise="no account sees or changes another one",
    tries=8000,
    short=250,
)
def other_accounts(run: Run) -> None:
    """Strangers try to read or change a victim's account."""
    with serving("--frozen-clock") as target:
        victim = Victim(target, "sk-victim-5f0c61d2a9")
        run.check(target.client.ask("GET", victim.link).is_success, "the victim's own link does not work")
        thief = target.client
        for number in range(run.tries):
            method, path, headers, body = _trick(run, victim)
            reply = thief.send(_latin(method, path, headers, body), method)
            # the journal of the thief names the tasks that it asked for
            words = (MARKER,) if path.startswith("/__mock/requests") else (MARKER, victim.ended, victim.pending)
            shown = victim.is_shown(reply, *words) or (path.startswith("/files/") and reply.is_success)
            run.check(not shown and reply.status < 500, f"{method} {path} {headers[-1]} got {reply.status}")
            if number % 500 == 0 or number == run.tries - 1:
                run.check(victim.state() == victim.before, f"the account changed, last by {method} {path}")
        run.check(not target.bug(), f"a traceback in the log: {target.bug()}")


def _latin(method: str, path: str, headers: Headers, body: bytes) -> bytes:
    """A request whose headers hold bytes above 127 as they are."""
    length = [("Content-Length", str(len(body)))] if body or method in ("POST", "PATCH") else []
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers + length)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


EVIL = "evil.example"
OWN = ("localhost", "127.0.0.1", "[::1]", "localhost:4010", "127.0.0.1:80")
CONTROL = (
    ("GET", "/__mock/tasks", b""),
    ("GET", "/__mock/requests", b""),
    ("GET", "/__mock/inbox/hook", b""),
    ("POST", "/__mock/reset", b""),
    ("POST", "/__mock/clock/advance", b'{"seconds": 5}'),
    ("PATCH", "/__mock/clock", b'{"frozen": true}'),
    ("PATCH", "/__mock/account", b'{"remaining_credits": 0}'),
    ("POST", "/__mock/scenarios", b'{"scenario": "failed"}'),
    ("DELETE", "/__mock/scenarios", b""),
    ("PUT", "/__mock/callback-routes", b'{"https://a.example": "http://127.0.0.1:9"}'),
)


def _foreign_name(run: Run) -> str:
    """A host that is not the server's own, but looks like it."""
    own, word = run.random.choice(OWN), run.random.choice([EVIL, "evil", "x", "127.0.0.1.evil.example"])
    glue = run.random.choice(["@", ".", "-", "#", "/", "?", "\\", "%", "_", "%2e", ";", ",", "#.", "/.", "\\@", ":x@"])
    name = own.partition(":")[0] if own[0] != "[" else own
    return run.random.choice(
        [
            word + glue + own,
            name + glue + word,
            f"{name}:{run.random.choice(['evil', '80evil', '80@evil.example', '4010.evil'])}",
            f"{name}.nip.io",
            f"127.0.0.1.{run.random.randrange(256)}.evil.example",
            f"{run.random.choice(['10.0.0.1', '169.254.169.254', '192.168.1.1', '[fe80::1]'])}",
            f"local{run.random.choice('_-.')}host",
            EVIL,
            f"{EVIL}:4010",
        ]
    )


def _foreign_request(run: Run) -> bytes:
    """A control request that a page of another site, or DNS rebinding, could make a browser or a proxy send."""
    method, path, body = run.random.choice(CONTROL)
    own, foreign = ("Host", run.random.choice(OWN)), _foreign_name(run)
    origin = run.random.choice([f"http://{foreign}", f"https://{foreign}", "null", f"http://{EVIL}", "file://"])
    cross = run.random.choice(["cross-site", "CROSS-SITE", "Cross-Site", "cross-site ", "cross-site\t", "cROSS-sITE"])
    good = ("Origin", "http://localhost")
    headers = run.random.choice(
        [
            [("Host", foreign)],
            [own, ("Origin", origin)],
            [own, ("Sec-Fetch-Site", cross)],
            [own, good, ("Sec-Fetch-Site", cross)],
            [own, ("Host", foreign)],
            [("Host", foreign), own],
            [own, own],
            [own, good, ("Origin", origin)],
            [own, ("Origin", origin), good],
            [],
            None,
        ]
    )
    if headers is None:
        headers, path = [own], f"http://{run.random.choice([EVIL, foreign])}{path}"
    run.random.shuffle(names := [("Accept", "*/*"), ("X-Forwarded-Host", "localhost")])
    return request(method, path, [*headers, *names], body)


def _strangers(run: Run, target: Target, tries: int, good: Headers) -> None:
    client: Client = target.client
    client.send(request("POST", CREATE, usual("sk-owner"), json.dumps(ORDER).encode()))
    before = client.send(request("GET", "/__mock/tasks", good)).body
    run.check(b"task-unified" in before, "a good control request got no tasks")
    for _ in range(tries):
        data = _foreign_request(run)
        reply = client.send(data)
        # 404: the name ends with a slash, so the path is another one
        refused = reply.status in (0, 400, 403, 404, 421)
        run.check(refused, f"{data[: data.index(b'Accept')]!r} got {reply.status}")
    kept = client.send(request("GET", "/__mock/tasks", good)).body == before
    clock = client.send(request("GET", "/__mock/clock", good)).json()
    run.check(kept and clock["frozen"], f"the state changed: {clock}")


@attack(
    what="foreign, repeated, missing and disguised Host, Origin and Sec-Fetch-Site on the control API, "
    "with and without a token",
    promise="only programs of this machine, pages of the server, and clients with the token can use the control API",
    tries=15_000,
    short=400,
)
def strangers(run: Run) -> None:
    """Requests of web pages and of DNS rebinding to the control API."""
    with serving("--frozen-clock") as target:
        for host in (*OWN, "LOCALHOST", f"127.0.0.1:{target.port}"):
            reply = target.client.send(request("GET", "/__mock/clock", [("Host", host)]))
            run.check(reply.status == 200, f"the server's own name {host} got {reply.status}")
        _strangers(run, target, run.tries * 3 // 4, usual())
    token = "the-token-of-this-attack"
    with serving("--frozen-clock", "--control-token", token) as target:
        good = [*usual(), ("X-Mock-Token", token)]
        _strangers(run, target, run.tries // 8, good)
        client = target.client
        for _ in range(run.tries // 8):
            place = run.random.randrange(len(token))
            wrong = run.random.choice(
                [token[:place], token + "x", token.upper(), token[:place] + "~", "", "*", token * 2]
            )
            method, path, body = run.random.choice(CONTROL)
            headers = [*usual(), *([("X-Mock-Token", wrong)] if run.random.random() < 0.9 else [])]
            reply = client.send(request(method, path, headers, body))
            run.check(reply.status in (400, 403), f"the token {wrong!r} got {reply.status}")
