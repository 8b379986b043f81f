"""The fields of a create request, each at, below and beyond its boundaries."""

from typing import Any

import httpx
import pytest

from contract_tests.orders import CAT, CREATE, ORDER, SHARED_ORDERS
from contract_tests.reading import error_of, problems
from contract_tests.service import Service, accepted
from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET, TEN_SECONDS

PROSE = "published contract, prose of "
SCHEMA = "openapi/openapi.json#/components/schemas/VideoGenerationRequest/properties/"


def row(id: str, claim: str, fields: dict[str, Any], **more: Any) -> Any:
    """A row of the tables below: a create request with these fields."""
    field = id.partition(".")[0]
    marker = pytest.mark.contract(claim=claim, source=f"{PROSE}{field}; {SCHEMA}{field}", **more)
    return pytest.param(fields, id=id, marks=marker)


COMBINED = {"price": FIFTEEN_SECONDS, "shared": "combined"}

# mocks only where a picture is named: the live service must not request it from a third party
ACCEPTED = [
    row("model.known", "the model sora-2-beta-max is accepted", {}, shared="usual"),
    row("prompt.1", "a prompt of one character is accepted", SHARED_ORDERS["usual"], shared="usual"),
    row(
        "prompt.4999",
        "a prompt of 4999 characters is accepted",
        {"prompt": SHARED_ORDERS["explicit"]["prompt"]},
        shared="explicit",
    ),
    # on the live service too, characters of four bytes are characters
    row("prompt.5000", "a prompt of 5000 characters is accepted", {"prompt": "x" * 5000}, **COMBINED),
    row("prompt.unicode", "a prompt of 5000 characters of four bytes is accepted", {"prompt": CAT * 5000}, **COMBINED),
    row(
        "prompt.control",
        "a prompt with line ends, quotes and NUL is accepted",
        {"prompt": 'a\nb\t"c"\\ \x00'},
        needs={"mock"},
    ),
    row("duration.10", "a duration of 10 is accepted", {"duration": 10}, shared="explicit"),
    row("duration.15", "a duration of 15 is accepted", {"duration": 15}, **COMBINED),
    row("aspect_ratio.landscape", "the aspect ratio 16:9 is accepted", {"aspect_ratio": "16:9"}, shared="explicit"),
    row("aspect_ratio.portrait", "the aspect ratio 9:16 is accepted", {"aspect_ratio": "9:16"}, **COMBINED),
    row("remove_watermark.true", "remove_watermark true is accepted", {"remove_watermark": True}, **COMBINED),
    row("remove_watermark.false", "remove_watermark false is accepted", {"remove_watermark": False}, shared="explicit"),
    row("image_urls.none", "an empty list of pictures is accepted", {"image_urls": []}, shared="explicit"),
    row(
        "image_urls.1",
        "one picture is accepted",
        {"image_urls": ["http://example.com/image1.jpg"]},
        needs={"mock"},
    ),
]

REJECTED = [
    row("model.missing", "a create request without model gets 400 invalid_request", {"model": ...}),
    row("model.unknown", "another model gets 400 invalid_request", {"model": "sora-9"}),
    row("model.empty", "an empty model gets 400 invalid_request", {"model": ""}),
    row("model.case", "the model in capitals gets 400 invalid_request", {"model": "SORA-2-BETA-MAX"}),
    row("model.space", "the model with a space after it gets 400 invalid_request", {"model": "sora-2-beta-max "}),
    row("prompt.5001", "a prompt of 5001 characters gets 400 invalid_request", {"prompt": "x" * 5001}),
    row(
        "prompt.unicode_5001",
        "a prompt of 5001 characters of four bytes gets 400 invalid_request",
        {"prompt": CAT * 5001},
    ),
    row("prompt.missing", "a create request without prompt gets 400 invalid_request", {"prompt": ...}),
    *(
        row(f"duration.{seconds}", f"a duration of {seconds} gets 400 invalid_request", {"duration": seconds})
        for seconds in (-10, 0, 1, 5, 9, 11, 12, 14, 16, 20, 25, 10**9)
    ),
    row("duration.fraction", "a duration of 10.5 gets 400 invalid_request", {"duration": 10.5}),
    row("duration.text", "a duration as a text gets 400 invalid_request", {"duration": "10"}),
    *(
        row(f"aspect_ratio.{name}", f"the aspect ratio {ratio!r} gets 400 invalid_request", {"aspect_ratio": ratio})
        for name, ratio in (
            ("square", "1:1"),
            ("other", "4:3"),
            ("pixels", "1280x720"),
            ("space", "16:9 "),
            ("empty", ""),
        )
    ),
    row(
        "remove_watermark.text",
        "remove_watermark as a text gets 400 invalid_request",
        {"remove_watermark": "true"},
    ),
    row(
        "image_urls.2",
        "two pictures get 400 invalid_request",
        {"image_urls": ["http://example.com/1.jpg", "http://example.com/2.jpg"]},
    ),
    row(
        "image_urls.text",
        "a picture that is no list gets 400 invalid_request",
        {"image_urls": "http://example.com/1.jpg"},
    ),
]

WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "model": (None, 1, True, ["sora-2-beta-max"], {}),
    "prompt": (None, 5, True, ["A cat"], {"text": "A cat"}),
    "duration": (None, True, [10], {}),
    "aspect_ratio": (None, 16, True, ["16:9"]),
    "remove_watermark": (None, 1, [True]),
    "image_urls": (None, 1, {}),
    "callback_url": (None, 1, ["https://example.com/hook"]),
}


def type_name(value: Any) -> str:
    """The name of a type in an id."""
    return "null" if value is None else type(value).__name__


REJECTED += [
    row(
        f"{field}.type_{type_name(value)}",
        f"{field} of type {type_name(value)} gets 400 invalid_request",
        {field: value},
    )
    for field, values in WRONG_TYPES.items()
    for value in values
]

REJECTED_PICTURES = [
    row("image_urls.no_uri", "a picture that is no URI gets 400 invalid_request", {"image_urls": ["not a uri"]}),
    row("image_urls.number", "a picture that is a number gets 400 invalid_request", {"image_urls": [1]}),
]


@pytest.mark.contract(id="create.*", price=TEN_SECONDS)
@pytest.mark.parametrize("fields", ACCEPTED)
def test_a_create_request_with_this_field_is_accepted(
    service: Service, request: pytest.FixtureRequest, fields: dict[str, Any]
) -> None:
    # on the live service a common create request has this field and others
    response = service.create(**fields) if service.is_mock else request.getfixturevalue("shared_response")
    assert response.status_code == 200, response.text
    assert problems("VideoGenerationResponse", accepted(response)) == []


@pytest.mark.contract(id="create.*", needs={REJECTION_BUDGET})
@pytest.mark.parametrize("fields", REJECTED)
def test_a_create_request_with_this_field_gets_400(service: Service, fields: dict[str, Any]) -> None:
    error = error_of(service.create(**fields))
    assert error[:3] == (400, "invalid_request", "invalid_request_error")
    if service.is_mock:
        # that the param names the field is an assumption (docs/fidelity.md)
        assert [error.param] == list(fields)


@pytest.mark.contract(id="create.*", needs={REJECTION_BUDGET})
@pytest.mark.parametrize("fields", REJECTED_PICTURES)
def test_a_create_request_with_this_picture_gets_400(service: Service, fields: dict[str, Any]) -> None:
    error = error_of(service.create(**fields))
    assert error[:3] == (400, "invalid_request", "invalid_request_error")
    if service.is_mock:
        assert error.param == "image_urls[0]"


@pytest.mark.contract(
    id="create.unknown_fields",
    source="openapi/openapi.json#/components/schemas/VideoGenerationRequest; an assumption (docs/fidelity.md)",
    **COMBINED,
)
def test_fields_that_the_contract_does_not_know_are_accepted(shared_response: httpx.Response) -> None:
    assert shared_response.status_code == 200, shared_response.text


@pytest.mark.contract(id="create.duration.default", source=f"{PROSE}duration", price=TEN_SECONDS, shared="usual")
def test_a_duration_that_is_left_out_is_10_seconds(shared_task: Any) -> None:
    assert shared_task["task_info"].get("video_duration") == 10


@pytest.mark.contract(
    id="create.duplicate_names",
    source="RFC 8259, 4; docs/reference.md, bad bodies (an assumption)",
    needs={"mock"},
)
def test_of_two_fields_with_one_name_the_last_counts(service: Service) -> None:
    body = b'{"model":"sora-2-beta-max","prompt":"x","duration":10,"duration":15}'
    assert accepted(service.create(content=body))["task_info"]["video_duration"] == 15
    body = b'{"model":"sora-2-beta-max","prompt":"x","duration":15,"duration":11}'
    error = error_of(service.create(content=body))
    assert (error.status, error.code, error.param) == (400, "invalid_request", "duration")


@pytest.mark.contract(
    id="create.content_type", source="published contract, requestBody (no 415 is documented)", needs={"mock"}
)
def test_another_content_type_gets_400_and_json_with_parameters_or_none_is_accepted(service: Service) -> None:
    """Another content type than JSON gets 400; parameters, application/*+json and a missing one are accepted."""
    for wrong in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert error_of(service.create(headers={"Content-Type": wrong}))[:2] == (400, "invalid_request"), wrong
    for right in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"):
        assert service.create(headers={"Content-Type": right}).status_code == 200, right
    without = service.build_request("POST", CREATE, content=b'{"model":"sora-2-beta-max","prompt":"x"}')
    assert "content-type" not in without.headers
    assert service.send(without).status_code == 200


@pytest.mark.contract(
    id="create.refusal.first",
    source="published contract, responses 400 of the create request",
    needs={REJECTION_BUDGET},
)
def test_a_create_request_that_breaks_several_rules_is_rejected_once(service: Service) -> None:
    """A create request that breaks several rules is rejected once, with one of them."""
    response = service.post(CREATE, json={**ORDER, "duration": 11, "aspect_ratio": "1:1"})
    assert error_of(response)[:3] == (400, "invalid_request", "invalid_request_error")
