"""How long a client waits for its response while another one sends a flood of pipelined requests on one connection."""

import argparse
import socket
import subprocess
import time
from threading import Thread
from urllib.parse import urlsplit

from servers import MOCK, running

REQUEST = b"GET /v1/credits HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-flood\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="of the flood (100,000)")
    count = parser.parse_args().requests
    with running((*MOCK, "serve", "--port", "0", "--quiet"), subprocess.DEVNULL) as mock:
        parts = urlsplit(mock.url)
        address = (parts.hostname or "", parts.port or 0)
        quiet = waits(address, lambda done: done < 1000)
        with socket.create_connection(address) as flood:
            reader = Thread(target=drain, args=(flood, count))
            sender = Thread(target=flood.sendall, args=(REQUEST * count,))
            began = time.perf_counter()
            reader.start()
            sender.start()
            during = waits(address, lambda _: reader.is_alive())
            seconds = time.perf_counter() - began
    for name, found in (("without the flood", quiet), ("during the flood", during)):
        longest, median = max(found) * 1000, sorted(found)[len(found) // 2] * 1000
        print(f"{name}: {len(found)} requests, median {median:.1f} ms, longest {longest:.1f} ms")
    print(f"the flood: {count} requests in {seconds:.1f} s")


def drain(connection: socket.socket, count: int) -> None:
    """Reads until all responses have begun."""
    found, tail = 0, b""
    while found < count:
        data = tail + connection.recv(1024 * 1024)
        found += data.count(b"HTTP/1.1 ")
        tail = data[-8:] if not data.endswith(b"HTTP/1.1 ") else b""


def waits(address, goes_on) -> list[float]:  # type: ignore[no-untyped-def]
    """Seconds of each request of a second client, one after the other."""
    found: list[float] = []
    with socket.create_connection(address) as connection:
        while goes_on(len(found)):
            began = time.perf_counter()
            connection.sendall(REQUEST)
            raw = b""
            while not raw.endswith(b'"success":true}'):
                raw += connection.recv(65536)
            found.append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    main()
