"""The addresses that a callback may have: both ends of every internal network, every spelling of an address."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from contract_tests.reading import error_of
from contract_tests.service import Service
from sora_mock.verify.rule import REJECTION_BUDGET

PROSE = "published contract, prose of callback_url"
SOURCE = f"{PROSE}; the ranges and spellings are an assumption (docs/fidelity.md)"

ACCEPTED = {
    "public": "https://hooks.example.com/video",
    "port": "https://hooks.example.com:8443/video?x=1",
    "public_ip": "https://8.8.8.8/video",
    "before_172_16": "https://172.15.255.255/",
    "after_172_31": "https://172.32.0.0/",
    "before_10": "https://9.255.255.255/",
    "after_10": "https://11.0.0.0/",
    "before_192_168": "https://192.167.255.255/",
    "after_192_168": "https://192.169.0.0/",
    "length_2048": "https://hooks.example.com/" + "x" * (2048 - 26),
}
REJECTED = {
    "http": "http://hooks.example.com/video",
    "ftp": "ftp://hooks.example.com/video",
    "no_scheme": "hooks.example.com/video",
    "relative": "/video",
    "empty": "",
    "loopback": "https://127.0.0.1/video",
    "loopback_2": "https://127.1.2.3/video",
    "ten": "https://10.0.0.0/",
    "ten_last": "https://10.255.255.255/",
    "172_16": "https://172.16.0.0/",
    "172_31": "https://172.31.255.255/",
    "192_168": "https://192.168.0.0/",
    "192_168_last": "https://192.168.255.255/",
    "localhost": "https://localhost/video",
    "link_local": "https://169.254.169.254/latest",
    "zero": "https://0.0.0.0/",
    "ipv6_loopback": "https://[::1]/",
    "ipv6_private": "https://[fc00::1]/",
    "ipv6_mapped": "https://[::ffff:127.0.0.1]/",
    "decimal": "https://2130706433/",
    "octal": "https://0177.0.0.1/",
    "hexadecimal": "https://0x7f.1/",
    "percent": "https://%31%32%37.0.0.1/",
    "length_2049": "https://hooks.example.com/" + "x" * (2049 - 26),
}

INTERNAL_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
INTERNAL_V6 = ("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")
RESERVED_V6 = ("2001::/23", "2001:db8::/32", "3fff::/20")
KINDS = {
    **{"0.0.0.0": "unspecified", "10.0.0.0": "private", "100.64.0.0": "carrier-grade NAT", "127.0.0.0": "loopback"},
    **{"168.63.129.16": "cloud metadata", "169.254.0.0": "link-local", "172.16.0.0": "private"},
    **{"192.0.0.0": "reserved", "192.0.2.0": "reserved", "192.88.99.0": "reserved", "192.168.0.0": "private"},
    **{"198.18.0.0": "reserved", "198.51.100.0": "reserved", "203.0.113.0": "reserved", "224.0.0.0": "multicast"},
    **{"240.0.0.0": "reserved", "[::]": "unspecified", "[::1]": "loopback", "[fc00::]": "private"},
    **{"[fe80::]": "link-local", "[fec0::]": "site-local", "[ff00::]": "multicast", "[2001::]": "Teredo"},
    **{"[2001:1::]": "reserved", "[2001:db8::]": "reserved", "[3fff::]": "reserved", "[4000::]": "reserved"},
    **{"[2002:a00::]": "private", "[::ffff:169.254.1.1]": "link-local", "[64:ff9b::7f00:1]": "loopback"},
}


# mocks only: the live service must never send a callback to a third party
@pytest.mark.contract(id="callback.url.accepts.*", source=PROSE, needs={"mock"})
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, id=name, marks=pytest.mark.contract(claim=f"{url[:60]} is accepted"))
        for name, url in ACCEPTED.items()
    ],
)
def test_a_public_address_is_accepted(service: Service, url: str) -> None:
    response = service.create(callback_url=url)
    assert response.status_code == 200, response.text


@pytest.mark.contract(id="callback.url.refuses.*", source=PROSE, needs={REJECTION_BUDGET})
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, id=name, marks=pytest.mark.contract(claim=f"{url[:60]!r} gets 400 invalid_request"))
        for name, url in REJECTED.items()
    ],
)
def test_an_internal_address_gets_400(service: Service, url: str) -> None:
    error = error_of(service.create(callback_url=url))
    assert error[:3] == (400, "invalid_request", "invalid_request_error")
    if service.is_mock:
        assert error.param == "callback_url"


def rejected_of(service: Service, urls: Sequence[str]) -> list[str]:
    """Those of the addresses that get 400 about callback_url. Any other error than this fails the test."""
    rejected = []
    for url in urls:
        response = service.create(callback_url=url)
        if response.status_code != 200:
            error = error_of(response)
            assert (error[:3], error.param) == ((400, "invalid_request", "invalid_request_error"), "callback_url"), url
            rejected.append(url)
    return rejected


@pytest.mark.contract(id="callback.address.v4", source=SOURCE, needs={"mock"})
def test_the_ends_of_every_internal_network_are_rejected_and_their_public_neighbours_accepted(service: Service) -> None:
    """The first and the last address of every internal network are rejected, their public neighbours accepted."""
    internal, public = [], []
    networks = [IPv4Network(network) for network in INTERNAL_V4]
    for network in networks:
        internal += [f"https://{network[0]}/", f"https://{network[-1]}/"]
        for number in (int(network[0]) - 1, int(network[-1]) + 1):
            if 0 <= number < 2**32 and not any(IPv4Address(number) in each for each in networks):
                public.append(f"https://{IPv4Address(number)}/")
    assert rejected_of(service, internal) == internal
    assert rejected_of(service, public) == []


@pytest.mark.contract(id="callback.address.v6", source=SOURCE, needs={"mock"})
def test_of_ipv6_only_2000_3_is_accepted_without_the_reserved_parts(service: Service) -> None:
    """Of IPv6 only 2000::/3 is accepted, without the parts that are reserved there."""
    internal = ["https://[1fff::1]/", "https://[4000::1]/", "https://[::2]/", "https://[5f00::1]/"]
    for network in map(IPv6Network, (*INTERNAL_V6, *RESERVED_V6)):
        internal += [f"https://[{network[0]}]/", f"https://[{network[-1]}]/"]
    public = ["https://[2000::1]/", "https://[2001:db7:ffff::1]/", "https://[2606:4700::1111]:8443/x"]
    public += ["https://[3ffe:ffff::1]/", "https://[2003::1]/"]
    public += [f"https://[{IPv6Address(int(network[-1]) + 1)}]/" for network in map(IPv6Network, RESERVED_V6)]
    assert rejected_of(service, internal) == internal
    assert rejected_of(service, public) == []


@pytest.mark.contract(id="callback.address.reason", source=SOURCE, needs={"mock"})
def test_a_mock_says_of_an_internal_address_what_it_is(service: Service) -> None:
    for host, kind in KINDS.items():
        error = error_of(service.create(callback_url=f"https://{host}/"))
        assert (error[:2], error.param) == ((400, "invalid_request"), "callback_url"), host
        assert error.message.endswith(f" is {kind}"), host
    for url in ("https://localhost/", "http://hooks.example.com/", "https:///x"):
        error = error_of(service.create(callback_url=url))
        assert (error[:2], error.param) == ((400, "invalid_request"), "callback_url"), url
        assert error.message.startswith("callback_url must "), url


@pytest.mark.contract(id="callback.address.embedded", source=SOURCE, needs={"mock"})
def test_an_ipv4_address_inside_an_ipv6_one_counts_as_that_address(service: Service) -> None:
    internal = ["https://[::ffff:10.0.0.1]/", "https://[64:ff9b::127.0.0.1]/", "https://[2002:7f00:1::]/"]
    internal += ["https://[2002:c0a8:101::1]/", "https://[64:ff9b::10.1.2.3]/", "https://[::8.8.8.8]/"]
    internal += ["https://[2002:a00:1::808:808]/", "https://[64:ff9b:1::8.8.8.8]/"]
    public = ["https://[::ffff:8.8.8.8]/", "https://[64:ff9b::8.8.8.8]/", "https://[2002:808:808::]/"]
    public += ["https://[2002:808:808::a00:1]/", "https://[::ffff:9.255.255.255]/"]
    # one address alone is internal here: every bit counts
    for number in range(-1, 2):
        address = IPv4Address(int(IPv4Address("168.63.129.16")) + number)
        high, low = int(address) >> 16, int(address) & 0xFFFF
        urls = [f"https://[::ffff:{address}]/", f"https://[64:ff9b::{address}]/", f"https://[2002:{high:x}:{low:x}::]/"]
        (public if number else internal).extend(urls)
    assert rejected_of(service, internal) == internal
    assert rejected_of(service, public) == []


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


def addresses(hosts: Sequence[str]) -> list[str]:
    """A callback address at each host."""
    return [f"https://{host}/hook" for host in hosts]


@pytest.mark.contract(id="callback.address.spelling", source=SOURCE, needs={"mock"})
def test_an_address_is_read_as_resolvers_read_it(service: Service) -> None:
    """An address is read as resolvers read it: one to four parts, decimal, octal or hexadecimal."""
    public = addresses([spelling for spellings in SPELLINGS.values() for spelling in spellings])
    assert rejected_of(service, public) == []
    wrong = addresses((*INTERNAL_SPELLINGS, *UNREADABLE))
    assert rejected_of(service, wrong) == wrong


@pytest.mark.contract(id="callback.address.names", source=SOURCE, needs={"mock"})
def test_internal_names_are_rejected_however_they_are_written_and_names_that_look_like_them_accepted(
    service: Service,
) -> None:
    """Internal names are rejected however they are written; names that only look like them are accepted."""
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
    wrong = addresses((*internal, *hidden, *network, *single))
    assert rejected_of(service, wrong) == wrong
    public = ("localhost.example.com", "mylocalhost.example", "a.notlocal", "local.example.com", "a.xinternal")
    more = ("a-b.example", "hooks.example.com.", "m%C3%BCnchen.example", "%E4%BE%8B.example", "x1.y2a")
    assert rejected_of(service, addresses((*public, *more))) == []


@pytest.mark.contract(id="callback.address.form", source=f"{SOURCE}; docs/callbacks.md, the rules", needs={"mock"})
def test_a_url_whose_host_or_port_cannot_be_read_is_rejected(service: Service) -> None:
    """A URL whose host or port cannot be read is rejected; credentials and any readable port are accepted."""
    wrong = [
        *("https://hooks.example.com:0/", "https://hooks.example.com:00/"),
        *("https:///hook", "https://hooks.example.com:65536/", "https://hooks.example.com:99999/"),
        *("https://[2606:4700::1111/", "https://[8.8.8.8]/", "https://a..b.example/", "https://.example/"),
        # a label that is too long once it is written in letters of a host name
        f"https://{'%C3%BC' * 64}.example/",
        *("https://8.8.8.8@127.0.0.1/", "https://user:pw@10.0.0.1/", "https://%00.example/"),
        *("https://a%20b.example/", "https://a%2Fb.example/", "https://a%40b.example/", "https://%5B::1%5D/"),
        *("https://%F0%9F%BF%BF.example/", "https://[fe80::1%25eth0]/", "https:hooks.example.com/"),
    ]
    right = [
        *("https://user:p%40ss@hooks.example.com/", "https://127.0.0.1@8.8.8.8/", "HTTPS://hooks.example.com/"),
        *("https://hooks.example.com:65535/", "https://hooks.example.com:1/?a=1#b", "https://hooks.example.com"),
        *("https://hooks.example.com/127.0.0.1/localhost", "https://[2606:4700::1111]/"),
    ]
    assert rejected_of(service, wrong) == wrong
    assert rejected_of(service, right) == []
