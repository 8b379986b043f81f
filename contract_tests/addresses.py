"""The hosts that a callback may have: both ends of every internal network, and every spelling of an address."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sora_mock.verify.rule import Broken, rule, true
from sora_mock.verify.target import Target

SOURCE = "published contract, prose of callback_url; the ranges and spellings are an assumption (docs/fidelity.md)"

INTERNAL_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
KINDS = {
    **{"0.0.0.0": "unspecified", "10.0.0.0": "private", "100.64.0.0": "carrier-grade NAT", "127.0.0.0": "loopback"},
    **{
        "168.63.129.16": "cloud metadata",
        "169.254.0.0": "link-local",
        "172.16.0.0": "private",
        "192.0.0.0": "reserved",
    },
    **{"192.0.2.0": "reserved", "192.88.99.0": "reserved", "192.168.0.0": "private", "198.18.0.0": "reserved"},
    **{"198.51.100.0": "reserved", "203.0.113.0": "reserved", "224.0.0.0": "multicast", "240.0.0.0": "reserved"},
    **{"[::]": "unspecified", "[::1]": "loopback", "[fc00::]": "private", "[fe80::]": "link-local"},
    **{"[fec0::]": "site-local", "[ff00::]": "multicast", "[2001::]": "Teredo", "[2001:1::]": "reserved"},
    **{"[2001:db8::]": "reserved", "[3fff::]": "reserved", "[4000::]": "reserved", "[2002:a00::]": "private"},
    **{"[::ffff:169.254.1.1]": "link-local", "[64:ff9b::7f00:1]": "loopback"},
}
INTERNAL_V6 = ("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")
RESERVED_V6 = ("2001::/23", "2001:db8::/32", "3fff::/20")


def accepts(target: Target, *urls: str) -> None:
    """Raises Broken for the first address that is not accepted."""
    for url in urls:
        reply = target.create(callback_url=url)
        if reply.status != 200:
            raise Broken(f"status for {url}", reply.status, 200)


def refuses(target: Target, *urls: str) -> None:
    """Raises Broken for the first address that does not get a 400 about callback_url."""
    for url in urls:
        reply = target.create(callback_url=url)
        if reply.status != 400:
            raise Broken(f"status for {url}", reply.status, 400)
        reply.error(400, "invalid_request", "invalid_request_error", None, "callback_url")


def v4_is_internal(address: IPv4Address) -> bool:
    """Whether it lies in one of the networks above."""
    return any(address in IPv4Network(network) for network in INTERNAL_V4)


@rule(
    id="callback.address.v4",
    claim="the first and the last address of every internal network are refused, their public neighbours accepted",
    source=SOURCE,
    needs={"mock"},
)
def v4(target: Target) -> None:
    """All 16 networks."""
    for network in map(IPv4Network, INTERNAL_V4):
        refuses(target, f"https://{network[0]}/", f"https://{network[-1]}/")
        for number in (int(network[0]) - 1, int(network[-1]) + 1):
            if 0 <= number < 2**32 and not v4_is_internal(IPv4Address(number)):
                accepts(target, f"https://{IPv4Address(number)}/")


@rule(
    id="callback.address.v6",
    claim="of IPv6 only 2000::/3 is accepted, without the parts that are reserved there",
    source=SOURCE,
    needs={"mock"},
)
def v6(target: Target) -> None:
    """Both ends of each network, and beyond them."""
    for network in map(IPv6Network, (*INTERNAL_V6, *RESERVED_V6)):
        refuses(target, f"https://[{network[0]}]/", f"https://[{network[-1]}]/")
    for network in map(IPv6Network, RESERVED_V6):
        accepts(target, f"https://[{IPv6Address(int(network[-1]) + 1)}]/")
    accepts(target, "https://[2000::1]/", "https://[2001:db7:ffff::1]/", "https://[2606:4700::1111]:8443/x")
    accepts(target, "https://[3ffe:ffff::1]/", "https://[2003::1]/")
    refuses(target, "https://[1fff::1]/", "https://[4000::1]/", "https://[::2]/", "https://[5f00::1]/")


@rule(
    id="callback.address.reason",
    claim="a mock says of an internal address what it is",
    source=SOURCE,
    needs={"mock"},
)
def reason(target: Target) -> None:
    """The message ends with the address and its kind, or says that a name is internal."""
    for host, kind in KINDS.items():
        error = target.create(callback_url=f"https://{host}/").error(400, "invalid_request", None, None, "callback_url")
        true(f"message for {host}", error["message"].endswith(f" is {kind}"), error, f"... is {kind}")
    for url in ("https://localhost/", "http://hooks.example.com/", "https:///x"):
        error = target.create(callback_url=url).error(400, "invalid_request", None, None, "callback_url")
        true(f"message for {url}", error["message"].startswith("callback_url must "), error, "what it must be")


@rule(
    id="callback.address.embedded",
    claim="an IPv4 address inside an IPv6 one counts as that address",
    source=SOURCE,
    needs={"mock"},
)
def embedded(target: Target) -> None:
    """Mapped, NAT64 and 6to4, of a private and of a public address."""
    refuses(target, "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::127.0.0.1]/", "https://[2002:7f00:1::]/")
    refuses(target, "https://[2002:c0a8:101::1]/", "https://[64:ff9b::10.1.2.3]/", "https://[::8.8.8.8]/")
    refuses(target, "https://[2002:a00:1::808:808]/", "https://[64:ff9b:1::8.8.8.8]/")
    accepts(target, "https://[::ffff:8.8.8.8]/", "https://[64:ff9b::8.8.8.8]/", "https://[2002:808:808::]/")
    accepts(target, "https://[2002:808:808::a00:1]/", "https://[::ffff:9.255.255.255]/")
    # one address alone is internal here: every bit counts
    for number in range(-1, 2):
        address = IPv4Address(int(IPv4Address("168.63.129.16")) + number)
        high, low = int(address) >> 16, int(address) & 0xFFFF
        urls = [f"https://[::ffff:{address}]/", f"https://[64:ff9b::{address}]/", f"https://[2002:{high:x}:{low:x}::]/"]
        (accepts if number else refuses)(target, *urls)


SPELLINGS = {
    "8.8.8.8": ("134744072", "0x08080808", "010.010.010.010", "8.8.2056", "8.526344", "0x8.8.010.8", "8.8.8.8."),
    "8.255.255.255": ("8.16777215", "8.255.65535"),
    "9.255.255.255": ("167772159", "9.0xffffff"),
    "223.255.255.255": ("3758096383", "0337.0xff.65535"),
}
INTERNAL_SPELLINGS = (
    *("127.1", "0x7f000001", "017700000001", "0x7f.0.1", "10.1", "0xa000001", "167772160", "127.0.0.1.", "0"),
    *("%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", "127%E3%80%820%E3%80%820%E3%80%821", "12%C2%AD7.0.0.1", "0X7F.1", "0x"),
    *("192.168.257", "172.1048577", "0300.0250.1.1", "%30x7f.1"),
)
UNREADABLE = (
    *("256.1.1.1", "8.8.8.256", "8.8.256.8", "256.256", "1.2.3.4.5", "4294967296", "8.16777216", "8.8.65536"),
    *("8..8.8", "9" * 60, "0x" + "f" * 50),
)


@rule(
    id="callback.address.spelling",
    claim="an address is read as resolvers read it: one to four parts, decimal, octal or hexadecimal",
    source=SOURCE,
    needs={"mock"},
)
def spelling(target: Target) -> None:
    """Public ones are accepted, internal and impossible ones refused."""
    for spellings in SPELLINGS.values():
        accepts(target, *_addresses(spellings))
    refuses(target, *_addresses(INTERNAL_SPELLINGS))
    refuses(target, *_addresses(UNREADABLE))


def _addresses(hosts: Sequence[str]) -> list[str]:
    return [f"https://{host}/hook" for host in hosts]


@rule(
    id="callback.address.names",
    claim="internal names are refused however they are written; names that only look like them are accepted",
    source=SOURCE,
    needs={"mock"},
)
def names(target: Target) -> None:
    """Names of internal networks and names without a domain; case, a last dot, percent signs, invisible letters."""
    internal = ("LOCALHOST", "localhost.", "a.localhost", "a.b.localhost", "printer.local", "db.internal", "local")
    hidden = ("internal.", "loc%61lhost", "local%C2%ADhost", "%EF%BD%8Cocalhost", "LOCALHOST.")
    network = (
        "printer.lan",
        "wiki.corp",
        "nas.home.arpa",
        "localhost.localdomain",
        "a.intranet",
        "a.home",
        "api.default.svc",
    )
    single = ("metadata", "ip6-localhost", "hooks", "METADATA.", "m%C3%BCnchen", "mylocalhost", "%E4%BE%8B")
    refuses(target, *_addresses((*internal, *hidden, *network, *single)))
    public = ("localhost.example.com", "mylocalhost.example", "a.notlocal", "local.example.com", "a.xinternal")
    accepts(
        target,
        *_addresses(
            (*public, "a-b.example", "hooks.example.com.", "m%C3%BCnchen.example", "%E4%BE%8B.example", "x1.y2a")
        ),
    )


@rule(
    id="callback.address.form",
    claim="a URL whose host or port cannot be read is refused; credentials and any readable port are accepted",
    source=f"{SOURCE}; docs/callbacks.md, the rules",
    needs={"mock"},
)
def form(target: Target) -> None:
    """The part between https:// and the path."""
    refuses(target, "https://hooks.example.com:0/", "https://hooks.example.com:00/")
    refuses(target, "https:///hook", "https://hooks.example.com:65536/", "https://hooks.example.com:99999/")
    refuses(target, "https://[2606:4700::1111/", "https://[8.8.8.8]/", "https://a..b.example/", "https://.example/")
    # a label that is too long once it is written in letters of a host name
    refuses(target, f"https://{'%C3%BC' * 64}.example/")
    refuses(target, "https://8.8.8.8@127.0.0.1/", "https://user:pw@10.0.0.1/", "https://%00.example/")
    refuses(target, "https://a%20b.example/", "https://a%2Fb.example/", "https://a%40b.example/", "https://%5B::1%5D/")
    refuses(target, "https://%F0%9F%BF%BF.example/", "https://[fe80::1%25eth0]/", "https:hooks.example.com/")
    accepts(
        target, "https://user:p%40ss@hooks.example.com/", "https://127.0.0.1@8.8.8.8/", "HTTPS://hooks.example.com/"
    )
    accepts(
        target, "https://hooks.example.com:65535/", "https://hooks.example.com:1/?a=1#b", "https://hooks.example.com"
    )
    accepts(target, "https://hooks.example.com/127.0.0.1/localhost", "https://[2606:4700::1111]/")
