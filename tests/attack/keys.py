"""API keys and passwords: none is in a log, and none in what the control API lists."""

import base64
import html
import json
from random import Random
from urllib.parse import quote, unquote_to_bytes

from tests.attack.registry import Run, attack
from tests.attack.servers import serving
from tests.attack.wire import CREATE, ORDER, request


def forms(key: str) -> dict[str, bytes]:
    """A key as a reader of a file could still find it: as it is, and encoded."""
    found = {"plain": key.encode(), "hexadecimal": key.encode().hex().encode(), "UTF-16": key.encode("utf-16-le")}
    for place in range(3):
        # the part that does not depend on what is around it
        encoded = base64.b64encode(b"x" * place + key.encode())
        found[f"base64 at {place}"] = encoded[4 if place else 0 : -4]
    return found


def leaks(data: bytes, key: str) -> list[str]:
    """Names of the forms in which bytes hold a key, also after percent-decoding twice and HTML entities."""
    once = unquote_to_bytes(data)
    texts = (data, once, unquote_to_bytes(once), html.unescape(data.decode("latin-1")).encode("latin-1", "replace"))
    return [name for name, form in forms(key).items() if any(form.lower() in text.lower() for text in texts)]


def _spelled(random: Random, key: str) -> str:
    """A key as a URL can hold it."""
    return random.choice(
        [
            key,
            quote(key, safe=""),
            key.replace("-", "%2D"),
            key.replace("-", "%2d"),
            "".join(f"%{ord(letter):02x}" for letter in key),
            "%73" + key[1:],
            key.replace("s", "%73", 1).replace("k", "%6B", 1),
        ]
    )


def _request(random: Random, key: str, password: str) -> bytes:
    """A request that holds the key in one of its parts, and the password in a callback address."""
    spelled, path = _spelled(random, key), random.choice(["/v1/credits", "/v1/tasks/x", "/nothing", "/__mock/clock"])
    bearer = ("Authorization", f"Bearer {key}")
    host = ("Host", "localhost")
    kind = random.randrange(9)
    if kind == 0:
        return request("GET", f"{path}?api_key={spelled}", [host])
    if kind == 1:
        return request("GET", f"{path}/{spelled}", [host, bearer])
    if kind == 2:
        pair = base64.b64encode(random.choice([f"{key}:", f"user:{key}"]).encode()).decode()
        return request("GET", path, [host, ("Authorization", f"Basic {pair}")])
    if kind == 3:
        return request("GET", path, [host, ("X-Api-Key", key), ("Cookie", f"key={key}"), ("Authorization", key)])
    if kind == 4:
        return request(
            "GET", path, [host, ("Authorization", f"{random.choice(['Token', 'bearer', 'Bearer  '])} {key}")]
        )
    if kind == 5:
        return f"GET {path} {spelled} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n\r\n".encode()
    if kind == 6:
        secret = random.choice([spelled, password])
        url = random.choice([f"https://user:{secret}@hooks.example.com/", f"https://hooks.example.com/?key={spelled}"])
        url = random.choice([url, url.replace("hooks.example.com", "127.0.0.1")])
        body = json.dumps({**ORDER, "callback_url": url}).encode()
        return request("POST", CREATE, [host, bearer, ("Content-Type", "application/json")], body)
    if kind == 7:
        body = json.dumps({**ORDER, random.choice(["model", "prompt", "user"]): f"a {key}"}).encode()
        return request("POST", CREATE, [host, bearer, ("Content-Type", "application/json")], body)
    return request("GET", path, [host, bearer, ("X-Mock-Scenario", key), ("Idempotency-Key", key)])


@attack(
    what="keys in headers, paths, queries, bodies, callback addresses and broken requests, plain and percent-encoded; "
    "then a search of both log formats and of the lists of tasks, requests and deliveries",
    promise="no key is in a log, as it was sent or decoded; keys and passwords are redacted in the lists",
    tries=4000,
    short=150,
)
def keys_in_logs(run: Run) -> None:
    """Requests with keys, then a search for them."""
    for log_format in ("text", "json"):
        key, password = f"sk-evo-{run.random.getrandbits(96):024x}", f"password-{run.random.getrandbits(64):016x}"
        with serving("--log-format", log_format, "--generation-time", "0") as target:
            client = target.client
            for _ in range(run.tries // 2):
                reply = client.send(_request(run.random, key, password))
                run.check(reply.status < 500, f"got {reply.status}")
            for path in ("/__mock/tasks", "/__mock/requests", "/__mock/deliveries"):
                for account in (key, None):
                    shown = client.ask("GET", f"{path}?limit=1000", account).body
                    for name, secret in (("key", key), ("password", password)):
                        found = leaks(shown, secret)
                        run.check(not found, f"{path} shows the {name}: {', '.join(found)}")
            run.check(target.stop() < 10, "the server does not end")
            log = target.log.read_bytes()
            lines = log.count(b"\n")
            run.check(lines > run.tries // 8, f"the {log_format} log has only {lines} lines")
            for name, secret in (("key", key), ("password", password)):
                found = leaks(log, secret)
                run.check(not found, f"the {log_format} log holds the {name}: {', '.join(found)}")
