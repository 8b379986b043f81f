"""Attacks with callback addresses: spellings of internal addresses, and names that lead to them at the connect."""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random
from urllib.parse import quote

from sora_mock.callbacks.resolver import Resolver
from sora_mock.callbacks.sender import Sender
from sora_mock.domain.callback_url import Address, rejection
from tests.attack.registry import Run, attack
from tests.attack.servers import serving
from tests.attack.wire import CREATE, ORDER

INTERNAL_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    *("198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "169.254.169.254/32", "127.0.0.1/32"),
)
INTERNAL_V6 = ("::1/128", "::/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "5f00::/16")
INTERNAL_NAMES = (
    *("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "metadata", "metadata.google.internal"),
    *("printer.lan", "wiki.corp", "nas.home.arpa", "router.local", "db.internal", "api", "intranet", "x.localhost"),
)
PUBLIC = (
    *("https://hooks.example.com/x", "https://1.1.1.1/", "https://8.8.8.8:8443/x", "https://[2606:4700::1111]/"),
    *("https://user:password@hooks.example.com/", "https://a.b.c.example.org:65535/?q=1", "https://münchen.example/"),
    *("https://127.0.0.1.nip.io/", "https://localhost.example.com/", "https://internal.example.com/a"),
)
INVISIBLE = ("\u00ad", "\u200b", "\u200d", "\u2060", "\ufeff", "\u180e", "\ufe0f")
FULL_STOPS = (".", ".", ".", "\u3002", "\uff0e", "\uff61", "%2e", "%2E", "%E3%80%82")


def _in_network(random: Random, network: str) -> Address:
    base, _, bits = network.partition("/")
    address = ip_address(base)
    free = address.max_prefixlen - int(bits)
    return type(address)(int(address) | random.getrandbits(free)) if free else address


def _number(random: Random, value: int) -> str:
    """One part of an IPv4 address as resolvers read it."""
    zeros = "0" * random.choice([0, 0, 1, 8])
    octal = "0" + zeros + (f"{value:o}" if value else "")
    return random.choice([str(value), octal if value else "0", f"0x{zeros}{value:x}", f"0X{zeros}{value:X}"])


def _spelled_v4(random: Random, address: IPv4Address) -> str:
    """An IPv4 address in one to four parts."""
    value, count = int(address), random.choice([1, 2, 3, 4, 4, 4])
    bits = 8 * (5 - count)
    first = [value >> shift & 255 for shift in range(24, 24 - 8 * (count - 1), -8)]
    parts = [_number(random, part) for part in (*first, value & ((1 << bits) - 1))]
    text = parts[0]
    for part in parts[1:]:
        text += random.choice(FULL_STOPS) + part
    return text + random.choice(["", "", "", "."])


def _spelled_v6(random: Random, address: IPv6Address) -> str:
    text = random.choice([str(address), address.exploded, str(address).upper()])
    if random.random() < 0.2:
        text += random.choice(["%eth0", "%25eth0", "%1"])
    return f"[{text}]"


def _embedded(random: Random, address: IPv4Address) -> str:
    """An IPv6 address that leads to the IPv4 address."""
    value = int(address)
    numbers = [(0xFFFF << 32) | value, value, (0x2002 << 112) | (value << 80), (0x64FF9B << 96) | value]
    number = random.choice(numbers)
    if number >> 96 == 0 and random.random() < 0.5:
        return f"[::{'ffff:' if number >> 32 else ''}{address}]"
    return _spelled_v6(random, IPv6Address(number))


def _disguised(random: Random, host: str) -> str:
    """A host with letters that a resolver reads in the same way."""
    if host.startswith("["):
        return host
    letters = list(host)
    for _ in range(random.choice([0, 0, 1, 2, 5])):
        place = random.randrange(len(letters))
        letter = letters[place]
        if (
            len(letter) != 1
            or not letter.isascii()
            or not letter.isalnum()
            or "%" in letters[max(0, place - 2) : place]
        ):
            continue
        kinds = [f"%{ord(letter):02x}", chr(ord(letter) + 0xFEE0), letter.upper(), letter + random.choice(INVISIBLE)]
        if letter in "123456789":
            kinds.append(chr(0x2460 + int(letter) - 1))
        letters[place] = random.choice(kinds)
    return "".join(letters)


def _internal_host(random: Random) -> str:
    kind = random.randrange(6)
    if kind < 3:
        return _disguised(random, _spelled_v4(random, IPv4Address(_in_network(random, random.choice(INTERNAL_V4)))))
    if kind == 3:
        return _spelled_v6(random, IPv6Address(_in_network(random, random.choice(INTERNAL_V6))))
    if kind == 4:
        return _embedded(random, IPv4Address(_in_network(random, random.choice(INTERNAL_V4))))
    return _disguised(random, random.choice(INTERNAL_NAMES)) + random.choice(["", "", "."])


def internal_url(random: Random) -> str:
    """An address that leads to an internal one, or that no service may accept."""
    if random.random() < 0.05:
        host = random.choice(["hooks.example.com", "1.1.1.1"])
        wrong = [f"http://{host}/", f"ftp://{host}/", f"//{host}/", f"https://{host}:0/", f"https://{host}:00/x"]
        wrong += [f"https://{host}:65536/", "https:///x", "https://:443/", f"https://127.0.0.1\\@{host}/", "https://./"]
        return random.choice(wrong)
    scheme = random.choice(["https", "https", "https", "HTTPS", "Https"])
    user = random.choice(["", "", "", "hooks.example.com@", "a:b@", "hooks.example.com:443@", "a%40b@"])
    port = random.choice(["", "", ":443", ":8443", ":"])
    path = random.choice(
        ["", "/", "/hook", "/@hooks.example.com", "?x=https://hooks.example.com", "#@hooks.example.com"]
    )
    return f"{scheme}://{user}{_internal_host(random)}{port}{path}"


def _shown(url: str) -> str:
    return quote(url, safe=":/@[]%?#=.")


@attack(
    what="callback addresses: internal IPv4 and IPv6 addresses in octal, hexadecimal, short, embedded and Unicode "
    "forms, internal names, other schemes, ports 0 and 65536; and good ones",
    promise="every spelling of an internal address is rejected, every good address is accepted",
    tries=120_000,
    short=6000,
)
def callback_addresses(run: Run) -> None:
    """Spellings of internal addresses against the rule itself, and a part of them against the server."""
    for url in PUBLIC:
        run.check(rejection(url) is None, f"a good address is rejected: {_shown(url)}")
    for _ in range(run.tries):
        url = internal_url(run.random)
        run.check(rejection(url) is not None, f"accepted: {_shown(url)}")
    with serving("--frozen-clock") as target:
        client = target.client
        for url in PUBLIC:
            status = client.ask("POST", CREATE, "sk-a", {**ORDER, "callback_url": url}).status
            run.check(status == 200 or not url.isascii(), f"a good address got {status}: {_shown(url)}")
        for _ in range(run.tries // 20):
            url = internal_url(run.random)
            status = client.ask("POST", CREATE, "sk-a", {**ORDER, "callback_url": url}).status
            run.check(status == 400, f"{status}: {_shown(url)}")


async def _connects(run: Run, port: int) -> None:
    names: dict[str, list[Address]] = {}
    sender = Sender(None, Resolver(lambda host: names[host]))
    public: Callable[[], Address] = lambda: IPv4Address(run.random.choice(["1.1.1.1", "93.184.216.34"]))  # noqa: E731
    for number in range(run.tries):
        internal = _in_network(run.random, run.random.choice([*INTERNAL_V4, *INTERNAL_V6]))
        if run.random.random() < 0.2:
            internal = IPv6Address((0xFFFF << 32) | int(IPv4Address(_in_network(run.random, "127.0.0.0/8"))))
        others = [public() for _ in range(run.random.choice([0, 0, 1, 3]))]
        found = [*others, internal]
        run.random.shuffle(found)
        host = f"name-{number}.example.com"
        names[host] = found
        literal = f"[{internal}]" if internal.version == 6 else str(internal)
        url = f"https://{run.random.choice([host, host, host, literal])}:{port}/hook"
        result = await sender.post(url, b"{}", trusted=False, limit=2.0)
        refused = result.status is None and (result.error or "").startswith("internal_address")
        run.check(refused, f"{url} with {found} got {result.status} {result.error}")


@attack(
    what="names that lead to internal addresses when the callback connects, alone and among public addresses",
    promise="each attempt checks every address of the name and connects to none if one is internal",
    tries=10_000,
    short=300,
)
def callback_connects(run: Run) -> None:
    """DNS rebinding against the connect check. A listener on loopback sees whether anything connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(_connects(run, listener.getsockname()[1]))
        listener.settimeout(0.01)
        try:
            listener.accept()
            connected = True
        except TimeoutError:
            connected = False
        run.check(not connected, "a callback reached a listener on loopback")
