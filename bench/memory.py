"""What a finished task costs in memory, and whether creating and polling slow down with the number of tasks."""

import argparse
import gc
import random
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sora_mock.api.endpoint import origin
from sora_mock.app import built_in_scenarios
from sora_mock.config.settings import Settings
from sora_mock.domain.contract import Contract
from sora_mock.runtime import package_data as data
from sora_mock.service.calls import Call
from sora_mock.service.emulator import Emulator
from sora_mock.storage.memory import Store

FEW = 100
TARGET = 700
ORDER = b'{"model":"sora-2-beta-max","prompt":"A cat playing piano on a rainy street at night"}'
HEADERS = {
    b"host": b"127.0.0.1:4010",
    b"authorization": b"Bearer sk-bench",
    b"content-type": b"application/json",
    b"content-length": str(len(ORDER)).encode(),
}


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def new_emulator(now: Time) -> Emulator:
    settings = Settings(credits=None, seed=1)
    return Emulator(settings, Contract(data.contract_document()), built_in_scenarios(), Store(), real_now=now)


def new_call(method: str, path: str, body: bytes = b"") -> Call:
    """A call as the web layer makes it: what each request has of its own, each call has of its own here."""
    headers = dict(HEADERS)
    return Call(method, path, headers, bytes(bytearray(body)), origin(None, None, headers))


def create(emulator: Emulator, number: int) -> None:
    for _ in range(number):
        emulator.create(new_call("POST", "/v1/videos/generations", ORDER))


def finish(emulator: Emulator, now: Time) -> None:
    """Moves the time past every end; the credits of all tasks are settled by the call."""
    now.now += 3600
    emulator.credits(new_call("GET", "/v1/credits"))
    (account,) = emulator.store.accounts.values()
    assert account.ledger.reserved == 0


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def memory(emulator: Emulator, now: Time, number: int) -> None:
    """Fills the emulator, and prints bytes for each task."""
    before, began = resident(), time.perf_counter()
    create(emulator, number)
    took = time.perf_counter() - began
    waiting = resident() - before
    finish(emulator, now)
    finished = resident() - before
    print(f"{number} tasks created at one moment, {took / number * 1e6:.1f} us each")
    print(f"resident bytes for each task: {waiting / number:.0f} while all wait,", end=" ")
    print(f"{finished / number:.0f} when all have finished; target at most {TARGET}")


def timed(operation: Callable[[], object]) -> float:
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def create_batch(emulator: Emulator, size: int) -> float:
    """Seconds of one creation."""
    calls = [new_call("POST", "/v1/videos/generations", ORDER) for _ in range(size)]
    return timed(lambda: [emulator.create(call) for call in calls]) / size


def query_batch(emulator: Emulator, ids: list[str], size: int) -> float:
    """Seconds of one poll of any of `ids`."""
    calls = [(new_call("GET", f"/v1/tasks/{task_id}"), task_id) for task_id in random.choices(ids, k=size)]
    return timed(lambda: [emulator.query(call, task_id) for call, task_id in calls]) / size


def growth(many: Emulator, few: Emulator, now: Time, batches: int, size: int) -> None:
    """Times batches on both in turn, and prints ratios."""
    small, large = [], []
    ids = random.sample(list(many.store.tasks), min(len(many.store.tasks), 100_000))
    create(few, FEW)
    finish(few, now)
    few_ids = list(few.store.tasks)
    for _ in range(batches):
        small.append(query_batch(few, few_ids, size))
        large.append(query_batch(many, ids, size))
    show("poll", small, large)
    small, large = [], []
    for _ in range(batches):
        few.store.clear()
        create(few, FEW)
        small.append(create_batch(few, FEW))
        large.append(create_batch(many, FEW))
    show("create", small, large)


def show(what: str, small: list[float], large: list[float]) -> None:
    few, many = statistics.median(small), statistics.median(large)
    print(f"{what:6} {few * 1e6:.1f} us among {FEW} tasks, {many * 1e6:.1f} us among all;", end=" ")
    print(f"median ratio {many / few:.2f}; target about 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=200)
    options = parser.parse_args()
    now = Time()
    many, few = new_emulator(now), new_emulator(now)
    create(many, FEW)  # what is built on first use is no task's
    memory(many, now, options.tasks)
    growth(many, few, now, options.batches, 500)


if __name__ == "__main__":
    main()
