"""Names to addresses, in threads of its own: a name server that hangs delays nobody but those who asked for its names.

`loop.getaddrinfo` runs in the default executor, where six hanging names would block every other one.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from sora_mock.domain.callback_url import Address, parse_ipv4

MOST_LOOKUPS: Final = 512
"""Names that are looked up at once, each in a thread; callers that want the same name share one look-up."""


class UnknownHost(Exception):
    """A name that has no address, or cannot be looked up now."""


class Resolver:
    """`look_up` is what `socket.getaddrinfo` does; tests give another one."""

    def __init__(self, look_up: Callable[[str], list[Address]] | None = None) -> None:
        self._look_up = look_up or system_addresses
        self._pending: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Every address of a host, at least one. Raises UnknownHost. The caller sets the time limit."""
        literal = _literal(host)
        if literal is not None:
            return [literal]
        while host not in self._pending and len(self._pending) >= MOST_LOOKUPS:
            # for as long as the caller's time limit allows
            await asyncio.wait(self._pending.values(), return_when=asyncio.FIRST_COMPLETED)
        future = self._pending.get(host) or self._start(host)
        # shielded: one caller's time-out is not another's
        return await asyncio.shield(future)

    def _start(self, host: str) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        future = self._pending[host] = loop.create_future()
        # an exception that nobody waits for any more is nobody's
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def settle(found: list[Address], problem: Exception | None) -> None:
            del self._pending[host]
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
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, found, problem)

        threading.Thread(target=run, name=f"resolve {host}", daemon=True).start()
        return future


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return parse_ipv4(host.removesuffix("."))


def system_addresses(host: str) -> list[Address]:
    """What the machine's resolver says, each address once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))
