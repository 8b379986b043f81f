"""Attacks on the server's memory: what accounts keep, and requests that never end."""

import contextlib
import socket

from tests.attack.registry import Run, attack
from tests.attack.servers import MIB, Target, raise_descriptor_limit, serving, wait_until
from tests.attack.wire import CREATE, ORDER, Client, request, usual

HISTORY = 40 * MIB
FILL = "x" * 56_000
ALLOWED = HISTORY * 3 // 2 + 48 * MIB
"""Bytes that a server with `HISTORY` bytes for the past of its accounts may grow by: also connections and tasks."""


def _fill(run: Run, client: Client, key: str) -> None:
    """Makes the server keep about 2 MiB for an account, in one of four ways."""
    kind = run.random.randrange(4)
    statuses: set[int] = set()
    if kind == 0:
        for _ in range(36):
            statuses.add(client.send(request("GET", "/v1/credits", [*usual(key), ("X-Fill", FILL)])).status)
    elif kind == 1:
        for _ in range(36):
            statuses.add(client.ask("POST", "/__mock/inbox/hook", key, {"text": FILL}).status)
    elif kind == 2:
        for number in range(36):
            url = f"https://inbox.sora-mock.test/{'x' * 1900}{number}"
            reply = client.ask(
                "POST",
                CREATE,
                key,
                {**ORDER, "callback_url": url, "extra": FILL},
                Idempotency_Key=f"key-of-16-letters-{number}",
            )
            statuses.add(reply.status)
        statuses.add(client.ask("POST", "/__mock/clock/advance", key, {"seconds": 60}).status)
    else:
        for _ in range(36):
            statuses.add(client.send(request("GET", f"/v1/tasks/{'x' * 30_000}", usual(key))).status)
    run.check(statuses <= {200, 204, 400, 404}, f"a good request got {statuses}")


MAX_LEFT = 32 * MIB
"""Bytes that may be left after a reset: the server gives nothing back to the system where less was freed."""


@attack(
    what="accounts whose journals, inboxes, deliveries and stored replies are filled with 2 MiB each, then a reset",
    promise="one budget in bytes over all accounts holds; a reset gives the memory back",
    tries=200,
    short=24,
    seconds=240,
)
def history(run: Run) -> None:
    """Fills many accounts of a server with a budget of 40 MiB."""
    with serving("--frozen-clock", "--credits", "unlimited", "--history-size", "40MiB", "--quiet") as target:
        client = target.client
        client.create("sk-first")
        start = target.memory
        for number in range(run.tries):
            _fill(run, client, f"sk-fill-{number}")
            grown = target.memory - start
            run.check(grown <= ALLOWED, f"{grown // MIB} MiB after {number + 1} accounts")
        run.measured["grown"] = f"{(target.peak_memory - start) // MIB} MiB"
        run.check(client.ask("POST", "/__mock/reset").is_success, "the reset failed")
        wait_until(lambda: target.memory - start <= MAX_LEFT, 3)
        left = target.memory - start
        run.measured["left after reset"] = f"{left // MIB} MiB"
        run.check(left <= MAX_LEFT, f"{left // MIB} MiB are left after the reset")


@attack(
    what="ten thousand accounts with a task and a callback each, then a reset",
    promise="a reset gives most of the memory back, also of accounts that hold little",
    tries=10_000,
    short=2_000,
)
def many_accounts(run: Run) -> None:
    """Many accounts; the reset is the last try."""
    with serving("--frozen-clock", "--credits", "unlimited", "--quiet") as target:
        client = target.client
        client.create("sk-first")
        start = target.memory
        for number in range(run.tries):
            client.create(f"sk-many-{number}", callback_url="https://inbox.sora-mock.test/hook")
            run.tried += 1
        grown = target.memory - start
        run.measured["grown"] = f"{grown // MIB} MiB"
        run.check(client.ask("POST", "/__mock/reset").is_success, "the reset failed")
        wait_until(lambda: target.memory - start <= MAX_LEFT, 3)
        left = target.memory - start
        run.measured["left after reset"] = f"{left // MIB} MiB"
        run.check(left <= MAX_LEFT, f"{left // MIB} of {grown // MIB} MiB are left after the reset")


def _unfinished(target: Target, head: bytes, part: bytes, count: int) -> list[socket.socket]:
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", target.port), 5)
        connections.append(connection)
        connection.settimeout(2)
        with contextlib.suppress(OSError):
            connection.sendall(head + part)
    return connections


@attack(
    what="connections with 1 MiB of an unfinished head, of an unfinished body, or of a body that is too large, twice",
    promise="64 KiB of a head and 1 MiB of a body are kept while the connection lives; later ones use the same memory",
    tries=300,
    short=24,
)
def unfinished_requests(run: Run) -> None:
    """Big requests that do not end."""
    raise_descriptor_limit()
    count = run.tries // 6
    post = b"POST /v1/videos/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-a\r\n"
    forms = {
        "heads": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a" * MIB, 256 * 1024),
        "bodies": (post + b"Content-Length: 1048000\r\n\r\n", b" " * (MIB - 2000), 2 * MIB),
        "too large bodies": (post + b"Content-Length: 8000000\r\n\r\n", b" " * (7 * MIB), 2 * MIB),
    }
    with serving("--quiet") as target:
        client = target.client
        client.create("sk-a")
        for name, (head, part, each) in forms.items():
            grown = []
            start = target.memory
            for _ in range(2):
                connections = _unfinished(target, head, part, count)
                run.tried += count
                run.check(client.ask("GET", "/v1/credits", "sk-a").status == 200, f"the server waits for {name}")
                grown.append(target.memory - start)
                for connection in connections:
                    connection.close()
                # its response comes after the server has seen that the connections are closed
                client.ask("GET", "/v1/credits", "sk-a")
            run.measured[f"{count} {name}"] = f"{grown[0] // MIB} MiB"
            run.check(grown[0] <= count * each + 32 * MIB, f"{count} {name} cost {grown[0] // MIB} MiB")
            more = grown[1] - grown[0]
            run.check(more <= max(16 * MIB, grown[0] // 2), f"the second {count} {name} cost {more // MIB} MiB more")
