"""One POST to a receiver: resolve the name, check every address, connect to a checked one.

h11 on asyncio's streams does it, because an HTTP client library would resolve the name again after the check.
TLS and the Host header use the name. The sender follows no redirect, uses no proxy of the environment, and
opens a connection for each attempt.
"""

import asyncio
import ssl
from base64 import b64encode
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import h11
import msgspec

from sora_mock.callbacks.resolver import Resolver, UnknownHost
from sora_mock.domain.callback_url import Address, address_rejection
from sora_mock.domain.delivery import MAX_REPLY_BYTES, TIMEOUT
from sora_mock.runtime.batches import Batches
from sora_mock.version import VERSION

USER_AGENT: Final = f"sora-mock/{VERSION}"
CHUNK_BYTES: Final = 16 * 1024
"""Bytes that are read from a connection at once."""

STEPS: Final = 8
"""Requests that are written and pieces of responses that are read in one iteration of the event loop, 0.1 ms each.

Far fewer than attempts that begin in an iteration: those come first, so that none begins late.
"""

MAX_INFORMATIONAL: Final = 20
"""Responses with a 1xx status before the final one. More of them would delay every other attempt."""


class AttemptResult(msgspec.Struct, frozen=True):
    """The result of one attempt: a response, or an error.

    status: HTTP status of the response; None where there was no response.
    error: why there was no response, as `class: detail`; None where there was one.
    reply: the beginning of the response body, at most `MAX_REPLY_BYTES`.
    """

    status: int | None = None
    error: str | None = None
    reply: bytes = b""


class Sender:
    """Sends callbacks.

    authority: a PEM file of certificates that are trusted besides those of the system; None trusts no others.
    resolver: finds the addresses of names; None uses the resolver of the machine.
    """

    def __init__(self, authority: str | None = None, resolver: Resolver | None = None) -> None:
        self.resolver = resolver or Resolver()
        self.authority = authority
        self._steps = Batches(STEPS)

    async def post(self, url: str, body: bytes, *, trusted: bool, limit: float = TIMEOUT) -> AttemptResult:
        """Makes one attempt.

        trusted: whether internal addresses are accepted, because the user allowed this origin.
        limit: real seconds after which the attempt ends, also while the receiver is sending.
        """
        response = _Response()
        try:
            async with asyncio.timeout(limit):
                await self._exchange(urlsplit(url), body, trusted, response)
        except TimeoutError:
            if response.status is None:
                return AttemptResult(error=f"timeout: no response within {limit:g} s")
        except UnknownHost as problem:
            return AttemptResult(error=f"name: {problem}")
        except PermissionError as problem:
            return AttemptResult(error=f"internal_address: {problem}")
        except ssl.SSLError as problem:
            return AttemptResult(error=f"tls: {_readable(problem)}")
        except h11.RemoteProtocolError as problem:
            if response.status is None:
                return AttemptResult(error=f"protocol: {problem}")
        except ConnectionRefusedError:
            return AttemptResult(error="refused: the receiver does not accept connections")
        except OSError as problem:
            if response.status is None:
                return AttemptResult(error=f"connection: {problem.strerror or type(problem).__name__}")
        # a status that arrived counts, even if its body broke off
        return AttemptResult(response.status, None, bytes(response.body[:MAX_REPLY_BYTES]))

    async def _exchange(self, url: SplitResult, body: bytes, trusted: bool, response: "_Response") -> None:
        host = url.hostname or ""
        addresses = await self.resolver.addresses(host)
        if not trusted:
            rejection = next(filter(None, map(address_rejection, addresses)), None)
            if rejection is not None:
                raise PermissionError(rejection)
        reader, writer = await self._connect(addresses, url, host)
        try:
            await self._steps.take()
            connection = h11.Connection(h11.CLIENT)
            head = connection.send(_request(url, host, len(body)))
            data = connection.send(h11.Data(data=body))
            end = connection.send(h11.EndOfMessage())
            writer.write(b"".join(part for part in (head, data, end) if part))
            await self._read_response(connection, reader, response)
        finally:
            # an orderly close waits for the receiver, which may hang
            writer.transport.abort()

    async def _connect(
        self, addresses: list[Address], url: SplitResult, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that accepts one; for TLS the certificate must be valid for the host."""
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        context = self._context if secure else None
        problem: OSError = ConnectionRefusedError()
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    str(address), port, ssl=context, server_hostname=host.removesuffix(".") if secure else None
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                problem = error
        raise problem

    async def _read_response(
        self, connection: h11.Connection, reader: asyncio.StreamReader, response: "_Response"
    ) -> None:
        informational = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(CHUNK_BYTES)
                await self._steps.take()
                if not data and response.status is None:
                    raise h11.RemoteProtocolError("the connection was closed before a response arrived")
                connection.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                informational += 1
                if informational > MAX_INFORMATIONAL:
                    raise h11.RemoteProtocolError(f"more than {MAX_INFORMATIONAL} responses with a 1xx status")
            elif isinstance(event, h11.Response):
                response.status = event.status_code
            elif isinstance(event, h11.Data):
                response.body += event.data
                if len(response.body) >= MAX_REPLY_BYTES:
                    return
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.authority is not None:
            context.load_verify_locations(self.authority)
        return context


class _Response:
    """The part of a response that has arrived so far.

    status: HTTP status; None before it arrived.
    body: the bytes of the body.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = bytearray()


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


@lru_cache(maxsize=256)
def _request(url: SplitResult, host: str, length: int) -> h11.Request:
    """The request line and headers. Cached, because h11 needs more time to check them than for all the rest."""
    return h11.Request(method="POST", target=_target(url), headers=_headers(url, host, length))


def _headers(url: SplitResult, host: str, length: int) -> list[tuple[str, str]]:
    shown = f"[{host}]" if ":" in host else host
    port = url.port
    headers = [
        ("Host", shown if port is None else f"{shown}:{port}"),
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json"),
        ("Content-Length", str(length)),
        ("Connection", "close"),
    ]
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers.append(("Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
    return headers


def _readable(problem: ssl.SSLError) -> str:
    verified = getattr(problem, "verify_message", None)
    return str(verified or problem.reason or problem)
