"""Runs the application on a port: in this process until a signal, or in a thread, for tests and programs."""

import asyncio
import contextlib
import itertools
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import uvicorn

from sora_mock.app import create_app
from sora_mock.config.options import Options, with_options
from sora_mock.config.settings import SettingError, Settings
from sora_mock.runtime.collector import collector_paused
from sora_mock.runtime.connections import Connections, connection_limit
from sora_mock.runtime.console import fill_standard_files
from sora_mock.runtime.events import EventBus
from sora_mock.runtime.protocol import Protocol

if TYPE_CHECKING:
    from sora_mock.client.account import Account

GRACE: Final = 1
"""Real seconds that open requests get when the server stops. After them no response begins."""


class Server(uvicorn.Server):
    """uvicorn's server. It calls `on_ready` when it accepts connections, and its signal handling is ours."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_signal: Callable[[], None] = lambda: None
    ) -> None:
        """on_signal: called with each signal that stops the server, in the signal handler."""
        super().__init__(config)
        self.on_ready = on_ready
        self.on_signal = on_signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept connections, then calls `on_ready`."""
        await super().startup(sockets)
        self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops on SIGINT and SIGTERM. uvicorn's own handling raises the signal again at the end (exit code -15)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {each: signal.signal(each, self._stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.should_exit = True
        self.on_signal()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits `GRACE` seconds for open requests, then closes all connections.

        They close before uvicorn cancels the requests: a cancelled request would begin a response.
        """
        asyncio.get_running_loop().call_later(GRACE, self._abort_connections)
        await super().shutdown(sockets)
        self._abort_connections()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises SettingError if the address cannot be used."""
    try:
        family, *_, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=is_dual)
    except (OSError, UnicodeError) as problem:
        # behind the reason `create_server` names the address once more
        reason = (getattr(problem, "strerror", None) or "it is no address").partition(" (while")[0]
        raise SettingError(f"cannot listen on --host {settings.host} port {settings.port}: {reason}") from None


def url_of(host: str, listener: socket.socket) -> str:
    """The URL for clients: the host as it was given, loopback where it means every address, and the real port."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Keeps uvicorn from logging in this thread, for example each request that the end of the server cuts off.

    Our application reports bugs itself. The logger keeps its settings, because servers of the user share it.
    """
    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)


def configured(app: Any) -> uvicorn.Config:
    """How uvicorn runs the application: on httptools and uvloop. The limits of time are those of our protocol."""
    return uvicorn.Config(
        app,
        http=partial(Protocol, waiting=Connections(connection_limit())),  # type: ignore[arg-type]  # makes one
        ws="none",
        lifespan="off",
        # None, None and True leave the loggers as they are; runtime/log.py is our access log
        log_config=None,
        log_level=None,
        access_log=True,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )


def allow_many_files() -> None:
    """Raises the soft limit of open files: each connection and each callback attempt needs one."""
    try:
        # Windows has no such limit
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(
    settings: Settings,
    on_ready: Callable[[str, int], None],
    watch: Callable[[EventBus], None],
    on_signal: Callable[[], None],
) -> None:
    """Runs until SIGINT or SIGTERM. It gives `on_ready` the URL and the seed once it accepts connections.

    watch: receives the event bus before that. on_signal: called in the signal handler. Raises SettingError before it
    starts anything.
    """
    fill_standard_files()
    allow_many_files()
    with collector_paused():
        app = create_app(settings)
    watch(app.state.events)
    listener = bind(settings)
    url = url_of(settings.host, listener)
    with unreported():
        Server(configured(app), lambda: on_ready(url, app.state.seed), on_signal).run([listener])


class MockServer:
    """A server in a thread of this process: `with MockServer() as mock:` and send requests to `mock.url`.

    options: named as in the settings file; the port is a free one unless given. deadline: real seconds for the start
    and for the end. Raises SettingError for options that cannot be used and, when it starts, for an address that
    cannot be used; TimeoutError; any exception of the thread.
    """

    def __init__(self, settings: Settings | None = None, *, deadline: float = 10.0, **options: Unpack[Options]) -> None:
        self.settings = with_options(settings or Settings(port=0), options)
        self.deadline = deadline
        self.url = ""
        """Where the server listens; empty before the start."""
        self._accounts = itertools.count(1)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Starts the server and returns when it accepts connections."""
        if self._thread is not None:
            raise RuntimeError("the server has been started already")
        self.app = create_app(self.settings)
        listener = bind(self.settings)
        self.url = url_of(self.settings.host, listener)
        self._ready.clear()
        server = self._server = Server(configured(self.app), self._ready.set)
        self._thread = threading.Thread(target=self._run, args=(server, listener), name="sora-mock", daemon=True)
        self._thread.start()
        if not self._ready.wait(self.deadline):
            server.should_exit = True
            raise TimeoutError(f"the server was not ready within {self.deadline:g} s")
        if self._failure is not None:
            self.stop()
        return self

    def _run(self, server: Server, listener: socket.socket) -> None:
        try:
            with unreported():
                server.run([listener])
        except BaseException as problem:
            self._failure = problem
        finally:
            listener.close()
            self._ready.set()

    def stop(self) -> None:
        """Stops the server, which can start again; does nothing if none runs. Raises what ended the thread."""
        thread, server = self._thread, self._server
        if thread is None or server is None:
            return
        server.should_exit = True
        thread.join(self.deadline)
        if thread.is_alive():
            raise TimeoutError(f"the server did not end within {self.deadline:g} s")
        self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def account(self, key: str | None = None) -> "Account":
        """The account of a key, like that of the pytest fixture; by default a new account with a key of its own."""
        # a server that the command line starts never needs the client
        from sora_mock.client.account import Account

        if not self.url:
            raise RuntimeError("the server has not been started: use `with MockServer() as mock:` or .start()")
        return Account(self.url, key or f"sk-account-{next(self._accounts)}", token=self.settings.control_token)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # an exception of the block says more than a failure of the server
        with contextlib.suppress(*(() if value is None else (Exception,))):
            self.stop()
