"""Attacks on the time of others: patterns, floods, slow connections, many callbacks. An ordinary client looks on."""

import contextlib
import json
import select
import socket
import threading
from time import perf_counter

from tests.attack.registry import Run, attack
from tests.attack.servers import Target, raise_descriptor_limit, serving
from tests.attack.wire import CREATE, ORDER, Client, ordinary_client, read_reply, request, usual

PATTERNS = (
    ("(a+)+$", "a" * 40 + "!"),
    ("(a|a)*$", "a" * 40 + "!"),
    ("(a|aa)+$", "a" * 60 + "!"),
    ("([a-zA-Z]+)*$", "a" * 40 + "!"),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 40),
    ("(x+x+)+y", "x" * 40),
    ("(.*a){25}", "a" * 24 + "!" * 30),
    ("^(?=(a+)+$)b", "a" * 40 + "!"),
    (r"(a*)*\1b", "a" * 40),
    ("(?i)(ab?)*(ba?)*$c", "ab" * 30),
    ("(\\s*\\w+\\s*)+:", "a " * 40),
    ("((a{1,50}){1,50}){1,50}$b", "a" * 60),
)
MAX_PATTERN_SECONDS = 0.5
"""Real seconds of a request with such patterns: 50 ms are promised for the patterns, the rest is a busy machine."""

MAX_WAIT = 0.4
"""Real seconds that another client may wait: tens of milliseconds are promised, the rest is a busy machine."""


def _explosive(run: Run, target: Target, number: int, pattern: str, prompt: str, count: int) -> bool:
    """Queues a pattern and sends a prompt for it. False where the server has hung."""
    key, client = f"sk-pattern-{number}", Client(target.port, 3.0)
    rule = {"scenario": "failed", "times": None, "match": {"prompt": pattern}}
    for _ in range(count):
        client.ask("POST", "/__mock/scenarios", key, rule)
    with ordinary_client(target.port) as waits:
        began = perf_counter()
        reply = client.ask("POST", CREATE, key, {**ORDER, "prompt": prompt})
        seconds = perf_counter() - began
    run.check(reply.status == 200, f"{pattern} got {reply.status} after {seconds:.1f} s")
    if reply.status == 200:
        run.within("longest request with an explosive pattern", seconds, MAX_PATTERN_SECONDS)
        run.within("longest wait of another client", waits.longest, MAX_WAIT)
    return reply.status == 200


@attack(
    what="regular expressions with exponential time in scenarios and moderation rules, with prompts that trigger it, "
    "one and 50 at once; 600 patterns at once; SIGTERM while one runs",
    promise="50 ms for all patterns of one request together; others and SIGTERM do not wait",
    tries=60,
    short=6,
)
def patterns(run: Run) -> None:
    """Patterns of users with runaway time."""
    settings = '[[moderation.rules]]\nprompt = "(b+)+$"\ntype = "third_party"\n'
    done = 0
    while done < run.tries:
        with serving("--frozen-clock", settings=settings) as target:
            alive = True
            while alive and done < run.tries:
                pattern, prompt = PATTERNS[done % len(PATTERNS)]
                if done % 6 == 5:
                    pattern, prompt = "cheap", "b" * 40 + "!"
                alive = _explosive(run, target, done, pattern, prompt, 50 if done % 4 == 3 else 1)
                done += 1
            if alive:
                run.within("end after SIGTERM", target.stop(), 2.0)
    with serving("--frozen-clock") as target:
        client = target.client
        for number in range(600):
            rule = {"scenario": "failed", "times": None, "match": {"prompt": f"(no|such) word {number}$"}}
            client.ask("POST", "/__mock/scenarios", "sk-many", rule)
        client.create("sk-many")
        for _ in range(5):
            began = perf_counter()
            client.create("sk-many")
            run.within("longest create request with 600 patterns", perf_counter() - began, 0.2)
        Client(target.port, 3.0).ask(
            "POST", "/__mock/scenarios", "sk-stop", {"scenario": "failed", "match": {"prompt": "(a+)+$"}}
        )
        with socket.create_connection(("127.0.0.1", target.port)) as connection:
            body = json.dumps({**ORDER, "prompt": "a" * 60 + "!"}).encode()
            connection.sendall(request("POST", CREATE, usual("sk-stop"), body))
            run.within("end after SIGTERM", target.stop(5.0), 2.0)


@attack(
    what="tasks with callbacks that all end together on a frozen clock, while another account polls",
    promise="due callbacks cost in proportion to their number; no other request waits longer than 50 ms for them",
    tries=10_000,
    short=800,
)
def due_callbacks(run: Run) -> None:
    """Many callbacks that are due at once, in two sizes."""
    seconds: list[float] = []
    for count in (run.tries // 4, run.tries):
        with serving("--frozen-clock", "--credits", "unlimited") as target:
            client = Client(target.port, 100.0)
            for _ in range(count):
                client.create("sk-due", callback_url="https://inbox.sora-mock.test/hook")
            with ordinary_client(target.port) as waits:
                began = perf_counter()
                reply = client.ask("POST", "/__mock/clock/advance", "sk-due", {"seconds": 30})
                seconds.append(perf_counter() - began)
            run.check(reply.status == 200, f"advance got {reply.status} for {count} callbacks")
            run.within("longest wait of another client", waits.longest, MAX_WAIT)
            began = perf_counter()
            shown = client.ask("GET", "/__mock/deliveries?limit=1", "sk-due").json()["deliveries"]
            run.within("GET deliveries?limit=1", perf_counter() - began, 0.1)
            run.check(shown[0]["state"] == "succeeded", f"the newest delivery is {shown[0]['state']}")
            run.tried += count
    run.measured[f"{run.tries:,} callbacks"] = f"{seconds[1]:.2f} s"
    # four times as many: a cost with the square is 16 times as long
    run.check(seconds[1] < 8 * seconds[0] + 0.5, f"{seconds[1]:.2f} s for four times what took {seconds[0]:.2f} s")


def _flood(port: int, count: int, over: threading.Event, path: str = "/v1/credits", *, reads: bool = True) -> None:
    """Sends pipelined requests on one connection, and reads what comes back, until the end."""
    data = request("GET", path, usual("sk-flood")) * count
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setblocking(False)
        place = 0
        while not over.is_set():
            readable, writable, _ = select.select([connection] if reads else [], [connection], [], 0.2)
            if readable and not connection.recv(1 << 20):
                return
            if writable:
                place = (place + connection.send(data[place : place + 65536])) % len(data)


@attack(
    what="connections that send pipelined requests without a pause, while another client polls",
    promise="a connection gets at most 32 responses in a row while others wait; other clients do not starve",
    tries=2000,
    short=60,
)
def pipelined_floods(run: Run) -> None:
    """Floods of pipelined requests; each try is a poll of an ordinary client meanwhile."""
    for flooders in (1, 8):
        with serving("--quiet") as target:
            over = threading.Event()
            threads = [threading.Thread(target=_flood, args=(target.port, 5000, over)) for _ in range(flooders)]
            for thread in threads:
                thread.start()
            client = Client(target.port)
            try:
                for _ in range(run.tries // 2):
                    began = perf_counter()
                    status = client.ask("GET", "/v1/credits", "sk-ordinary").status
                    run.check(status == 200, f"a poll got {status}")
                    name = f"longest poll during {flooders} {'flood' if flooders == 1 else 'floods'}"
                    run.within(name, perf_counter() - began, MAX_WAIT)
            finally:
                over.set()
                for thread in threads:
                    thread.join(10)
            run.within("end after SIGTERM", target.stop(), 2.0)


def _ask_as_new_clients(run: Run, port: int, count: int, others: str) -> None:
    """Each of `count` new clients must get a response in time. others: what occupies the server, for the report."""
    for _ in range(count):
        began = perf_counter()
        try:
            status = Client(port, 5.0).ask("GET", "/v1/credits", "sk-ordinary").status
        except OSError:
            status = 0
        run.check(status == 200, f"a new client got {status} beside {others}")
        run.within("longest wait of a new client", perf_counter() - began, 5.0)


@attack(
    what="silent connections and incomplete requests until the server has no file descriptor left",
    promise="new clients are still served",
    tries=300,
    short=100,
)
def few_descriptors(run: Run) -> None:
    """A server with 64 descriptors, and more connections than that."""
    raise_descriptor_limit()
    with serving(descriptors=64) as target:
        silent = []
        for number in range(run.tries):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", target.port), 1)
                connection.sendall((b"", b"GET /v1/cre", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")[number % 3])
                silent.append(connection)
        run.tried += len(silent)
        _ask_as_new_clients(run, target.port, 20, f"{len(silent)} silent connections")
        for connection in silent:
            connection.close()
        run.check(target.client.ask("GET", "/v1/credits", "sk-ordinary").status == 200, "the server is not alive")


@attack(
    what="requests that wait for messages, to a server with 64 file descriptors",
    promise="a quarter of the descriptors at most is for requests that wait; new clients are still served",
    tries=300,
    short=60,
)
def waits_with_few_descriptors(run: Run) -> None:
    """Requests with `wait=`, more than the server has descriptors."""
    raise_descriptor_limit()
    with serving(descriptors=64) as target:
        waits = []
        for number in range(run.tries):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", target.port), 1)
                connection.sendall(request("GET", f"/__mock/inbox/{number % 3}?wait=60", usual("sk-wait")))
                waits.append(connection)
        run.tried += len(waits)
        _ask_as_new_clients(run, target.port, 30, f"{len(waits)} requests that wait")
        for connection in waits:
            connection.close()
        run.within("end after SIGTERM", target.stop(), 2.3)


LISTS = ("/__mock/requests", "/__mock/tasks?limit=10000", "/__mock/deliveries", "/__mock/inbox/hook")
MAX_LIST = 17 * 1024 * 1024
"""Bytes of a list: 16 MiB of items are promised."""


def _list_on(port: int, key: str | None, path: str, over: threading.Event) -> None:
    """Asks for a list again and again until the end."""
    client = Client(port, 30.0)
    while not over.is_set():
        with contextlib.suppress(OSError):
            client.ask("GET", path, key)


@attack(
    what="lists of one account and of the whole server, with up to 1,000 accounts whose requests have headers of "
    "50 KB, alone and by 20 clients at once, while another client polls",
    promise="lists are built in slices, so that no other request waits longer than 50 ms; a list has at most 16 MiB",
    tries=1000,
    short=100,
)
def lists(run: Run) -> None:
    """Wide lists; each try is an account, a list or a poll of an ordinary client meanwhile."""
    wide = [(f"X-Wide-{number}", "v" * 1400) for number in range(36)]
    with serving("--frozen-clock", "--credits", "unlimited", "--quiet") as target:
        client = Client(target.port, 30.0)
        for number in range(run.tries):
            body = json.dumps({**ORDER, "callback_url": "https://inbox.sora-mock.test/hook"}).encode()
            headers = [*usual(f"sk-wide-{number}"), ("Content-Type", "application/json"), *wide]
            run.check(client.send(request("POST", CREATE, headers, body)).status == 200, "a create request failed")
        for _ in range(run.tries):
            client.create("sk-list")
        run.check(client.ask("POST", "/__mock/clock/advance", None, {"seconds": 60}).status == 200, "no advance")
        for key in (None, "sk-list"):
            for path in LISTS:
                with ordinary_client(target.port) as waits:
                    began = perf_counter()
                    reply = client.ask("GET", path, key)
                    run.within("longest list", perf_counter() - began, 10.0)
                run.check(reply.status == 200 and len(reply.body) <= MAX_LIST, f"{path} got {reply.status}")
                run.within("longest wait of another client", waits.longest, MAX_WAIT)
        over = threading.Event()
        threads = [
            threading.Thread(target=_list_on, args=(target.port, (None, "sk-list")[number % 2], LISTS[0], over))
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        polls = target.client
        try:
            for _ in range(max(20, run.tries // 10)):
                began = perf_counter()
                run.check(polls.ask("GET", "/v1/credits", "sk-ordinary").status == 200, "a poll failed")
                run.within("longest wait beside 20 clients with lists", perf_counter() - began, MAX_WAIT)
            run.within("end after SIGTERM", target.stop(), 2.3)
        finally:
            over.set()
            for thread in threads:
                thread.join(10)


SLOW = (
    (b"", None),
    (b"GET /v1/credits HT", b"408"),
    (b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"408"),
    (b"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", b"408"),
    (b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", b"408"),
    (b"PATCH /__mock/clock HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", b"408"),
    (b"POST /__mock/inbox/hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"408"),
)


@attack(
    what="connections that send nothing, half a head or half a body, and some that add a byte each second",
    promise="closed 30 s after they began, with 408 where anything was sent; an idle connection is kept 75 s",
    tries=280,
    short=None,
)
def time_limits(run: Run) -> None:
    """Slow clients; it takes 40 s."""
    with serving() as target:
        idle = target.client
        run.check(idle.ask("GET", "/v1/credits", "sk-idle").status == 200, "a good request failed")
        connections = []
        began = perf_counter()
        for number in range(run.tries):
            sent, expected = SLOW[number % len(SLOW)]
            connection = socket.create_connection(("127.0.0.1", target.port), 10)
            connection.sendall(sent)
            connections.append((connection, expected, number % len(SLOW) == 2 and number % 2 == 0))
        open_ones = set(range(run.tries))
        received = [b""] * run.tries
        while open_ones and perf_counter() - began < 36:
            by_socket = {connections[number][0]: number for number in open_ones}
            readable, _, _ = select.select(list(by_socket), [], [], 1.0)
            for connection in readable:
                with contextlib.suppress(OSError):
                    part = connection.recv(65536)
                    received[by_socket[connection]] += part
                    if part:
                        continue
                open_ones.discard(by_socket[connection])
                seconds = perf_counter() - began
                run.within("longest slow connection", seconds, 35.0)
                run.check(seconds > 25, f"a slow connection was closed after {seconds:.1f} s")
            for number in open_ones:
                if connections[number][2]:
                    with contextlib.suppress(OSError):
                        connections[number][0].sendall(b"a")
        for number, (connection, expected, _) in enumerate(connections):
            closed = number not in open_ones
            status = received[number][9:12] or None
            connection.close()
            run.check(closed and status == expected, f"{SLOW[number % 7][0]!r}: closed {closed}, status {status!r}")
        assert idle.connection is not None
        idle.connection.sendall(request("GET", "/v1/credits", usual("sk-idle")))
        run.check(read_reply(idle.connection).status == 200, "an idle connection was closed too early")
