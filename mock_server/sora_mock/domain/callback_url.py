"""Which callback addresses the service accepts: https only, and no address of an internal network.

Source: published contract, `callback_url` (https only, internal addresses prohibited; it names four ranges).
Assumption: the other ranges below are internal too (docs/fidelity.md).
"""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

Address = IPv4Address | IPv6Address

_INTERNAL_V4: Final = tuple(
    (IPv4Network(network), rule)
    for network, rule in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_INTERNAL_V6: Final = tuple(
    (IPv6Network(network), rule)
    for network, rule in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_NAT64: Final = IPv6Network("64:ff9b::/96")

# Characters that UTS 46 removes from a name before the look-up (Unicode: Default_Ignorable_Code_Point)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# WHATWG URL, "forbidden host code point": inet_aton stops at white space, and C strings end at NUL
_FORBIDDEN: Final = re.compile(r"[\s\x00-\x20\x7f#%/<>?@\[\\\]^|]")

_INTERNAL_NAMES: Final = (
    *("localhost", "local", "internal", "localdomain", "home.arpa"),
    # RFC 6762, appendix G: top-level domains of private networks
    *("corp", "home", "intranet", "lan", "private"),
    # names that clusters, container networks and routers give out
    *("consul", "docker", "localnet", "svc"),
)
"""Names of internal networks: these themselves, and all names below them."""


def is_local(url: str) -> bool:
    """Whether a callback address names this machine or one beside it: a loopback address, or an internal name."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return _name_rule(host) is not None


def rejection(url: str) -> str | None:
    """Why the service rejects a callback address, as a sentence that names the rule; None where it accepts it.

    url: a URI of at most 2048 characters; the published contract was checked before.
    """
    if re.search(r"[\s\\\x00-\x1f\x7f]", url):
        return "callback_url must not contain spaces, backslashes or control characters"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "callback_url has a host or a port that cannot be read"
    if parts.scheme.lower() != "https":
        return f"callback_url must use https, got {parts.scheme[:20] or 'no scheme'}"
    authority = parts.netloc.rpartition("@")[2]
    if "[" in authority and not re.fullmatch(r"\[[^\[\]]*:[^\[\]]*\](:\d*)?", authority):
        return "callback_url has a host or a port that cannot be read"
    if not host:
        return "callback_url must name a host"
    if port == 0:
        return "callback_url must not use port 0"
    return host_rejection(host)


def host_rejection(host: str) -> str | None:
    """Why a host is rejected, as a sentence; None where it is accepted.

    host: a name or a literal address; IPv6 without brackets.
    """
    # the name as a resolver reads it: %31 is 1, fullwidth digits are digits, an ideographic full stop is a full stop
    name = unicodedata.normalize("NFKC", _INVISIBLE.sub("", unquote(host))).replace("\u3002", ".").lower()
    name = name.removesuffix(".")
    if ":" in name:
        try:
            return address_rejection(IPv6Address(name))
        except AddressValueError:
            return "callback_url has an IPv6 address that cannot be read"
    if _FORBIDDEN.search(name) or any(unicodedata.category(letter) == "Cn" for letter in name):
        return "callback_url has a host name that cannot be read"
    last = name.rsplit(".", 1)[-1]
    if re.fullmatch(r"\d+|0x[0-9a-f]*", last):
        address = parse_ipv4(name)
        return "callback_url has an IPv4 address that cannot be read" if address is None else address_rejection(address)
    rule = _name_rule(name)
    if rule is not None:
        return f"callback_url must not point to an internal address: {name[:80]} is {rule}"
    if "" in name.split("."):
        return "callback_url has a host name with an empty label"
    if not name.isascii():
        try:
            return host_rejection(name.encode("idna").decode())
        except UnicodeError:
            return "callback_url has a host name that cannot be read"
    # The addresses of any other name are checked when the callback is sent, those of 127.0.0.1.nip.io too.
    return None


def _name_rule(name: str) -> str | None:
    """What kind of internal name it is; None for a public one.

    name: in lower case, without a last full stop.
    """
    if any(name == suffix or name.endswith("." + suffix) for suffix in _INTERNAL_NAMES):
        return "an internal name"
    # resolvers look up a name without a domain in the domain of the network: `metadata`, `ip6-localhost`, `db`
    return "a name without a domain" if name and "." not in name else None


def parse_ipv4(text: str) -> IPv4Address | None:
    """The IPv4 address that resolvers read in a text; None where they read none.

    A text has one to four parts, each decimal, octal (0...) or hexadecimal (0x...).
    """
    parts = text.split(".")
    numbers = [_number(part) for part in parts]
    if len(parts) > 4 or None in numbers:
        return None
    *first, last = [number for number in numbers if number is not None]
    limit: int = 256 ** (4 - len(first))
    if any(number > 255 for number in first) or last >= limit:
        return None
    value = last
    for place, number in enumerate(first):
        value += number * 256 ** (3 - place)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    """The value of one part; 2**64 for a very long one, None where it is no number."""
    for pattern, base in ((r"0x([0-9a-f]*)", 16), (r"0([0-7]+)", 8), (r"(\d+)", 10)):
        match = re.fullmatch(pattern, part)
        if match:
            return int(match[1] or "0", base) if len(part) < 40 else 2**64
    return None


def address_rejection(address: Address) -> str | None:
    """Why a connection to an address is rejected, as a sentence; None for a public address.

    Each connection checks it again, because a name can resolve to other addresses later.
    """
    rule = _internal(address)
    if rule is None:
        return None
    return f"callback_url must not point to an internal address: {address} is {rule}"


def _internal(address: Address) -> str | None:
    """What kind of internal address it is; None for a public one."""
    if isinstance(address, IPv4Address):
        return next((rule for network, rule in _INTERNAL_V4 if address in network), None)
    for network, rule in _INTERNAL_V6:
        if address in network:
            return rule
    if address in _SIX_TO_FOUR:
        return _internal(IPv4Address(int(address) >> 80 & 0xFFFFFFFF))
    if any(address in network for network in (_MAPPED, _NAT64)):
        return _internal(IPv4Address(int(address) & 0xFFFFFFFF))
    return None if address in _GLOBAL_V6 else "reserved"
