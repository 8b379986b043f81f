"""Who may use the control API: local programs and pages, and holders of the token; never a stranger's web page."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """Decides from a request's headers. Host names are compared, never ports.

    own: the names under which the server is called. token: None where none was set.
    open_: the server listens on a loopback address, so that no token is needed.
    """

    def __init__(self, host: str, public_url: str | None, token: str | None) -> None:
        names = {host.lower(), *LOOPBACK_NAMES}
        if public_url is not None:
            names.add(urlsplit(public_url).hostname or "")
        self.own = frozenset(names)
        self.token = token
        self.open_ = token is None and is_loopback(host)

    def refusal(self, headers: Mapping[str, str], *, health: bool) -> str | None:
        """Why a request is refused (HTTP 403), None where it is not. `health` asks only whether we live.

        headers: case-insensitive, as Starlette gives them.
        """
        holds_token = self.token is not None and hmac.compare_digest(
            headers.get("x-mock-token", "").encode(), self.token.encode()
        )
        host = headers.get("host")
        if host is not None and not holds_token and host_name(host) not in self.own:
            remedy = "call it by localhost, or send X-Mock-Token" if self.token else "call it by localhost"
            return f"Host {host[:80]!r} is not this server; {remedy}, or name it with --public-url"
        origin = headers.get("origin")
        if origin is not None and host_name(origin.partition("://")[2]) not in self.own:
            return f"Origin {origin[:80]!r} is not this server's own"
        if headers.get("sec-fetch-site") == "cross-site":
            return "a page of another site may not call the control API"
        if health or holds_token or self.open_:
            return None
        if self.token is None:
            return "beyond loopback the control API needs a token: start with --control-token"
        return "X-Mock-Token is missing or wrong"


def host_name(host: str) -> str:
    """The name in a Host header, in lower case, without port and brackets; empty where it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a server on this address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
