# ruff: noqa: RUF001 (the tables contain digits and full stops of other scripts)
"""Internal addresses are rejected in every spelling, and similar public addresses are accepted.

Expectations come from the published contract and the RFCs (1122, 1918, 3986, 4291, 6052, 6598, 6890 and the IANA
registries), not from the code: `INTERNAL_V4` below repeats the ranges on purpose.
"""

import socket
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.callback_url import parse_ipv4, rejection

# --- tables: the rule that the message names, and hosts that it rejects ---

REJECTED_IPV4 = {
    "loopback": "127.0.0.1 127.0.0.0 127.8.9.1 127.255.255.255 127.0.0.1:8443 user:secret@127.0.0.1",
    "private": "10.0.0.0 10.0.0.1 10.255.255.255 172.16.0.0 172.20.1.1 172.31.255.255 192.168.0.0 192.168.255.255",
    "link-local": "169.254.0.0 169.254.169.254 169.254.255.255",
    "carrier-grade NAT": "100.64.0.0 100.100.100.200 100.127.255.255",
    "multicast": "224.0.0.0 224.0.0.1 239.255.255.255",
    "unspecified": "0.0.0.0 0.1.2.3 0.255.255.255",
    "cloud metadata": "168.63.129.16 0xa83f8110 168.4161808",
    "reserved": (
        "240.0.0.0 250.1.2.3 255.255.255.255 192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.1 198.51.100.7 203.0.113.255"
        " 198.18.0.0 198.19.255.255 192.88.99.1"
    ),
}
REJECTED_IPV4_SPELLINGS = {
    "loopback": (
        "127.1 127.0.1 127.65535 127.1.65535 127.16777215 2130706433 0x7f000001 0x7F000001 0X7f.1 0x7f.0x0.0x0.0x1"
        " 017700000001 0177.0.0.1 0177.1 0177.0x0.1 0x7f.0.01 00177.00.00.01 127.0.0.0x1 127.0.0.01 127.000.000.001"
    ),
    "private": "10.1 012.1 0xa.1 167772161 0xa000001 172.1048577 0xac100001 192.11010049 0300.0250.1 3232235521",
    "link-local": "2852039166 0xa9fea9fe 0251.0376.0251.0376 0xa9.0xfe.43518 169.16689662",
    "carrier-grade NAT": "1681915905 0x64400001 100.4194305",
    "unspecified": "0 0x0 00 0.0 0.0.0",
    "reserved": "4294967295 0xffffffff 037777777777 255.16777215",
    # a last part that is too large, too many parts, a part that is no number
    "cannot be read": (
        "4294967296 6425673729 0x17f000001 0100000000000 127.16777216 127.1.65536 127.0.0.256 256.0.0.1 127.256.1"
        " 1.2.3.4.5 127..1 1.2.3.4.0x1 example.1 example.0x1 +127.0.0.1 1_27.0.0.1"
    ),
}
REJECTED_IPV6 = {
    "loopback": (
        "[::1] [0:0:0:0:0:0:0:1] [::1]:8443 [::1%25lo] [::ffff:127.0.0.1] [::FFFF:7F00:1] [0:0:0:0:0:ffff:127.8.9.1]"
        " [::ffff:127.0.0.1%25lo] [2002:7f00:1::] [64:ff9b::127.0.0.1] user@[::1]"
    ),
    "unspecified": "[::] [0::0] [::ffff:0.0.0.0] [2002::] [64:ff9b::]",
    "private": (
        "[fc00::] [fd00:ec2::254] [fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff] [::ffff:10.0.0.1] [::ffff:c0a8:1]"
        " [2002:a00:1::1] [2002:c0a8:101::c0a8:101] [64:ff9b::10.0.0.1] [64:ff9b::ac10:1]"
    ),
    "link-local": (
        "[fe80::1] [fe80::1%25eth0] [fe80::1%eth0] [febf:ffff::1] [::ffff:169.254.169.254] [64:ff9b::a9fe:a9fe]"
        " [2002:a9fe:a9fe::]"
    ),
    "carrier-grade NAT": "[::ffff:100.64.0.1] [64:ff9b::100.127.255.255] [2002:6440:1::]",
    "multicast": "[ff00::] [ff02::1] [ff0e::1] [::ffff:224.0.0.1]",
    "site-local": "[fec0::1] [feff:ffff::1]",
    "Teredo": "[2001::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "cloud metadata": "[::ffff:168.63.129.16] [64:ff9b::a83f:8110]",
    "reserved": (
        "[2001:db8::1] [2001:db8:ffff::] [2001:10::1] [2001:1f:ffff::1] [2001:20::1] [2001:2f:ffff::1] [2001:2::1]"
        " [3fff::1] [5f00::1] [100::1] [200::1] [4000::1] [e000::1] [::ffff:0:127.0.0.1] [64:ff9b:1::10.0.0.1]"
        " [64:ff9b:1::8.8.8.8] [64:ff9b:1:ffff::1] [::ffff:255.255.255.255] [2002:c058:6301::]"
    ),
    # v4-compatible, deprecated by RFC 4291 2.5.5.1: ::/96 is never routed
    "internal address": "[::127.0.0.1] [::7f00:1] [::10.0.0.1] [::2] [::8.8.8.8] [::808:808]",
    "cannot be read": (
        "[::1 ::1 fe80::1 [] [127.0.0.1] [::g] [1::2::3] [::1%25] [::127.1] [::ffff:0177.0.0.1] %5b::1%5d"
    ),
}
REJECTED_NAMES = {
    "internal name": (
        "localhost LOCALHOST LocalHost localhost. localhost:443 foo.localhost a.b.localhost. foo.local FOO.LOCAL. local"
        " internal foo.internal metadata.google.internal metadata.google.internal. Metadata.Google.Internal"
        " host.docker.internal kubernetes.svc.cluster.local .local .localhost user@localhost"
        " localhost.localdomain LOCALHOST.LOCALDOMAIN. localdomain db.localdomain printer.lan a.b.lan. lan wiki.corp"
        " corp nas.home.arpa home.arpa Home.Arpa. foo.home nas.private www.intranet foo.l%61n"
        " x.svc kubernetes.default.svc db.docker web.service.consul router.localnet"
    ),
    "without a domain": (
        "metadata ip6-localhost ip6-loopback IP6-LOCALHOST. example hooks db broadcasthost xn--fiqs8s localhosts 1a 0xg"
        " notlocalhost mylocal foolocal foo-internal internal-api local-host a user:secret@receiver:9000 m%65tadata"
        " metadata%2e ai. bücher 例え ｍｅｔａｄａｔａ meta%C2%ADdata"
    ),
    "host": ". .. ... :443 @ user@ user@:443",
}
REJECTED_DISGUISES = {
    "loopback": (
        "127.0.0.1. 127.1. 0x7f000001. 2130706433. %31%32%37.0.0.1 127%2e0%2E0%2e1 %32130706433 %30x7f.1 %3a%3a1"
        " 127.0.0.1%2e １２７.0.0.1 １２７．０．０．１ 127。0。0。1 127．0．0．1 127｡0｡0｡1 127․0․0․1 127.0.0.⒈"
        " ①②⑦.⓪.⓪.① 𝟏𝟐𝟕.𝟎.𝟎.𝟏 ¹²⁷.₀.₀.₁ ０ｘ７ｆ．１ 127.0.0.1。 127%E3%80%820%EF%BC%8E0%EF%BD%A11 %EF%BC%91２７.0.0.1"
        " ١٢٧.٠.٠.١ १२७.०.०.१ example.com@127.0.0.1 example.com:443@127.0.0.1 example.com%40:x@127.0.0.1 @127.1"
        " a@b@127.0.0.1"
    ),
    "private": "１０.0.0.1 ⑩.0.0.1 %31%30.1 192。168。0。1",
    "link-local": "①⑥⑨.②⑤④.①⑥⑨.②⑤④ %31%36%39.254.169.254",
    "internal name": (
        "%6c%6f%63%61%6c%68%6f%73%74 %6C%6Fcalhost localhost%2e loc%61l ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ⓁOCALHOST"
        " localhoſt foo．local foo。internal foo｡localhost localhost。 foo.ⅼocal %EF%BD%8Cocalhost loc%C2%ADalhost"
        " loc\u00adalhost local\u200bhost localhost\ufeff metadata。google。internal"
    ),
}
REJECTED_URLS = {
    "https": (
        "http://example.com/ HTTP://example.com/ ftp://example.com/ javascript:alert(1) ws://example.com/"
        " file:///etc/passwd gopher://example.com/ httpss://example.com/ mailto:a@b.c data:text/plain,x //example.com/"
        " /hooks example.com example.com/https://example.com/ h%74tps://example.com/ http://127.0.0.1/"
    ),
    "must name a host": "https: https:/ https:// https:/example.com https:///example.com https:example.com https://?q",
    "port": (
        "https://example.com:65536/ https://example.com:99999999999/ https://example.com:abc/ https://example.com:-1/"
        " https://example.com:４４３/ https://example.com:0x1bb/ https://example.com:443:80/ https://example.com:+443/"
        " https://example.com:0/ https://example.com:0 https://example.com:000/ https://8.8.8.8:0/ https://[2606:4700::1]:0"
    ),
}
REJECTED_CHARACTERS = [
    "https://example.com\\@127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https://example.com/\\..\\",
    "https://exa\tmple.com/",
    "ht\ntps://127.0.0.1/",
    "https://127.0.0.1\r\nHost: example.com/",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com/a b",
    "https://example.com\x00.localhost/",
    "https://example.com/\x7f",
    "https://example\u00a0.com/",
    "https://example.com\u2028/",
]

ACCEPTED_HOSTS = (
    # public addresses, beside every boundary of an internal range
    "8.8.8.8 1.1.1.1 93.184.216.34 1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0"
    " 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0"
    " 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255"
    " 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 8.8.8.8:8443 8.8.8.8."
    # the same in other spellings
    " 134744072 0x08080808 8.8.2056 8.526344 010.8.8.8 0x8.0x8.0x8.0x8 %38.8.8.8 ８.8.8.8 8。8。8。8"
    # public IPv6, bare and around a public IPv4
    " [2606:4700:4700::1111] [2001:4860:4860::8888] [2A00:1450:4001:81B::200E] [2001:200::1] [2001:db7::1]"
    " [2001:db9::1] [3ffe::1] [3fff:1000::1] [2620:fe::fe]:8443 [::ffff:8.8.8.8] [::ffff:808:808] [64:ff9b::8.8.8.8]"
    " [64:ff9b::101:101] [2002:808:808::] [2002:808:808::1]"
    # names
    " example.com EXAMPLE.COM example.com. your-domain.com a.b.c.d.example.co.uk my_host.example.com"
    " xn--bcher-kva.example a.xn--fiqs8s XN--BCHER-KVA.example bücher.example 例え.テスト пример.рф हिन्दी.com"
    " ｅｘａｍｐｌｅ.com example。com %65xample.com example.com:443 example.com:1 example.com:65535 example.com:"
    " user@example.com user:pa%20ss@example.com :@example.com"
    # names that only look internal
    " localhost.example.com local.example.com internal.example.com 10.example.com 127.0.0.1.example.com"
    " 192.168.0.1.nip.io 0x7f000001.example.com 2130706433.com local.com internal.com localhost.com a.localhosts"
    " a.notlocalhost a.mylocal a.foolocal foo.locals a.foo-internal internal-api.com metadata.example.com local.host"
    " lan.example.com corp.com home.arpa.example.com foo.arpa localdomain.org ip6-localhost.example.com a.homes a.plan"
    " 127-0-0-1.example.com 1.example a.1a a.0xg 127.0.0.1e0 127.0.0.1x xn--localhost-9za.com loopback.com"
    # an internal address in the credentials
    " 127.0.0.1@example.com localhost@example.com 127.0.0.1:443@example.com 10.0.0.1:x@8.8.8.8"
    " %5b::1%5d@example.com"
)
LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 57, "com"])
ACCEPTED_URLS = [
    "https://example.com",
    "HTTPS://EXAMPLE.COM/Hook",
    "HtTpS://example.com/",
    "https://example.com?a=b",
    "https://example.com#top",
    "https://example.com/?next=http://127.0.0.1/",
    "https://example.com/127.0.0.1",
    "https://example.com/localhost",
    "https://example.com/#@127.0.0.1/",
    "https://example.com?@127.0.0.1/",
    "https://example.com#@localhost",
    "https://example.com/@localhost",
    "https://example.com//127.0.0.1/",
    "https://example.com/%00%20%5c",
    "https://8.8.8.8?q",
    "https://example.com/ü",
    "https://example.com/[::1]",
    "https://user:pw@example.com:8443/a/b;c?d=e&f=%2F#g",
]

# percent-encoded characters that a host must not contain (WHATWG URL, "forbidden host code point"): inet_aton
# stops at white space, C strings end at NUL, and a second decoding finds another host
HIDDEN_DELIMITERS = [
    "127.0.0.1%20",
    "127.0.0.1%09",
    "127.0.0.1%0a",
    "127.0.0.1%0D%0A",
    "127.0.0.1%0b",
    "127.0.0.1%0c",
    "127.0.0.1%20.example.com",
    "127.1%09x",
    "2130706433%20x",
    "0x7f000001%20x",
    "169.254.169.254%20example.com",
    "127.0.0.1´",
    "127.0.0.1%C2%B4",
    "127.0.0.1%00",
    "127.0.0.1%00.example.com",
    "localhost%00",
    "localhost%00.example.com",
    "localhost%20",
    "%20localhost",
    "127.0.0.1%2f.example.com",
    "localhost%2f.example.com",
    "127.0.0.1%3f.example.com",
    "127.0.0.1%23.example.com",
    "127.0.0.1%5c.example.com",
    "example.com%40localhost",
    "localhost%5c@example.com%5c",
    "127.0.0.1%EF%BC%8F.example.com",
    "127.0.0.1%25lo",
    "localhost%25",
    "%256c%256f%2563alhost",
    "％6cocalhost",
    "%2531%2532%2537.0.0.1",
    "%",
]
EMPTY_LABELS = [
    "localhost..",
    "localhost...",
    "127.0.0.1..",
    "foo.local..",
    "localhost…",
    "127.0.0.1‥",
    "localhost%2e%2e",
    "。",
    "..。",
]
# a host is a bracketed address, or has no bracket (RFC 3986 3.2.2); IPvFuture is not in use
BRACKETS = [
    "127.0.0.1[2606:4700:4700::1111]",
    "[2606:4700:4700::1111]127.0.0.1",
    "[2606:4700:4700::1111].local",
    "[v1.example]",
    "[v1.local]",
    "[::1]x",
    "x[::1]",
    "[::1].example.com",
]
# code points that UTS 46 (browsers, curl, ICU) removes or maps, and Python's IDNA 2003 does not know
UTS46 = [
    "loc\u2064alhost",
    "localhost\u180f",
    "localhost\u3164",
    "127.0.0.1\u2064",
    "127.0.0.\U0001ccf1",
    "localhost\U000e0100",
    "foo.\u115flocal",
]


def rows(*tables: dict[str, str], as_host: bool = True) -> list[tuple[str, str]]:
    """(URL, rule) of tables that list URLs or hosts by rule."""
    return [
        (f"https://{each}/hook" if as_host else each, rule)
        for table in tables
        for rule, listed in table.items()
        for each in listed.split()
    ]


REJECTED = [
    *rows(REJECTED_IPV4, REJECTED_IPV4_SPELLINGS, REJECTED_IPV6, REJECTED_NAMES, REJECTED_DISGUISES),
    *rows(REJECTED_URLS, as_host=False),
]


@pytest.mark.parametrize(("url", "rule"), REJECTED, ids=[ascii(url) for url, _ in REJECTED])
def test_a_rejection_names_its_rule(url: str, rule: str) -> None:
    assert rule in str(rejection(url))


@pytest.mark.parametrize("url", REJECTED_CHARACTERS, ids=ascii)
def test_spaces_backslashes_and_control_characters_are_rejected(url: str) -> None:
    assert "backslashes" in str(rejection(url))


@pytest.mark.parametrize("host", HIDDEN_DELIMITERS, ids=ascii)
def test_a_delimiter_hidden_in_the_host_is_rejected(host: str) -> None:
    assert rejection(f"https://{host}/") is not None


@pytest.mark.parametrize("host", EMPTY_LABELS, ids=ascii)
def test_more_than_one_trailing_dot_does_not_hide_a_host(host: str) -> None:
    assert rejection(f"https://{host}/") is not None


@pytest.mark.parametrize("host", BRACKETS, ids=ascii)
def test_brackets_must_contain_the_whole_host_and_an_ipv6_address(host: str) -> None:
    assert rejection(f"https://{host}/") is not None


@pytest.mark.parametrize("host", UTS46, ids=ascii)
def test_characters_that_other_parsers_remove_do_not_hide_a_host(host: str) -> None:
    assert rejection(f"https://{host}/") is not None


@pytest.mark.parametrize("host", [*ACCEPTED_HOSTS.split(), LONGEST_NAME], ids=ascii)
def test_a_public_host_is_accepted(host: str) -> None:
    assert rejection(f"https://{host}/hook?a=b#c") is None


@pytest.mark.parametrize("url", ACCEPTED_URLS, ids=ascii)
def test_only_the_host_decides(url: str) -> None:
    assert rejection(url) is None


def test_every_rejection_begins_with_the_field() -> None:
    assert [url for url, _ in REJECTED if not str(rejection(url)).startswith("callback_url ")] == []


# --- properties ---

INTERNAL_V4 = [
    IPv4Network(network)
    for network in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ]
]
internal_v4 = st.sampled_from(INTERNAL_V4).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv4Address)
)
public_v4 = (
    st.integers(0, 2**32 - 1).map(IPv4Address).filter(lambda ip: not any(ip in network for network in INTERNAL_V4))
)
number_spellings = st.sampled_from(["{:d}", "0{:o}", "00{:o}", "0x{:x}", "0X{:X}", "0x00{:x}"])


@st.composite
def spellings(draw: st.DrawFn, addresses: st.SearchStrategy[IPv4Address]) -> tuple[str, IPv4Address]:
    """An address in one to four parts, each in any base that inet_aton reads."""
    address = draw(addresses)
    leading = draw(st.integers(0, 3))
    numbers = [*address.packed[:leading], int.from_bytes(address.packed[leading:])]
    return ".".join(draw(number_spellings).format(number) for number in numbers), address


def embedded(address: IPv4Address) -> list[str]:
    """The address as v4-mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056), dotted and in hexadecimal."""
    high, low = int(address) >> 16, int(address) & 0xFFFF
    return [
        f"[::ffff:{address}]",
        f"[::ffff:{high:x}:{low:x}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b::{high:x}:{low:x}]",
        f"[2002:{high:x}:{low:x}::]",
        f"[{IPv6Address(0x2002 << 112 | int(address) << 80 | 1)}]",
    ]


@given(spellings(internal_v4))
def test_an_internal_address_is_rejected_in_every_spelling(spelt: tuple[str, IPv4Address]) -> None:
    text, address = spelt
    assert socket.inet_aton(text) == address.packed
    assert str(address) in str(rejection(f"https://{text}/"))


@given(internal_v4)
def test_an_internal_address_is_rejected_inside_ipv6(address: IPv4Address) -> None:
    assert [host for host in embedded(address) if rejection(f"https://{host}/") is None] == []


@given(spellings(public_v4))
def test_a_public_address_is_accepted_in_every_spelling(spelt: tuple[str, IPv4Address]) -> None:
    assert rejection(f"https://{spelt[0]}/") is None


@given(public_v4)
def test_a_public_address_is_accepted_inside_ipv6(address: IPv4Address) -> None:
    assert [host for host in embedded(address) if rejection(f"https://{host}/") is not None] == []


def inet_aton(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


# numbers around the largest that one, two, three and four bytes hold
numbers = st.sampled_from([0, 255, 2**16, 2**24, 2**32]).flatmap(lambda edge: st.integers(max(edge - 2, 0), edge + 2))
spelt_numbers = st.builds(
    lambda spelling, number: spelling.format(number).lower(), number_spellings, numbers | st.integers(0, 255)
)


@given(st.lists(spelt_numbers, min_size=1, max_size=5).map(".".join))
def test_parts_are_read_as_inet_aton_reads_them(text: str) -> None:
    assert parse_ipv4(text) == inet_aton(text)


@given(st.text("0123456789.xaf", min_size=1, max_size=16))
def test_every_text_that_inet_aton_accepts_is_read_the_same_way(text: str) -> None:
    accepted = inet_aton(text)
    assert accepted is None or parse_ipv4(text) == accepted


@given(st.integers(1, 300), spellings(internal_v4))
def test_padding_with_zeros_does_not_hide_an_address(zeros: int, spelt: tuple[str, IPv4Address]) -> None:
    octal = "0" * zeros + f"{int(spelt[1]):o}"
    assert rejection(f"https://{octal}/") is not None


@given(spellings(internal_v4), st.data())
def test_percent_signs_do_not_hide_an_address(spelt: tuple[str, IPv4Address], data: st.DataObject) -> None:
    host = "".join(f"%{ord(each):02x}" if data.draw(st.booleans()) else each for each in spelt[0])
    assert str(spelt[1]) in str(rejection(f"https://{host}/"))


LOOKALIKES: dict[str, list[str]] = {}
for code in range(0x21, 0x20000):
    LOOKALIKES.setdefault(unicodedata.normalize("NFKC", chr(code)).lower(), []).append(chr(code))
LOOKALIKES["."] += "\u3002\uff61"


@given(
    st.sampled_from(["localhost", "foo.localhost", "foo.local", "metadata.google.internal", "a.home.arpa", "a.lan"]),
    st.data(),
)
def test_an_internal_name_is_rejected_in_every_alphabet(name: str, data: st.DataObject) -> None:
    host = "".join(data.draw(st.sampled_from(LOOKALIKES[letter])) for letter in name)
    assert "internal name" in str(rejection(f"https://{host}/"))


labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20).map("x{}x".format)


@given(labels, st.sampled_from(["", "."]), st.sampled_from(["", ":1", ":443", ":65535"]))
def test_a_name_without_a_domain_is_rejected_and_the_same_name_in_a_public_domain_accepted(
    label: str, dot: str, port: str
) -> None:
    assert "without a domain" in str(rejection(f"https://{label}{dot}{port}/"))
    assert rejection(f"https://{label}.example.com{dot}{port}/") is None


@given(st.text() | st.text().map("https://{}/".format) | st.text("0127.:[]%@\\/#xX\u3002é", max_size=20))
def test_every_text_is_accepted_or_rejected_without_an_exception(text: str) -> None:
    reason = rejection(text)
    assert reason is None or reason.startswith("callback_url ")
