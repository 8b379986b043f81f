"""Callbacks: deliveries a second on one core, how late they are, and how long others wait while many fall due at once.

python bench/callbacks.py [--deliveries 3000] [--rounds 3]
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import statistics
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from sora_mock.app import create_app
from sora_mock.callbacks.sender import Sender
from sora_mock.config.settings import Settings
from sora_mock.domain.events import AttemptMade
from sora_mock.domain.exchange import Exchange
from sora_mock.process import ServerProcess
from sora_mock.service import clocks, videos
from sora_mock.service.context import Service

KEY = "sk-bench"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
HEAD = (
    b"POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n"
)


class Receiver(asyncio.Protocol):
    """Answers whole requests; nothing at all on the port that hangs."""

    responds = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.responds:
            self.transport.write(OK)
            self.transport.close()


class Hanging(Receiver):
    responds = False


def receive(ports: Connection) -> None:
    """The receivers, a process of their own on core 1."""
    os.sched_setaffinity(0, {1})

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(kind, "127.0.0.1", 0, backlog=4096) for kind in (Receiver, Hanging)]
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.gather(*(server.serve_forever() for server in servers))

    import uvloop

    uvloop.run(run())


def new_service(good: int, bad: int) -> Service:
    """The service of an application, whose scheduler makes the callbacks."""
    allowed = (f"http://127.0.0.1:{good}", f"http://127.0.0.1:{bad}")
    app = create_app(Settings(credits=None, generation_time=(1.0, 1.0), allow_callback=allowed, frozen_clock=False))
    service: Service = app.state.service
    return service


def create(service: Service, url: str) -> None:
    body = b'{"model":"sora-2-beta-max","prompt":"A cat playing piano","callback_url":"%s"}' % url.encode()
    headers = {b"authorization": f"Bearer {KEY}".encode()}
    response = videos.create(service, Exchange("POST", "/v1/videos/generations", headers, body))
    assert response.status == 200, response.body


async def mock(good: int, bad: int, number: int, hanging: int) -> tuple[float, float]:
    """Deliveries a second of processor time, and the 99th percentile of seconds late, all tasks ending together."""
    service = new_service(good, bad)
    account = service.storage.account(KEY)
    clocks.change(service, KEY, speed=None, frozen=True, per_request=None)
    for n in range(number):
        create(service, f"http://127.0.0.1:{bad if n < hanging else good}/hook")
    ended_at = next(iter(account.deliveries)).first_at
    clocks.change(service, KEY, speed=None, frozen=False, per_request=None)
    pause, done_count = asyncio.Event(), 0

    def count(made: AttemptMade) -> None:
        nonlocal done_count
        done_count += 1
        if done_count == number - hanging:
            pause.set()

    service.events.subscribe(AttemptMade, count)
    await asyncio.sleep(ended_at - service.now(account) - 0.01)
    cpu = time.process_time()
    await pause.wait()
    spent = time.process_time() - cpu
    done = [each for each in account.deliveries if each.attempts and each.attempts[0].status == 204]
    assert len(done) == number - hanging, len(done)
    late = sorted(each.attempts[0].at - each.first_at for each in done)
    ended = sorted(each.attempts[0].ended_at - each.first_at for each in done)
    if hanging:
        print(f"  responding: 99 % within {ended[len(ended) * 99 // 100]:.3f} s of the due time")
    return (number - hanging) / spent, late[len(late) * 99 // 100]


async def bare(port: int, number: int) -> float:
    """The same POSTs by a bare asyncio client, 64 at a time."""
    body = b"x" * 420
    request = HEAD % len(body) + body
    places = asyncio.Semaphore(64)

    async def one() -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            assert (await reader.read()).startswith(OK[:12])
            writer.close()

    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(number)))
    return number / (time.process_time() - began)


async def sender(port: int, number: int) -> float:
    """The sender alone, 64 at a time."""
    body, posts, places = b"x" * 420, Sender(), asyncio.Semaphore(64)

    async def one() -> None:
        async with places:
            assert (await posts.post(f"http://127.0.0.1:{port}/hook", body, trusted=True)).status == 204

    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(number)))
    return number / (time.process_time() - began)


class Client:
    """One kept-alive connection to a mock."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)

    def send(self, method: str, path: str, key: str | None, body: Any = None) -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        data = response.read()
        assert response.status == 200, data
        return json.loads(data)


class Watch(threading.Thread):
    """Sends `GET /v1/credits` of another account again and again. longest: the longest wait for a response."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.client = Client(url)
        self.is_over = False
        self.longest = 0.0

    def run(self) -> None:
        while not self.is_over:
            began = time.perf_counter()
            self.client.send("GET", "/v1/credits", "sk-other")
            self.longest = max(self.longest, time.perf_counter() - began)


def advance(number: int, account_size: int) -> tuple[float, float, float]:
    """Seconds of an advance over so many due callbacks to inboxes, the longest wait of another account meanwhile,
    and seconds of a `GET /__mock/deliveries?limit=1` of one account.

    account_size: callbacks of one account.
    """
    server = ServerProcess(
        ["--frozen-clock", "--credits", "unlimited", "--generation-time", "1"], Path.cwd(), deadline=20
    )
    try:
        os.sched_setaffinity(server.process.pid, {0})
        client = Client(server.url)
        order = {"model": "sora-2-beta-max", "prompt": "x", "callback_url": "https://inbox.sora-mock.test/hook"}
        keys = [f"sk-{n}" for n in range(-(-number // account_size))]
        for n in range(number):
            client.send("POST", "/v1/videos/generations", keys[n // account_size], order)
        watch = Watch(server.url)
        watch.start()
        began = time.perf_counter()
        client.send("POST", "/__mock/clock/advance", keys[0] if len(keys) == 1 else None, {"seconds": 60})
        spent = time.perf_counter() - began
        watch.is_over = True
        watch.join()
        began = time.perf_counter()
        client.send("GET", "/__mock/deliveries?limit=1", keys[0])
        return spent, watch.longest, time.perf_counter() - began
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--account-size", type=int, default=10_000, help="callbacks of one account, in the last row")
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receive, args=(there,), daemon=True)
    process.start()
    good, bad = here.recv()
    os.sched_setaffinity(0, {0})
    import uvloop

    ratios = []
    for number in range(1, options.rounds + 1):
        plain = uvloop.run(bare(good, options.deliveries))
        alone = uvloop.run(sender(good, options.deliveries))
        whole, _ = uvloop.run(mock(good, bad, options.deliveries, 0))
        ratios.append(whole / plain)
        print(f"{number}  bare {plain:6.0f}/s  sender {alone:6.0f}/s  mock {whole:6.0f}/s  ratio {whole / plain:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}; target at least 1500 deliveries a second on one core")
    _, late = uvloop.run(mock(good, bad, 1000, 50))
    print(f"1000 tasks ending together, 50 receivers hanging: 99 % of the others' attempts begin within {late:.3f} s")
    _, late = uvloop.run(mock(good, bad, 2000, 0))
    print(f"2000 tasks ending together: 99 % of the attempts begin within {late:.3f} s")
    process.terminate()
    os.sched_setaffinity(0, {1})
    for number, size in ((2_500, 2_500), (10_000, 10_000), (30_000, options.account_size)):
        spent, longest, listed = advance(number, size)
        print(
            f"{number} due callbacks in {number // size} accounts: advanced in {spent:.2f} s, another account waits"
            f" at most {longest * 1000:.0f} ms, deliveries?limit=1 takes {listed * 1000:.1f} ms"
        )


if __name__ == "__main__":
    main()
