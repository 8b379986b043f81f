"""The application on a port: in this process until a signal, or in a thread of a test with a deadline."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import uvicorn

from sora_mock.app import create_app
from sora_mock.config.options import Options, with_options
from sora_mock.config.settings import SettingError, Settings
from sora_mock.runtime.protocol import Protocol

if TYPE_CHECKING:
    from sora_mock.client.account import Account

GRACE: Final = 1
"""Seconds that open requests get at the end."""


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it accepts connections and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept, then says so."""
        await super().startup(sockets)
        self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops on SIGINT and SIGTERM; uvicorn's own would raise them again at the end (exit -15)."""
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Gives open requests their grace, then ends their connections: nobody is waited for."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises SettingError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no address"
        raise SettingError(f"cannot listen on --host {settings.host} port {settings.port}: {reason}") from None
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """The address to call: the host as it was given, loopback where it means every address, and the real port."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Keeps uvicorn from reporting what it does in this thread, such as every request that the end cut off.

    Our endpoints report bugs themselves. The logger stays as it is: it is also that of servers of the user's own.
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
    """How uvicorn runs the application: on httptools and uvloop."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        # None, None and True leave the loggers as they are; our protocol has a log of its own
        log_config=None,
        log_level=None,
        access_log=True,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,
    )


def allow_many_files() -> None:
    """Raises the soft limit of open files: each connection and each callback attempt is one."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fill_standard_files() -> None:
    """Opens those of the three that are closed: libuv aborts where one of its own sockets gets their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def serve(settings: Settings, on_ready: Callable[[str, int], None], watch: Callable[[Any], None]) -> None:
    """Runs until SIGINT or SIGTERM. `on_ready` is told the URL and the seed once connections are accepted.

    watch: is given the service before that. Raises SettingError before anything is started.
    """
    fill_standard_files()
    allow_many_files()
    app = create_app(settings)
    watch(app.state.events)
    listener = bind(settings)
    url = url_of(settings.host, listener)
    with unreported():
        Server(configured(app), lambda: on_ready(url, app.state.seed)).run([listener])


class MockServer:
    """A server in a thread of this process: `with MockServer() as mock:` and call `mock.url`.

    options: as the settings file names them; the port is a free one unless given. deadline: real seconds for the start
    and for the end. Raises SettingError for options that cannot be used, at the start also for an address that cannot
    be had, TimeoutError, and whatever the thread raised.
    """

    def __init__(self, settings: Settings | None = None, *, deadline: float = 10.0, **options: Unpack[Options]) -> None:
        self.settings = with_options(settings or Settings(port=0), options)
        self.deadline = deadline
        self.url = ""
        """Where it listens, once it does."""
        self._accounts = itertools.count(1)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Returns when connections are accepted."""
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
            with unreported(), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(server.serve([listener]))
        except BaseException as problem:
            self._failure = problem
        finally:
            listener.close()
            self._ready.set()

    def stop(self) -> None:
        """Ends the server, which can be started again; does nothing where there is none. Raises what it raised."""
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
        """The account of a key, as the pytest fixture gives it; by default one that nobody else has."""
        # a server that is started from the command line never needs it
        from sora_mock.client.account import Account

        if not self.url:
            raise RuntimeError("the server has not been started: use `with MockServer() as mock:` or .start()")
        return Account(self.url, key or f"sk-account-{next(self._accounts)}", token=self.settings.control_token)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what the block raised tells more than that the server failed too
        with contextlib.suppress(*(() if value is None else (Exception,))):
            self.stop()
