"""One POST to a receiver: resolve, check every address, connect to the checked one, keep the name for TLS and Host.

h11 on asyncio's streams, because the connect step has to be ours: a client library would resolve the name again.
Redirects are not followed, proxies of the environment are not asked, nothing is reused.
"""

import asyncio
import ssl
from base64 import b64encode
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import h11
import msgspec

from sora_mock.callbacks.resolver import Resolver, UnknownHost
from sora_mock.domain.callback_url import Address, address_refusal
from sora_mock.domain.delivery import LONGEST_REPLY, TIMEOUT
from sora_mock.version import VERSION

USER_AGENT: Final = f"sora-mock/{VERSION}"
PIECE: Final = 16 * 1024
MOST_EARLY: Final = 20
"""1xx answers before the real one; a flood of them would hold up every other attempt."""


class Result(msgspec.Struct, frozen=True):
    """What came of an attempt: a status and the beginning of the answer, or an error as `class: detail`."""

    status: int | None = None
    error: str | None = None
    reply: bytes = b""


class Sender:
    """Sends callbacks. `authority`: a PEM file whose certificates are trusted beside the system's."""

    def __init__(self, authority: str | None = None, resolver: Resolver | None = None) -> None:
        self.resolver = resolver or Resolver()
        self.authority = authority
        self._context: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, *, trusted: bool, limit: float = TIMEOUT) -> Result:
        """One attempt, over within `limit` real seconds whatever the receiver does.

        trusted: internal addresses are not refused, because the user named this origin.
        """
        answer = _Answer()
        try:
            async with asyncio.timeout(limit):
                await self._exchange(urlsplit(url), body, trusted, answer)
        except TimeoutError:
            if answer.status is None:
                return Result(error=f"timeout: no answer within {limit:g} s")
        except UnknownHost as problem:
            return Result(error=f"name: {problem}")
        except PermissionError as problem:
            return Result(error=f"internal_address: {problem}")
        except ssl.SSLError as problem:
            return Result(error=f"tls: {_readable(problem)}")
        except h11.RemoteProtocolError as problem:
            if answer.status is None:
                return Result(error=f"protocol: {problem}")
        except ConnectionRefusedError:
            return Result(error="refused: nobody accepts connections there")
        except OSError as problem:
            if answer.status is None:
                return Result(error=f"connection: {problem.strerror or type(problem).__name__}")
        # a status that arrived counts, whatever happened to the body behind it
        return Result(answer.status, None, bytes(answer.body[:LONGEST_REPLY]))

    async def _exchange(self, url: SplitResult, body: bytes, trusted: bool, answer: "_Answer") -> None:
        host = url.hostname or ""
        addresses = await self.resolver.addresses(host)
        if not trusted:
            refused = next(filter(None, map(address_refusal, addresses)), None)
            if refused is not None:
                raise PermissionError(refused)
        reader, writer = await self._connect(addresses, url, host)
        try:
            connection = h11.Connection(h11.CLIENT)
            head = connection.send(h11.Request(method="POST", target=_target(url), headers=_headers(url, host, body)))
            data = connection.send(h11.Data(data=body))
            end = connection.send(h11.EndOfMessage())
            writer.write(b"".join(part for part in (head, data, end) if part))
            await _read_answer(connection, reader, answer)
        finally:
            # not closed in good manners: a receiver that hangs would hold that up too
            writer.transport.abort()

    async def _connect(
        self, addresses: list[Address], url: SplitResult, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that takes one; for TLS the certificate has to bear the name."""
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        context = self._tls() if secure else None
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

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context()
            if self.authority is not None:
                context.load_verify_locations(self.authority)
            self._context = context
        return self._context


class _Answer:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = bytearray()


async def _read_answer(connection: h11.Connection, reader: asyncio.StreamReader, answer: _Answer) -> None:
    early = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(PIECE)
            if not data and answer.status is None:
                raise h11.RemoteProtocolError("the connection was closed before an answer came")
            connection.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            early += 1
            if early > MOST_EARLY:
                raise h11.RemoteProtocolError(f"more than {MOST_EARLY} answers of the kind 1xx")
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
        elif isinstance(event, h11.Data):
            answer.body += event.data
            if len(answer.body) >= LONGEST_REPLY:
                return
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _headers(url: SplitResult, host: str, body: bytes) -> list[tuple[str, str]]:
    shown = f"[{host}]" if ":" in host else host
    port = url.port
    headers = [
        ("Host", shown if port is None else f"{shown}:{port}"),
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers.append(("Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
    return headers


def _readable(problem: ssl.SSLError) -> str:
    verified = getattr(problem, "verify_message", None)
    return str(verified or problem.reason or problem)
