"""Which host a request names, in its Host header, its Origin or its target; all three are read in the same way."""

import re
from typing import Final

TARGET: Final = "sora_mock.target"
"""The ASGI extension that holds a request target which is not a path, such as `http://localhost/v1/credits`."""

_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")

MAX_PORT: Final = 65535


def host_of(authority: str) -> str | None:
    """The host of `name`, `name:port` or `[address]:port`, in lower case and without brackets; None for any other text.

    A user name, a port outside 1 to 65535, a list, white space and letters beyond ASCII make it invalid: programs read
    such a text in different ways. A port may be empty (RFC 3986 3.2.3).
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None or (found[2] and not 1 <= int(found[2]) <= MAX_PORT):
        return None
    return found[1].strip("[]").lower()


def origin_host(origin: str) -> str | None:
    """The host of an Origin header, `scheme://authority` with nothing behind it; None for any other text."""
    found = _URL.fullmatch(origin)
    return None if found is None else host_of(found[2])


def target_host(target: str) -> str | None:
    """The host of a request target in absolute form, which is an http or https URL; None for any other text."""
    found = _URL.match(target)
    return host_of(found[2]) if found is not None and found[1].lower() in ("http", "https") else None
