"""SIGTERM while the server is busy, and look-ups of names that never end."""

import contextlib
import json
import socket
import threading
from functools import partial
from time import perf_counter

from tests.attack.load import _flood
from tests.attack.registry import Run, attack
from tests.attack.servers import Target, raise_descriptor_limit, serving, wait_until
from tests.attack.wire import CREATE, ORDER, request, usual

MAX_STOP = 2.3
"""Real seconds from SIGTERM to the end: 2 s are promised, the rest is a busy machine."""

LOADS = (
    "idle",
    "half a body",
    "waits for messages",
    "slow responses",
    "unread videos",
    "floods",
    "floods of lists",
    "unread floods of lists",
    "hanging names",
    "all",
)


def _half(load: str) -> bytes:
    """What a client sends before it does nothing more."""
    body = json.dumps(ORDER).encode()
    json_type = ("Content-Type", "application/json")
    if load == "half a body":
        return request("POST", CREATE, usual("sk-half"), body)[:-9]
    if load == "waits for messages":
        return request("GET", "/__mock/inbox/hook?wait=60", usual("sk-wait"))
    if load == "slow responses":
        return request("POST", CREATE, [*usual("sk-slow", X_Mock_Scenario="slow_headers"), json_type], body)
    return request("GET", "/v1/credits", usual("sk-idle"))


def _hanging_callbacks(target: Target, count: int) -> None:
    """Tasks whose callbacks lead to names that never resolve; each name is looked up."""
    client = target.client
    for number in range(count):
        client.create(f"sk-hang-{number % 7}", callback_url=f"https://hang-{number}.example/")


def _stop_under(run: Run, load: str, count: int) -> None:
    with serving("--generation-time", "0", "--credits", "unlimited") as target:
        over, connections, threads, filler = threading.Event(), [], [], target.client
        loads = LOADS[:-1] if load == "all" else (load,)
        for each in loads:
            if each == "hanging names":
                _hanging_callbacks(target, count)
            elif each == "floods":
                threads += [threading.Thread(target=_flood, args=(target.port, 1000, over)) for _ in range(2)]
            elif each.endswith("floods of lists"):
                for _ in range(min(count, 1000)):
                    filler.create("sk-flood")
                for number in range(5 if each == "floods of lists" else 40):
                    path = ("/__mock/requests", "/__mock/tasks")[number % 2]
                    flood = partial(_flood, target.port, 1000, over, path, reads=each == "floods of lists")
                    threads.append(threading.Thread(target=flood))
            elif each == "unread videos":
                task = target.client.create("sk-video")
                url = target.client.ask("GET", f"/v1/tasks/{task}", "sk-video").json()["results"][0]
                link = url[url.index("/files/") :]
                for _ in range(min(count, 50)):
                    connection = socket.socket()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    connection.connect(("127.0.0.1", target.port))
                    connection.sendall(request("GET", link, usual()) * 50)
                    connections.append(connection)
            else:
                for _ in range(min(count, 200)):
                    connection = socket.create_connection(("127.0.0.1", target.port), 5)
                    connection.sendall(_half(each))
                    connections.append(connection)
        for thread in threads:
            thread.start()
        threading.Event().wait(0.2)
        try:
            run.tried += len(connections) + len(threads)
            run.within(f"end with {load}", target.stop(10.0), MAX_STOP)
            run.check(target.process.returncode in (0, None), f"exit code {target.process.returncode} with {load}")
            run.check(not target.bug(), f"a traceback with {load}: {target.bug()}")
        finally:
            over.set()
            for connection in connections:
                connection.close()
            for thread in threads:
                thread.join(5)


@attack(
    what="SIGTERM with idle connections, half bodies, waits, slow responses, unread videos, floods, "
    "floods of lists that are read or not, look-ups that hang, and all of it together",
    promise="the server ends within 2 s with exit code 0",
    tries=700,
    short=100,
    seconds=150,
)
def stopping(run: Run) -> None:
    """Stops busy servers."""
    raise_descriptor_limit()
    # each takes a second or two: the short version has the last
    for load in LOADS if run.tries >= 500 else LOADS[-1:]:
        _stop_under(run, load, run.tries)


@attack(
    what="callbacks to names whose look-up never ends, then callbacks to good names",
    promise="hanging names delay no good one; the server ends within 2 s",
    tries=700,
    short=560,
)
def hanging_names(run: Run) -> None:
    """Hanging look-ups, more than the server makes at once."""
    with serving("--generation-time", "0", "--credits", "unlimited") as target:
        client = target.client
        _hanging_callbacks(target, run.tries)
        run.tried += run.tries
        began = perf_counter()
        for number in range(20):
            client.create("sk-good", callback_url=f"https://good-{number}.example/")

        def tried() -> bool:
            shown = client.ask("GET", "/__mock/deliveries", "sk-good").json()["deliveries"]
            # the good names lead to loopback, so the attempt ends at the connect check
            errors = [each["attempts"][0]["error"] or "" for each in shown if each["attempts"]]
            return len(errors) == 20 and all(error.startswith("internal_address") for error in errors)

        if run.check(wait_until(tried, 4), "the callbacks to good names were not attempted within 4 s"):
            run.within("attempts to 20 good names", perf_counter() - began, 2.0)
        with contextlib.suppress(OSError):
            run.within("end after SIGTERM", target.stop(10.0), MAX_STOP)
