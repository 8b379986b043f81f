"""Who may use the control API: local programs and pages, and clients with the token; no web page of another site."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sora_mock.control.errors import ControlError, error_response

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class AccessRule:
    """Decides by a request's headers. Only names of hosts are compared, never ports."""

    def __init__(self, host: str, public_url: str | None, token: str | None) -> None:
        """host: the address to listen on. public_url: None for none. token: the control token; None for none."""
        names = {host.lower(), *LOOPBACK_NAMES}
        if public_url is not None:
            names.add(urlsplit(public_url).hostname or "")
        self._own_names = frozenset(names)
        self._token = token
        self._needs_token = token is not None or not is_loopback(host)

    def rejection(self, headers: Mapping[str, str], *, health: bool) -> str | None:
        """Why a request is rejected; None where it is accepted.

        headers: by lower-case name. health: the request only asks whether the server is alive, which needs no token.
        """
        has_token = self._token is not None and hmac.compare_digest(
            headers.get("x-mock-token", "").encode(), self._token.encode()
        )
        host = headers.get("host")
        if host is not None and not has_token and host_name(host) not in self._own_names:
            remedy = "call it by localhost, or send X-Mock-Token" if self._token else "call it by localhost"
            return f"Host {host[:80]!r} is not this server; {remedy}, or name it with --public-url"
        origin = headers.get("origin")
        if origin is not None and host_name(origin.partition("://")[2]) not in self._own_names:
            return f"Origin {origin[:80]!r} is not this server's own"
        if headers.get("sec-fetch-site") == "cross-site":
            return "a page of another site may not call the control API"
        if health or has_token or not self._needs_token:
            return None
        if self._token is None:
            return "beyond loopback the control API needs a token: start with --control-token"
        return "X-Mock-Token is missing or wrong"


class AccessMiddleware:
    """ASGI middleware around the control API: 403 where the rule rejects a request."""

    def __init__(self, app: ASGIApp, rule: AccessRule) -> None:
        self._app = app
        self._rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes an accepted request on."""
        if scope["type"] == "http":
            health = scope["path"] == "/__mock/health"
            reason = self._rule.rejection(Headers(scope=scope), health=health)
            if reason is not None:
                await error_response(ControlError(403, "forbidden", reason))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_name(host: str) -> str:
    """The name in a Host header, in lower case, without port and brackets; empty for an invalid one."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
