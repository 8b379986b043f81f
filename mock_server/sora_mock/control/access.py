"""Who may use the control API: local programs and pages, and clients with the token; no web page of another site."""

import hmac
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sora_mock.control.errors import ControlError, error_response
from sora_mock.domain.authority import TARGET, host_of, origin_host, target_host

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


FETCH_SITES: Final = frozenset({"same-origin", "same-site", "none"})
"""What `Sec-Fetch-Site` says in a request that no page of another site has caused."""


class AccessRule:
    """Decides by a request's headers and target. Only names of hosts are compared, never ports."""

    def __init__(self, host: str, public_url: str | None, token: str | None) -> None:
        """host: the address to listen on. public_url: None for none. token: the control token; None for none."""
        names = {host.lower(), *LOOPBACK_NAMES}
        if public_url is not None:
            names.add(urlsplit(public_url).hostname or "")
        self._own_names = frozenset(names)
        self._token = token
        self._needs_token = token is not None or not is_loopback(host)

    def rejection(
        self, headers: Headers, *, health: bool, target: str | None = None, version: str = "1.1"
    ) -> str | None:
        """Why a request is rejected; None where it is accepted.

        health: the request only asks whether the server is alive. It may name any host, because probes use the
        address of a pod, and needs no token. target: the request target where it is not a path. version: of HTTP.
        """
        has_token = self._token is not None and hmac.compare_digest(
            headers.get("x-mock-token", "").encode(), self._token.encode()
        )
        reason = None if health else self._host_rejection(headers.getlist("host"), target, version, has_token)
        return reason or self._page_rejection(headers) or self._token_rejection(health or has_token)

    def _host_rejection(self, hosts: list[str], target: str | None, version: str, has_token: bool) -> str | None:
        if len(hosts) > 1 or (not hosts and version != "1.0"):
            return f"the request has {len(hosts)} Host headers; expected exactly one"
        named = [("Host", host, host_of(host)) for host in hosts]
        if target is not None:
            named.append(("the target", target, target_host(target)))
        for what, text, name in named:
            if name is None or not (has_token or name in self._own_names):
                remedy = "use localhost, or send X-Mock-Token" if self._token else "use localhost"
                return f"{what} {text[:80]!r} is not this server; {remedy}, or name it with --public-url"
        return None

    def _page_rejection(self, headers: Headers) -> str | None:
        origins = headers.getlist("origin")
        if len(origins) > 1:
            return f"the request has {len(origins)} Origin headers; expected at most one"
        if origins and origin_host(origins[0]) not in self._own_names:
            return f"Origin {origins[0][:80]!r} is not this server's own"
        if any(site.lower() not in FETCH_SITES for site in headers.getlist("sec-fetch-site")):
            return "a page of another site may not call the control API"
        return None

    def _token_rejection(self, is_free: bool) -> str | None:
        if is_free or not self._needs_token:
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
            reason = self._rule.rejection(
                Headers(scope=scope),
                health=scope["path"] == "/__mock/health",
                target=scope.get("extensions", {}).get(TARGET),
                version=scope["http_version"],
            )
            if reason is not None:
                await error_response(ControlError(403, "forbidden", reason))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
