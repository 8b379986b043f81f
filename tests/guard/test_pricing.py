"""What each request may cost: nothing, a certain price, an uncertain one, or more than can be known."""

import gzip
import json
from typing import Any

import pytest

from sora_mock.domain.contract import Contract
from sora_mock.guard.pricing import CREATE_PATH, HIGHEST, Classification, Free, Priced, Pricing, Uncertain, Unsendable
from sora_mock.guard.request import GuardedRequest, KeyClass, forwarded, key_class, with_key
from sora_mock.runtime.package_data import contract_document

PRICING = Pricing(Contract(contract_document()))
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat"}
JSON = (b"content-type", b"application/json")
REAL = b"sk-evo-the-real-key"


def classified(
    body: Any, key: KeyClass = "live", method: str = "POST", path: str = CREATE_PATH, *more: Any, query: bytes = b""
) -> Classification:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PRICING.classify(GuardedRequest(method, path, query, [*(more or (JSON,))], data, key))


def test_a_valid_create_request_has_its_price() -> None:
    assert classified(ORDER) == Priced(57_600)
    assert classified({**ORDER, "duration": 15}, "other") == Priced(86_400)
    full = {"aspect_ratio": "9:16", "image_urls": ["https://example.com/1.jpg"], "remove_watermark": False}
    assert classified({**ORDER, **full, "callback_url": "https://example.com/hook"}) == Priced(57_600)
    charset = (b"content-type", b"Application/JSON; charset=UTF-8")
    headers = [charset, (b"content-encoding", b"identity"), (b"idempotency-key", b"0123456789-abcdef")]
    assert classified(ORDER, "live", "POST", CREATE_PATH, *headers) == Priced(57_600)


def test_a_valid_body_is_never_sent_without_a_key_and_needs_the_rejection_budget_with_a_wrong_one() -> None:
    assert isinstance(classified(ORDER, "none"), Unsendable)
    assert classified(ORDER, "invalid") == Priced(57_600, "rejection", "the service must reject its key")


@pytest.mark.parametrize("key", ["live", "none", "invalid", "other"])
def test_get_and_head_without_a_body_are_free_with_a_query_too(key: KeyClass) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/v1/credits", "/v1/tasks/task-unified-1", CREATE_PATH, "/anything"):
            assert isinstance(classified(b"", key, method, path, query=b"model=veo-3&n=10"), Free)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE", "BREW"])
def test_every_other_method_and_a_get_with_a_body_could_create(method: str) -> None:
    assert isinstance(classified(ORDER, "live", method), Uncertain)
    assert isinstance(classified({**ORDER, "model": "veo-3"}, "live", method), Unsendable)


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"{", b"null", b"[]", b'{"model": "sora-2-beta-max", "prompt"', b"x" * 2_000_000]
)
def test_a_body_without_a_request_is_uncertain_and_free_without_a_key(body: bytes) -> None:
    found = classified(body)
    assert isinstance(found, Uncertain)
    assert (found.units, found.budget, found.least) == (HIGHEST, "rejection", HIGHEST)
    assert isinstance(classified(body, "none"), Free)


def test_a_single_character_with_a_key_of_no_account_is_free() -> None:
    assert isinstance(classified(b"{", "invalid"), Free)
    assert isinstance(classified({**ORDER, "duration": 16}, "invalid"), Uncertain)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [ORDER],
        1,
        "sora-2-beta-max",
        {**ORDER, "duration": 11},
        {**ORDER, "duration": None},
        {**ORDER, "aspect_ratio": "1280x720"},
        {**ORDER, "model": 5},
        {**ORDER, "model": ["sora-2-beta-max"]},
        {**ORDER, "model": "SORA-2-BETA-MAX "},
        {**ORDER, "model": "contract-no-such-model"},
        {**ORDER, "model": "sora-9"},
        {**ORDER, "callback_url": "http://127.0.0.1/"},
        {**ORDER, "callback_url": "https://[::ffff:127.0.0.1]/"},
        {**ORDER, "prompt": {"text": "A cat"}},
        b'{"model":"sora-2-beta-max","prompt":"x",}',
        b"{'model':'sora-2-beta-max','prompt':'x'}",
        b'{"model":"sora-2-beta-max","prompt":"x","duration":NaN}',
        b"model=sora-2-beta-max",
        b'"\xff\xfe"',
    ],
)
def test_what_the_contract_rejects_but_bounds_goes_out_alone_from_the_rejection_budget(body: Any) -> None:
    found = classified(body)
    assert isinstance(found, Uncertain)
    assert (found.units, found.budget, found.least) == (86_400, "rejection", 86_400)


@pytest.mark.parametrize("fields", [{"no_such_field": 1}, {"contract_x": "contract-y"}, {"duration": 10.0}])
def test_what_the_contract_accepts_but_does_not_name_goes_out_alone_from_the_main_budget(fields: Any) -> None:
    found = classified({**ORDER, **fields})
    assert isinstance(found, Uncertain)
    assert (found.units, found.budget, found.least) == (57_600, "main", 57_600)


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"duration": 16}, 92_161),
        ({"duration": "25"}, 144_001),
        ({"duration": [10, 15]}, 172_800),
        ({"duration": 10**9}, 5_760_000_000_001),
        ({"image_urls": ["http://a.example/1.jpg", "http://a.example/2.jpg"]}, 172_800),
        ({"prompt": ["A cat"] * 3, "duration": 16}, 3 * 92_161),
        ({"model": [None, None]}, 172_800),
    ],
)
def test_what_a_service_could_multiply_must_be_left_of_the_cap(fields: Any, least: int) -> None:
    found = classified({**ORDER, **fields})
    assert isinstance(found, Uncertain)
    assert (found.units, found.least) == (86_400, least)
    together = classified([{**ORDER, **fields}] * 2)
    assert isinstance(together, Uncertain)
    assert together.least == 2 * least


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({**ORDER, "model": "veo-3"}, "veo-3"),
        ({**ORDER, "n": 10}, "'n'"),
        ({**ORDER, "Model": "sora-2-beta-max"}, "twice"),
        ({**ORDER, "model": ["veo-3"]}, "veo-3"),
        ({**ORDER, "model": {"veo-3": 1}}, "model"),
        ({**ORDER, "no_such_field": "veo-3"}, "veo-3"),
        ({**ORDER, "no_such_field": {"model": 1}}, "no_such_field"),
        ({"prompt": '{"model":"veo-3"}'}, "prompt"),
        ({**ORDER, "duration": "long"}, "duration"),
        ({**ORDER, "aspect_ratio": "x" * 17}, "aspect_ratio"),
        (b'{"model":"sora-2-beta-max","prompt":"x","duration":15,"duration":10}', "twice"),
        (b'{"model":"sora-2-beta-max","prompt":"x","duration":1e999}', "duration"),
        (json.dumps(ORDER).encode() * 2, "JSON"),
        (b"\xef\xbb\xbf" + json.dumps(ORDER).encode(), "JSON"),
        (json.dumps(ORDER).encode("utf-16"), "JSON"),
        (gzip.compress(json.dumps(ORDER).encode(), mtime=0), "JSON"),
        (b"model: veo-3", "JSON"),
        (b"n=10", "JSON"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "'a'"),
    ],
)  # fmt: skip
def test_what_nothing_bounds_is_not_sent_and_the_reason_names_it(body: Any, named: str) -> None:
    found = classified(body)
    assert isinstance(found, Unsendable)
    assert named in found.reason


@pytest.mark.parametrize("body", [b"[" * 900 + b"]" * 900, b"[" * 100_000, b'{"model":' * 100_000])
def test_a_body_that_is_too_deep_is_never_certain(body: bytes) -> None:
    assert isinstance(classified(body), Uncertain | Unsendable)


@pytest.mark.parametrize(
    "more",
    [
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"application/vnd.api+json")],
        [(b"content-type", b"application/json; charset=utf-16")],
        [JSON, JSON],
        [JSON, (b"content-encoding", b"gzip")],
        [JSON, (b"authorization", b"Bearer contract-live; model=veo-3")],
        [JSON, (b"authorization", b"Bearer contract-live"), (b"authorization", b"model=veo-3")],
        [JSON, (b"idempotency-key", b"model=veo-3-0123456789")],
        [JSON, (b"idempotency-key", b"0123456789-abcdef"), (b"idempotency-key", b"n-10-0123456789-abcdef")],
    ],
)
def test_headers_with_which_a_service_could_read_another_order_are_not_sent(more: Any) -> None:
    assert isinstance(classified(ORDER, "live", "POST", CREATE_PATH, *more), Unsendable)


@pytest.mark.parametrize(
    "header",
    [
        (b"x-model", b"veo-3"),
        (b"x-options", b"model=veo-3"),
        (b"prefer", b"model=veo-3"),
        (b"accept", b"application/json;model=veo-3"),
        (b"user-agent", b"model=veo-3"),
        (b"cookie", b"model=veo-3"),
        (b"x-api-key", b"sk-mock-other"),
        (b"x-http-method-override", b"POST"),
        (b"x_http_method_override", b"POST"),
        (b"range", b"model=veo-3"),
        (b"x-mock-scenario", b"model=veo-3"),
        (b"x-mock-scenario", b"dearer"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_a_header_that_could_hold_a_price_is_left_out(header: tuple[bytes, bytes]) -> None:
    kept = [JSON, (b"authorization", b"Bearer contract-live"), (b"range", b"bytes=0-9"), (b"x-mock-scenario", b"a_b")]
    assert forwarded([header, *kept, header]) == kept


@pytest.mark.parametrize(
    ("body", "orders"),
    [
        (b'{"model":"sora-2-beta-max","prompt":"x"} x', 2),
        (b"[" + b"{}," * 200 + b"]", 400),
        (b"{}\n" * 200, 200),
        (b'"" ' * 200, 200),
        (b"x " * 200, 200),
        (b"[],\n" * 200, 399),
        (b'{"prompt":[' + b'"x",' * 200 + b"]}", 401),
        (b'["abc"' + b',""' * 199 + b"]", None),
        (json.dumps(["sora-9"] * 200), 200),
        (json.dumps([1] * 200), 200),
        (json.dumps([[]] * 200), 200),
        (json.dumps([None, [{}, [True, ""]]]), 4),
        ({**ORDER, "duration": [None] * 200}, 200),
        ({**ORDER, "duration": [1] * 15}, 15),
        ({**ORDER, "duration": [[], [None, []]]}, 3),
        ({**ORDER, "prompt": [{}] * 200}, 200),
        ({**ORDER, "prompt": [[]] * 200}, 200),
        ({**ORDER, "duration": 5, "prompt": "{},{},{}"}, 6),
        ({**ORDER, "image_urls": "http://a.example/1.jpg,http://a.example/2.jpg"}, 2),
        (b"{},x" * 5_000, None),
    ],
)
def test_every_value_that_could_be_an_order_is_counted(body: Any, orders: int | None) -> None:
    found = classified(body.encode() if isinstance(body, str) else body)
    if orders is None:
        assert isinstance(found, Unsendable)
    else:
        assert isinstance(found, Uncertain)
        assert found.least == orders * HIGHEST


@pytest.mark.parametrize("name", ["o3", "x3", "v", "3", "sora-2", "sora-2-beta-max-pro", "sora-9x"])
def test_only_the_models_of_the_contract_and_of_the_suite_and_invented_names_go_out(name: str) -> None:
    for value in ({**ORDER, "model": name}, {**ORDER, "no_such_field": name}, [name], {**ORDER, "aspect_ratio": name}):
        assert isinstance(classified(value), Unsendable)


def test_a_short_idempotency_key_and_a_missing_content_type_are_uncertain() -> None:
    short = classified(ORDER, "live", "POST", CREATE_PATH, JSON, (b"idempotency-key", b"short"))
    assert isinstance(short, Uncertain)
    assert short.budget == "rejection"
    missing = classified(ORDER, "live", "POST", CREATE_PATH, (b"accept", b"*/*"))
    assert isinstance(missing, Uncertain)
    assert missing.budget == "main"


def test_a_query_and_other_routes_do_not_avoid_the_check() -> None:
    assert isinstance(classified(ORDER, query=b"x=1"), Unsendable)
    assert isinstance(classified(b"{", "none", query=b"api_key=sk-x"), Unsendable)
    for path in ("/v1/videos/generations/", "/v1/video/generations", "/v1/tasks/task-unified-1", "/v1/credits"):
        assert isinstance(classified(ORDER, "live", "POST", path), Uncertain)
    for path in ("/v1/images/generations", "/v1/tasks/x/again", "/v1/videos/%67enerations", "/v1/videos/../x", "/"):
        assert isinstance(classified(b"", "live", "POST", path), Unsendable)


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


def test_a_key_in_any_header_is_a_key() -> None:
    assert key_class([(b"x-goog-api-key", b"sk-mock-other")], REAL) == "other"


def test_only_the_placeholder_is_exchanged_and_only_in_authorization() -> None:
    given = [(b"authorization", b"Bearer contract-live"), (b"x-note", b"contract-live")]
    assert with_key(given, REAL) == [(b"authorization", b"Bearer " + REAL), given[1]]
    assert with_key([(b"authorization", b"Bearer sk-x")], REAL) == [(b"authorization", b"Bearer sk-x")]
