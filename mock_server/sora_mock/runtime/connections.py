"""The connections of a server: how long each waits for its client, how many may be open, and which closes first."""

from collections import OrderedDict
from typing import Final, Protocol

HEAD_TIMEOUT: Final = 30.0
"""Real seconds from the first byte of a request to the end of its headers; for the first one, from the connect."""

BODY_TIMEOUT: Final = 30.0
"""Real seconds from the end of the headers to the end of the body, however the body arrives."""

IDLE_TIMEOUT: Final = 75.0
"""Real seconds from a response to the first byte of the next request. A client that reads nothing has at least as many.

Not less than `HEAD_TIMEOUT`: the timer of a connection fires at least once in this time.
"""

RESERVED_FILES: Final = 4_500
"""Descriptors for everything else: 2,000 callback attempts, 2,000 name lookups, and the server's own files."""


class Closable(Protocol):
    """A connection, as `Connections` uses it."""

    def give_up(self) -> None:
        """Closes it in favour of another one."""


class Connections:
    """The connections that wait for their clients, the longest first. The server closes that one if it has too many."""

    def __init__(self, limit: int) -> None:
        """limit: connections of the server, waiting or not, beyond which a new one closes a waiting one."""
        self._limit = limit
        # the first key of a plain dict is found by a search through all deleted entries before it
        self._waiting: OrderedDict[Closable, None] = OrderedDict()

    def admit(self, connection: Closable, count: int) -> None:
        """A client has connected, and nothing has arrived yet. count: connections of the server with this one."""
        if count > self._limit and self._waiting:
            self._waiting.popitem(last=False)[0].give_up()
        self.wait(connection)

    def wait(self, connection: Closable) -> None:
        """From now on the connection waits for its client, also if it waited before."""
        self._waiting[connection] = None
        self._waiting.move_to_end(connection)

    def work(self, connection: Closable) -> None:
        """The connection does not wait any more: a request is complete, or the client has left."""
        self._waiting.pop(connection, None)


def connection_limit() -> int:
    """How many connections leave enough descriptors for the rest of the server; at least half of all descriptors."""
    files = file_limit()
    return max(files // 2, files - RESERVED_FILES)


def waiting_limit() -> int:
    """How many requests may wait for something else than their client: the server cannot close their connections."""
    return max(1, file_limit() // 4)


def file_limit() -> int:
    """How many descriptors this process may have. Where the system has no limit, so many that no bound is reached."""
    try:
        # Windows has no such limit
        import resource
    except ImportError:
        return 12_692
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 70_036 if soft == resource.RLIM_INFINITY else soft
