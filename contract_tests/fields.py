"""The fields of a create request, each at, below and beyond its boundaries."""

from typing import Any

from contract_tests.shapes import fits
from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET, TEN_SECONDS, rule, true
from sora_mock.verify.target import CREATE, ORDER, Target

PROSE = "published contract, prose of "
SCHEMA = "openapi/openapi.json#/components/schemas/VideoGenerationRequest/properties/"


def accepts(name: str, claim: str, price: float = TEN_SECONDS, needs: set[str] | None = None, **order: Any) -> None:
    """A rule: such an order is taken."""
    field = name.partition(".")[0]

    @rule(
        id=f"create.{name}",
        claim=f"{claim} is accepted",
        source=f"{PROSE}{field}; {SCHEMA}{field}",
        price=price,
        needs=needs or set(),
    )
    def check(target: Target) -> None:
        fits("VideoGenerationResponse", target.create(**order).must_be(200))


def refuses(name: str, claim: str, needs: set[str] | None = None, param: str | None = None, **order: Any) -> None:
    """A rule: such an order gets 400 that names the field (the param is an assumption: only a mock has to)."""
    field = name.partition(".")[0]
    wanted = param or field

    @rule(
        id=f"create.{name}",
        claim=f"{claim} gets 400 invalid_request",
        source=f"{PROSE}{field}; {SCHEMA}{field}",
        needs=needs or {REJECTION_BUDGET},
    )
    def check(target: Target) -> None:
        error = target.create(**order).error(400, "invalid_request", "invalid_request_error")
        if target.is_mock:
            true("error.param", error.get("param") == wanted, error, f"param {wanted}")


def refuses_types(field: str, *wrong: Any) -> None:
    """Rules: values of other JSON types are refused."""
    for value in wrong:
        kind = "null" if value is None else type(value).__name__
        refuses(f"{field}.type_{kind}", f"{field} of type {kind}", **{field: value})


# --- model ---
accepts("model.known", "the model sora-2-beta-max")
refuses("model.missing", "an order without model", model=...)
refuses("model.unknown", "another model", model="sora-9")
refuses("model.empty", "an empty model", model="")
refuses("model.case", "the model in capitals", model="SORA-2-BETA-MAX")
refuses("model.space", "the model with a space behind it", model="sora-2-beta-max ")
refuses_types("model", None, 1, True, ["sora-2-beta-max"], {})

# --- prompt ---
accepts("prompt.1", "a prompt of one character", prompt="x")
accepts("prompt.4999", "a prompt of 4999 characters", prompt="x" * 4999)
accepts("prompt.5000", "a prompt of 5000 characters", prompt="x" * 5000)
refuses("prompt.5001", "a prompt of 5001 characters", prompt="x" * 5001)
accepts("prompt.unicode", "a prompt of 5000 characters of four bytes", prompt="\U0001f431" * 5000)
refuses("prompt.unicode_5001", "a prompt of 5001 characters of four bytes", prompt="\U0001f431" * 5001)
accepts("prompt.control", "a prompt with line ends, quotes and NUL", prompt='a\nb\t"c"\\ \x00', needs={"mock"})
refuses("prompt.missing", "an order without prompt", prompt=...)
refuses_types("prompt", None, 5, True, ["A cat"], {"text": "A cat"})

# --- duration ---
accepts("duration.10", "a duration of 10", duration=10)
accepts("duration.15", "a duration of 15", price=FIFTEEN_SECONDS, duration=15)
for _seconds in (-10, 0, 1, 5, 9, 11, 12, 14, 16, 20, 25, 10**9):
    refuses(f"duration.{_seconds}", f"a duration of {_seconds}", duration=_seconds)
refuses("duration.fraction", "a duration of 10.5", duration=10.5)
refuses("duration.text", "a duration as a text", duration="10")
refuses_types("duration", None, True, [10], {})

# --- aspect_ratio ---
accepts("aspect_ratio.landscape", "the aspect ratio 16:9", aspect_ratio="16:9")
accepts("aspect_ratio.portrait", "the aspect ratio 9:16", aspect_ratio="9:16")
for _name, _ratio in (("square", "1:1"), ("other", "4:3"), ("pixels", "1280x720"), ("space", "16:9 "), ("empty", "")):
    refuses(f"aspect_ratio.{_name}", f"the aspect ratio {_ratio!r}", aspect_ratio=_ratio)
refuses_types("aspect_ratio", None, 16, True, ["16:9"])

# --- remove_watermark ---
accepts("remove_watermark.true", "remove_watermark true", remove_watermark=True)
accepts("remove_watermark.false", "remove_watermark false", remove_watermark=False)
refuses("remove_watermark.text", "remove_watermark as a text", remove_watermark="true")
refuses_types("remove_watermark", None, 1, [True])

# --- image_urls ---
# mocks only: the live service must not request a picture from a third party
accepts("image_urls.none", "an empty list of pictures", image_urls=[])
accepts("image_urls.1", "one picture", image_urls=["http://example.com/image1.jpg"], needs={"mock"})
refuses("image_urls.2", "two pictures", image_urls=["http://example.com/1.jpg", "http://example.com/2.jpg"])
refuses("image_urls.text", "a picture that is no list", image_urls="http://example.com/1.jpg")
refuses("image_urls.no_uri", "a picture that is no URI", image_urls=["not a uri"], param="image_urls[0]")
refuses("image_urls.number", "a picture that is a number", image_urls=[1], param="image_urls[0]")
refuses_types("image_urls", None, 1, {})

# --- callback_url: the addresses are in callbacks.py ---
refuses_types("callback_url", None, 1, ["https://example.com/hook"])


@rule(
    id="create.unknown_fields",
    claim="fields that the contract does not know are accepted",
    source="openapi/openapi.json#/components/schemas/VideoGenerationRequest; an assumption (docs/fidelity.md)",
    price=TEN_SECONDS,
)
def unknown_fields(target: Target) -> None:
    """No additionalProperties: false."""
    target.create(no_such_field=1).must_be(200)


@rule(
    id="create.duration.default",
    claim="a duration that is left out is 10 seconds",
    source=f"{PROSE}duration",
    price=TEN_SECONDS,
    shared=True,
)
def default_duration(target: Target) -> None:
    """In the reply and in the price."""
    info = target.shared()["task_info"]
    true("task_info.video_duration", info.get("video_duration") == 10, info, 10)


@rule(
    id="create.duplicate_names",
    claim="of two fields with one name the last counts",
    source="RFC 8259, 4; docs/reference.md, bad bodies (an assumption)",
    needs={"mock"},
)
def duplicate_names(target: Target) -> None:
    """Durations 10 and 15."""
    body = b'{"model":"sora-2-beta-max","prompt":"x","duration":10,"duration":15}'
    reply = target.send("POST", CREATE, content=body).must_be(200)
    true("video_duration", reply["task_info"]["video_duration"] == 15, reply, 15)
    body = b'{"model":"sora-2-beta-max","prompt":"x","duration":15,"duration":11}'
    target.send("POST", CREATE, content=body).error(400, "invalid_request", param="duration")


@rule(
    id="create.content_type",
    claim="another content type than JSON gets 400; parameters and a missing one are accepted",
    source="published contract, requestBody (no 415 is documented)",
    needs={"mock"},
)
def content_type(target: Target) -> None:
    """Also application/*+json."""
    for wrong in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        target.create(headers={"Content-Type": wrong}).error(400, "invalid_request")
    for right in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"):
        target.create(headers={"Content-Type": right}).must_be(200)


@rule(
    id="create.refusal.first",
    claim="an order that breaks several rules is refused once, with one of them",
    source="published contract, responses 400 of the create request",
    needs={REJECTION_BUDGET},
)
def several_mistakes(target: Target) -> None:
    """One envelope."""
    body = {**ORDER, "duration": 11, "aspect_ratio": "1:1"}
    target.send("POST", CREATE, body=body).error(400, "invalid_request", "invalid_request_error")
