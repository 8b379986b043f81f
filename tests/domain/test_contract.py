"""The published contract: its examples are valid, invalid requests are rejected, and errors name the field."""

from typing import Any

import jsonschema_rs
import msgspec
import pytest

from sora_mock.domain.contract import CREATE, Contract, decode
from sora_mock.domain.errors import ApiError
from sora_mock.runtime import package_data as data

DOCUMENT = data.contract_document()
CONTRACT = Contract(DOCUMENT)
REQUEST = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]


def schema_accepts(schema: dict[str, Any], value: Any) -> bool:
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )
    return validator.is_valid(value)


def published_examples() -> list[tuple[str, dict[str, Any], Any]]:
    """Every example of a request or a response, with its operation id and its schema."""
    found = []
    for operation in OPERATIONS:
        contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        contents += [response["content"] for response in operation["responses"].values()]
        for content in contents:
            media = content["application/json"]
            examples = [each["value"] for each in media.get("examples", {}).values()]
            examples += [media["example"]] if "example" in media else []
            found += [(operation["operationId"], media["schema"], example) for example in examples]
    return found


@pytest.mark.parametrize(("name", "schema", "example"), published_examples())
def test_every_example_of_the_file_satisfies_its_own_schema(name: str, schema: dict[str, Any], example: Any) -> None:
    assert schema_accepts(schema, example)


def error_of(body: Any) -> ApiError:
    with pytest.raises(ApiError) as raised:
        CONTRACT.read_create_request(None, msgspec.json.encode(body))
    return raised.value


@pytest.mark.parametrize(
    ("change", "param", "expected"),
    [
        ({"model": "sora-2"}, "model", "must be one of sora-2-beta-max"),
        ({"prompt": 5}, "prompt", "must be of type string"),
        ({"prompt": "x" * 5001}, "prompt", "at most 5000 characters, got 5001"),
        ({"duration": 12}, "duration", "must be one of 10, 15, got 12"),
        ({"duration": "10"}, "duration", "integer"),
        ({"duration": 10.5}, "duration", "integer"),
        ({"duration": 10**30}, "duration", "10, 15"),
        ({"aspect_ratio": "1:1"}, "aspect_ratio", "16:9, 9:16"),
        ({"image_urls": ["http://a.example/1.png"] * 2}, "image_urls", "at most 1 item"),
        ({"image_urls": ["no uri"]}, "image_urls[0]", "must be a uri"),
        ({"image_urls": "http://a.example/1.png"}, "image_urls", "array"),
        ({"remove_watermark": "yes"}, "remove_watermark", "boolean"),
        ({"remove_watermark": None}, "remove_watermark", "boolean"),
        ({"callback_url": "https://a.example/" + "x" * 2048}, "callback_url", "at most 2048 characters"),
    ],
)
def test_an_error_names_the_field_and_what_is_expected(change: dict[str, Any], param: str, expected: str) -> None:
    error = error_of({**REQUEST, **change})
    assert (error.status, error.param) == (400, param)
    assert expected in str(error.message)


def test_a_callback_with_another_scheme_is_left_to_the_settings_and_the_rules_of_callbacks() -> None:
    url = "http://127.0.0.1:9000/hook"
    assert not schema_accepts({"$ref": "#/components/schemas/VideoGenerationRequest"}, {**REQUEST, "callback_url": url})
    body = msgspec.json.encode({**REQUEST, "callback_url": url})
    assert CONTRACT.read_create_request(None, body)["callback_url"] == url


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_a_missing_field_is_named(missing: str) -> None:
    error = error_of({name: value for name, value in REQUEST.items() if name != missing})
    assert (error.param, error.message) == (missing, f"{missing} is required")


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
def test_a_body_that_is_no_object_is_rejected(body: Any) -> None:
    assert "must be of type object" in str(error_of(body).message)


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(str(error_of({**REQUEST, "aspect_ratio": "x" * 100_000}).message)) < 300


def test_a_whole_float_is_an_integer() -> None:
    body = b'{"model":"sora-2-beta-max","prompt":"","duration":15.0}'
    assert CONTRACT.read_create_request(None, body)["duration"] == 15


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"{]",
        b"{}x",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b"\xff{}",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00 tail of a text"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_not_json_is_rejected(body: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        decode(None, body)
    assert raised.value.status == 400
    assert "not valid JSON" in str(raised.value.message)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_sixty_four_levels_are_accepted_and_one_more_is_rejected() -> None:
    assert decode(None, nested(64)) is not None
    for levels in (65, 900, 100_000):
        with pytest.raises(ApiError, match="64 levels"):
            decode(None, nested(levels))


def test_many_arrays_side_by_side_are_accepted() -> None:
    assert len(decode(None, b"[" + b"[]," * 5000 + b"[]]")) == 5001


@pytest.mark.parametrize(
    "accepted", [None, b"application/json", b"Application/JSON; charset=utf-8", b"application/problem+json"]
)
def test_json_content_types_and_a_missing_one_are_accepted(accepted: bytes | None) -> None:
    assert decode(accepted, b"{}") == {}


@pytest.mark.parametrize("other", [b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/xml"])
def test_other_content_types_are_rejected(other: bytes) -> None:
    with pytest.raises(ApiError, match="application/json"):
        decode(other, b"{}")


def test_each_operation_has_its_own_errors() -> None:
    create, query = CONTRACT.errors[CREATE, 402], CONTRACT.errors["getTask", 402]
    assert (create["code"], query["code"]) == ("insufficient_quota", "quota_exceeded")
    create, query = CONTRACT.errors[CREATE, 429], CONTRACT.errors["getTask", 429]
    assert (create["type"], query["type"]) == ("rate_limit_error", "evo_api_error")


@pytest.mark.parametrize("bad", ["short", "x" * 97, "with space in the key", "ümlaut-in-the-key-000"])
def test_an_invalid_idempotency_key_is_rejected(bad: str) -> None:
    with pytest.raises(ApiError, match="16 to 96"):
        CONTRACT.check_idempotency_key(bad)


def test_the_thirteen_documented_failure_codes_and_the_three_seen_ones_have_messages() -> None:
    assert len(CONTRACT.failure_messages) == 16
    assert all(CONTRACT.failure_messages.values())
