"""The memory that a finished task takes, and whether create requests and polls slow down with the number of tasks."""

import argparse
import gc
import random
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sora_mock.api.reading import origin
from sora_mock.config.settings import Settings
from sora_mock.domain.exchange import Exchange
from sora_mock.service import control, credits, tasks, videos
from sora_mock.service.composition import build_service
from sora_mock.service.context import Service

FEW = 100
TARGET = 700
REQUESTS = 36
HEADER_BYTES = 56_000
MIB = 2**20
ORDER = b'{"model":"sora-2-beta-max","prompt":"A cat playing piano on a rainy street at night"}'
HEADERS = {
    b"host": b"127.0.0.1:4010",
    b"authorization": b"Bearer sk-bench",
    b"content-type": b"application/json",
    b"content-length": str(len(ORDER)).encode(),
}


class Time:
    """The real time, which only the benchmark changes."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def new_exchange(method: str, path: str, body: bytes = b"") -> Exchange:
    """An exchange as the journal middleware makes it: with headers and a body of its own."""
    headers = dict(HEADERS)
    return Exchange(method, path, headers, bytes(bytearray(body)), origin(None, None, headers))


def create(service: Service, number: int) -> None:
    for _ in range(number):
        videos.create(service, new_exchange("POST", "/v1/videos/generations", ORDER))


def finish(service: Service, now: Time) -> None:
    """Moves the time past every end; the credits request settles the credits of all tasks."""
    now.now += 3600
    credits.show(service, new_exchange("GET", "/v1/credits"))
    (account,) = service.storage.accounts()
    assert account.facts.ledger.reserved == 0


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def memory(service: Service, now: Time, number: int) -> None:
    """Creates tasks, and prints bytes for each task."""
    before, began = resident(), time.perf_counter()
    create(service, number)
    took = time.perf_counter() - began
    waiting = resident() - before
    finish(service, now)
    finished = resident() - before
    print(f"{number} tasks created at the same time, {took / number * 1e6:.1f} us each")
    print(f"resident bytes for each task: {waiting / number:.0f} while all wait,", end=" ")
    print(f"{finished / number:.0f} when all have finished; target at most {TARGET}")


def timed(operation: Callable[[], object]) -> float:
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def create_batch(service: Service, size: int) -> float:
    """Seconds of one create request."""
    exchanges = [new_exchange("POST", "/v1/videos/generations", ORDER) for _ in range(size)]
    return timed(lambda: [videos.create(service, exchange) for exchange in exchanges]) / size


def query_batch(service: Service, ids: list[str], size: int) -> float:
    """Seconds of one poll of any of `ids`."""
    polls = [(new_exchange("GET", f"/v1/tasks/{task_id}"), task_id) for task_id in random.choices(ids, k=size)]
    return timed(lambda: [tasks.query(service, exchange, task_id) for exchange, task_id in polls]) / size


def growth(many: Service, few: Service, now: Time, batches: int, size: int) -> None:
    """Times batches on both in turn, and prints ratios."""
    small, large = [], []
    ids = random.sample(list(many.storage.tasks), min(len(many.storage.tasks), 100_000))
    create(few, FEW)
    finish(few, now)
    few_ids = list(few.storage.tasks)
    for _ in range(batches):
        small.append(query_batch(few, few_ids, size))
        large.append(query_batch(many, ids, size))
    show("poll", small, large)
    small, large = [], []
    for _ in range(batches):
        control.reset(few, None)
        create(few, FEW)
        small.append(create_batch(few, FEW))
        large.append(create_batch(many, FEW))
    show("create", small, large)


def show(what: str, small: list[float], large: list[float]) -> None:
    few, many = statistics.median(small), statistics.median(large)
    print(f"{what:6} {few * 1e6:.1f} us among {FEW} tasks, {many * 1e6:.1f} us among all;", end=" ")
    print(f"median ratio {many / few:.2f}; target about 1")


def history(service: Service, accounts: int) -> None:
    """Fills the journals of so many accounts beyond the budget; prints memory, and the longest time of one request."""
    before, longest, began = resident(), 0.0, time.perf_counter()
    for number in range(REQUESTS * accounts):
        headers = {b"authorization": b"Bearer sk-%d" % (number % accounts), b"x-large": bytes(HEADER_BYTES)}
        exchange = Exchange("GET", "/v1/credits", headers, origin="http://127.0.0.1:4010")
        response = credits.show(service, exchange)
        exchange.status, exchange.response_body = response.status, response.body
        account = service.storage.account_by_name(exchange.account or "")
        # the processor's time, because other processes would count too
        start = time.thread_time()
        service.storage.append(exchange, account)
        longest = max(longest, time.thread_time() - start)
    took = time.perf_counter() - began
    print(f"{accounts} accounts, {REQUESTS} requests each with {HEADER_BYTES} bytes of headers, in {took:.1f} s")
    print(f"longest time in the journal {longest * 1e3:.1f} ms; target at most 50")
    print(f"MiB resident: {before / MIB:.0f} before, {resident() / MIB:.0f} now,", end=" ")
    print(f"of which {service.storage.budget.used / MIB:.0f} counted;", end=" ")
    took = timed(lambda: control.reset(service, None))
    print(f"{resident() / MIB:.0f} after a reset, which takes {took:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--accounts", type=int, help="fills the history of so many accounts instead")
    options = parser.parse_args()
    now = Time()
    settings = Settings(credits=None, seed=1)
    if options.accounts:
        history(build_service(settings, now), options.accounts)
        return
    many, few = build_service(settings, now), build_service(settings, now)
    # What is built on first use does not count for a task.
    create(many, FEW)
    memory(many, now, options.tasks)
    growth(many, few, now, options.batches, 500)


if __name__ == "__main__":
    main()
