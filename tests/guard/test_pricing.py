"""Which budget pays for which request, and the highest price of each."""

import gzip
import json
import zlib
from typing import Any

import pytest

from sora_mock.domain.contract import Contract
from sora_mock.guard.pricing import CREATE_PATH, KeyClass, Pricing, Quote, key_class, with_key
from sora_mock.runtime.package_data import contract_document

PRICING = Pricing(Contract(contract_document()))
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat"}
JSON = (b"content-type", b"application/json")
REAL = b"sk-evo-the-real-key"


def quote(body: Any, key: KeyClass = "live", method: str = "POST", path: str = CREATE_PATH, *more: Any) -> Quote:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PRICING.quote(method, path, [*(more or (JSON,))], data, key)


def charge(*given: Any) -> str:
    return quote(*given).charge


def test_a_valid_create_request_is_reserved_at_its_price() -> None:
    assert quote(ORDER) == Quote("main", 57_600)
    assert quote({**ORDER, "duration": 15}, "other") == Quote("main", 86_400)


def test_a_valid_body_is_never_sent_without_a_key_and_needs_the_rejection_budget_with_a_wrong_one() -> None:
    assert charge(ORDER, "none") == "refused"
    assert charge(ORDER, "invalid") == "rejection"


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"{", b"not json", b'{"model": "sora-2-beta-max", "prompt"', b"null", b"x" * 2_000_000]
)
def test_a_body_without_a_request_is_unread_and_free_without_a_key(body: bytes) -> None:
    assert quote(body) == Quote("unread", 86_400, "no parser can find a request in this body")
    assert charge(body, "none") == "free"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {**ORDER, "duration": 16},
        {**ORDER, "model": 5},
        {**ORDER, "model": "SORA-2-beta-max "},
        {**ORDER, "model": "contract-no-such-model"},
        {**ORDER, "callback_url": "http://127.0.0.1/"},
        json.dumps(ORDER).encode() + b" trailing",
        b"\xef\xbb\xbf" + json.dumps(ORDER).encode(),
        json.dumps(ORDER).encode("utf-16"),
        b'{"model":"sora-2-beta-max","prompt":"\xff"}',
        b'{"model":"sora-2-beta-max","prompt":NaN}',
        b'{"model":"sora-2-beta-max","prompt":"x"}' + b" " * 1_100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_a_lax_service_might_accept_costs_the_highest_price_of_the_rejection_budget(body: Any) -> None:
    found = quote(body)
    assert (found.charge, found.units) == ("rejection", 86_400)


@pytest.mark.parametrize("model", ["sora-2-preview", "veo3", b'"x","Model":"sora-2-preview"'])
def test_a_model_whose_price_is_unknown_is_not_sent(model: Any) -> None:
    written = model if isinstance(model, bytes) else json.dumps(model).encode()
    assert charge(b'{"prompt":"A cat","model":' + written + b"}") == "refused"


VEO = json.dumps({**ORDER, "model": "veo-3"}).encode()
FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(VEO, mtime=0), [JSON, (b"content-encoding", b"gzip")]),
        (gzip.compress(b"{", mtime=0) + gzip.compress(VEO[1:], mtime=0), [JSON, (b"content-encoding", b"x-gzip")]),
        (gzip.compress(VEO, mtime=0), [JSON]),
        (zlib.compress(VEO), [JSON, (b"content-encoding", b"deflate")]),
        (zlib.compress(VEO)[2:-4], [JSON, (b"content-encoding", b"deflate")]),
        (b"\x8b\x1f\x80cannot be decoded", [JSON, (b"content-encoding", b"br")]),
        (gzip.compress(gzip.compress(VEO, mtime=0), mtime=0), [JSON, (b"content-encoding", b"gzip, gzip")]),
        (gzip.compress(b" " * 9_000_000 + VEO, mtime=0), [JSON, (b"content-encoding", b"gzip")]),
        (b"model=veo-3&prompt=x", [FORM]),
        (b"prompt=x&model=veo-3", []),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nveo-3\r\n--b--', []),
        (VEO[:-1] + b',"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", [JSON]),
        (VEO[:-1] + b",}", [JSON]),
        (b"/* order */" + VEO.replace(b'"model"', b'"\\u006dodel"'), [JSON]),
    ],
)
def test_an_unknown_model_is_found_behind_an_encoding_in_a_form_and_in_what_is_broken(
    body: bytes, headers: Any
) -> None:
    assert PRICING.quote("POST", CREATE_PATH, headers, body, "live").charge == "refused"


def test_a_field_that_is_there_twice_costs_the_highest_price() -> None:
    assert quote(b'{"model":"sora-2-beta-max","prompt":"x","duration":15,"duration":10}') == Quote("main", 86_400)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"text/plain")],
        [JSON, (b"idempotency-key", b"short")],
        [JSON, (b"content-encoding", b"gzip")],
    ],
)
def test_headers_that_the_service_must_reject_need_the_rejection_budget(headers: Any) -> None:
    assert quote(ORDER, "live", "POST", CREATE_PATH, *headers).charge == "rejection"


def test_compressed_bodies_and_forms_are_no_way_around_the_budget() -> None:
    hidden = gzip.compress(json.dumps(ORDER).encode())
    assert charge(hidden, "live", "POST", CREATE_PATH, JSON, (b"content-encoding", b"gzip")) == "rejection"
    form = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")
    assert charge(b"model=sora-2-beta-max&prompt=x", "live", "POST", CREATE_PATH, form) == "rejection"


def test_other_routes_are_no_way_around_it_either() -> None:
    assert charge(ORDER, "live", "POST", "/v1/videos/generations/") == "rejection"
    assert charge(ORDER, "live", "PUT") == "rejection"
    assert charge(ORDER, "live", "GET") == "free"
    assert charge(ORDER, "live", "GET", CREATE_PATH, JSON, (b"x-http-method-override", b"POST")) == "rejection"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Bearer contract-live", "live"),
        (b"bearer  contract-live ", "live"),
        (b"Bearer " + REAL, "live"),
        (b"Bearer contract-live-wrong", "invalid"),
        (b"Bearer sk-mock-other", "other"),
        (b"Bearer nonsense", "invalid"),
        (b"  ", "none"),
    ],
)
def test_keys_are_classified(value: bytes, expected: str) -> None:
    assert key_class([(b"authorization", value)], REAL) == expected


def test_only_the_placeholder_is_exchanged_and_only_in_authorization() -> None:
    given = [(b"authorization", b"Bearer contract-live"), (b"x-note", b"contract-live")]
    assert with_key(given, REAL) == [(b"authorization", b"Bearer " + REAL), given[1]]
    assert with_key([(b"authorization", b"Bearer sk-x")], REAL) == [(b"authorization", b"Bearer sk-x")]
