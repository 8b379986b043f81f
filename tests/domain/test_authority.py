"""Which host a Host header, an Origin or a request target names, and which texts name none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.authority import host_of, origin_host, target_host


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:4010", "localhost"),
        ("localhost:", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::FFFF]:65535", "::ffff"),
        ("a_b-c.example", "a_b-c.example"),
        # another name than the one without the dot
        ("localhost.", "localhost."),
    ],
)
def test_an_authority_names_a_host(authority: str, host: str) -> None:
    assert host_of(authority) == host


INVALID = [
    "",
    ":80",
    "evil@localhost",
    "localhost@evil",
    "@localhost",
    "localhost#.evil",
    "localhost?.evil",
    "localhost/evil",
    "localhost\\evil",
    "localhost:evil",
    "localhost:80:80",
    "localhost:0",
    "localhost:65536",
    "localhost:99999",
    "localhost:000080",
    "localhost:-1",
    "localhost:+1",
    "localhost: 1",
    "localhost:\u0661",
    "localhost ",
    " localhost",
    "localhost\t",
    "localhost\n",
    "localhost\x00",
    "localhost,evil",
    "localhost evil",
    "localhost%2eevil",
    "localho\u017ft",
    "\uff4cocalhost",
    "localhost\u3002",
    "::1",
    "[::1",
    "::1]",
    "[::1]evil",
    "[::1%25lo]",
    "[localhost]",
    "[]",
    "[",
    "]",
]


@pytest.mark.parametrize("authority", INVALID)
def test_an_odd_authority_names_no_host_in_any_place(authority: str) -> None:
    assert host_of(authority) is None
    assert origin_host(f"http://{authority}") is None
    if not set(authority) & set("#?/"):
        assert target_host(f"http://{authority}/__mock/clock") is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "localhost",
        "//localhost",
        "http:localhost",
        "http://localhost/",
        "http://localhost?x",
        "http://a http://localhost",
    ],
)
def test_an_origin_is_a_scheme_and_an_authority_and_nothing_else(origin: str) -> None:
    assert origin_host(origin) is None


@pytest.mark.parametrize("target", ["*", "localhost:80", "//localhost/x", "ftp://localhost/x", "ws://localhost/", "x"])
def test_a_target_of_another_form_or_scheme_names_no_host(target: str) -> None:
    assert target_host(target) is None


@pytest.mark.parametrize(
    "target", ["http://LOCALHOST", "HTTP://localhost/x", "https://localhost:1/", "http://localhost?q"]
)
def test_a_target_in_absolute_form_names_its_host(target: str) -> None:
    assert target_host(target) == "localhost"


@given(st.text(max_size=12), st.text(max_size=12))
def test_nothing_around_a_name_makes_it_that_name(before: str, after: str) -> None:
    host = host_of(f"{before}localhost{after}")
    if host == "localhost":
        assert before == ""
        assert after == "" or (after[0] == ":" and (after == ":" or after[1:].isascii()))
