"""Looks up the addresses of host names, each in its own thread, so that a slow name server delays only its own names.

`loop.getaddrinfo` uses the default executor: there six look-ups that hang would block every other one.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from sora_mock.domain.callback_url import Address, parse_ipv4

MAX_LOOKUPS: Final = 2_000
"""Names that are looked up at once, each in a thread: as many as there are attempts at once (`MAX_CONCURRENT`).

Attempts for the same name wait for one look-up. A look-up cannot be cancelled, so one that hangs keeps its thread.
"""


class UnknownHost(Exception):
    """A name has no address, or its look-up failed."""


class Resolver:
    """Looks up host names.

    look_up: returns the addresses of a name, and blocks; None uses the resolver of the machine. Tests pass another one.
    """

    def __init__(self, look_up: Callable[[str], list[Address]] | None = None) -> None:
        self._look_up = look_up or system_addresses
        self._pending: dict[str, asyncio.Future[list[Address]]] = {}
        self._places = asyncio.Semaphore(MAX_LOOKUPS)

    async def addresses(self, host: str) -> list[Address]:
        """Every address of a host name or literal address, at least one. The caller sets the time limit.

        Raises UnknownHost for a name without an address.
        """
        literal = _literal(host)
        if literal is not None:
            return [literal]
        future = self._pending.get(host)
        if future is None:
            # the time limit of the caller ends this wait
            await self._places.acquire()
            future = self._pending.get(host)
            if future is None:
                future = self._start(host)
            else:
                self._places.release()
        # shielded, because the timeout of one caller must not cancel the look-up for the others
        return await asyncio.shield(future)

    def _start(self, host: str) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        future = self._pending[host] = loop.create_future()
        # reads the exception, because asyncio logs an exception that no caller reads
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def settle(found: list[Address], problem: Exception | None) -> None:
            del self._pending[host]
            self._places.release()
            if problem is not None:
                future.set_exception(problem)
            else:
                future.set_result(found)

        def run() -> None:
            found: list[Address] = []
            problem: Exception | None = None
            try:
                found = self._look_up(host)
            except (OSError, UnicodeError, ValueError) as error:
                problem = UnknownHost(f"{host} cannot be resolved: {getattr(error, 'strerror', None) or error}")
            if not found and problem is None:
                problem = UnknownHost(f"{host} has no address")
            # the server may have ended meanwhile
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found, problem)

        try:
            threading.Thread(target=run, name=f"resolve {host}", daemon=True).start()
        except RuntimeError as problem:
            settle([], UnknownHost(f"{host} cannot be resolved: {problem}"))
        return future


def _literal(host: str) -> Address | None:
    """The address that a host is, in any spelling; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return parse_ipv4(host.removesuffix("."))


def system_addresses(host: str) -> list[Address]:
    """The addresses of a name from the machine's resolver, each once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))
