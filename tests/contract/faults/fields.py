"""Faults in which create requests are accepted: each field at and beyond its bounds."""

from collections.abc import Callable
from typing import Any

from sora_mock.domain import contract
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from tests.contract.faults.planting import (
    Plant,
    Table,
    around,
    edited_contract,
    field,
    first,
    ids,
    rejected,
    repaired,
    responses,
)
from tests.contract.faults.responses import created, envelope, status

TEXTS = ids("create", "duration.text", "remove_watermark.text", "image_urls.text")
ORDER = {"model": "sora-2-beta-max", "prompt": "x"}
RIGHT: dict[str, tuple[type, Any]] = {
    "model": (str, ORDER["model"]),
    "prompt": (str, "x"),
    "duration": (int, 10),
    "aspect_ratio": (str, "16:9"),
    "remove_watermark": (bool, True),
    "image_urls": (list, []),
    "callback_url": (str, "https://hooks.example.com/"),
}
"""Each field's type, and a valid value."""


def _types_put_right(request: Any) -> None:
    for name, (kind, value) in RIGHT.items():
        if name in request and type(request[name]) is not kind:
            request[name] = value


def _dropped(wrong: Callable[[Any], object]) -> Plant:
    """Fields with wrong values are ignored."""
    return repaired(lambda r: [r.pop(name) for name in list(r) if wrong(r[name])])


def _read_as(name: str, wrong: type, read: Callable[[Any], Any]) -> Plant:
    """Values of another type are converted."""
    return repaired(lambda r: r.update({name: read(r[name])}) if type(r.get(name)) is wrong else None)


def _lists_of_one(request: Any) -> None:
    for name, value in request.items():
        if isinstance(value, list) and len(value) == 1 and name != "image_urls":
            request[name] = value[0]


def _any_prompt(request: Any) -> None:
    if "prompt" in request:
        request["prompt"] = str(request["prompt"])


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and value not in (10, 15)


def _duration(wrong: Callable[[Any], object], instead: int) -> Plant:
    """Wrong durations are replaced."""
    return repaired(lambda r: r.update(duration=instead) if wrong(r.get("duration")) else None)


def _cast(request: Any) -> None:
    if isinstance(request.get("duration"), str):
        request["duration"] = int(request["duration"])


def _ratio_dropped(request: Any) -> None:
    if request.get("aspect_ratio") not in (None, "16:9", "9:16"):
        del request["aspect_ratio"]


def _all_mistakes(self: Any, content_type: Any, body: bytes) -> None:
    if len(list(self._create_request.iter_errors(contract.decode(content_type, body)))) > 1:
        raise ApiError(400, code="invalid_requests")


FIELDS: Table = {
    "400 as 422": (
        f"create.*.type_* create.*.missing create.body.* {TEXTS} idempotency.key.?[57] callback.url.refuses.*",
        responses(status(400, 422)),
    ),
    "200 as 201": ("create.prompt.1 create.unknown_fields money.402.exact_??", responses(status(200, 201))),
    "no param": (
        "create.*.type_* create.*.missing create.aspect_ratio.square",
        responses(envelope(lambda view: view.pop("param", None))),
    ),
    "no usage": ("creation.shape create.*.known", responses(created(lambda view: view.pop("usage")))),
    "all mistakes at once": ("create.refusal.first", around(Contract, "read_create_request", first(_all_mistakes))),
    "types put right": (f"create.*.type_* {TEXTS}", repaired(_types_put_right)),
    "null is nothing": ("create.[!mp]*.type_null", _dropped(lambda value: value is None)),
    "a number is nothing": (
        ids("create", "image_urls.type_int", "callback_url.type_int", "aspect_ratio.type_int"),
        _dropped(lambda value: type(value) is int and value not in (10, 15)),
    ),
    "an empty object is nothing": (
        "create.duration.type_dict create.image_urls.type_dict",
        _dropped(lambda v: v == {}),
    ),
    "a list of one is that one": (
        ids("create", *(f"{name}.type_list" for name in RIGHT if name != "image_urls")),
        repaired(_lists_of_one),
    ),
    "any prompt is text": ("create.prompt.type_*", repaired(_any_prompt)),
    "any model will do": (
        f"create.model.type_* {ids('create.model', 'unknown', 'empty', 'case', 'space')}",
        repaired(lambda request: "model" in request and request.update(model=ORDER["model"])),
    ),
    "true is 10": ("create.duration.type_bool", _read_as("duration", bool, lambda value: 10)),
    "1 is true": ("create.remove_watermark.type_int", _read_as("remove_watermark", int, bool)),
    "a picture alone": ("create.image_urls.text", _read_as("image_urls", str, lambda url: [url])),
    "unknown fields rejected": (
        "create.unknown_fields",
        edited_contract(
            lambda d: d["components"]["schemas"]["VideoGenerationRequest"].update(additionalProperties=False)
        ),
    ),
    "another model": ("create.model.known create.prompt.1", field("model", enum=["sora-9"])),
    "two models": ("create.model.unknown", field("model", enum=["sora-2-beta-max", "sora-9"])),
    "model optional": ("create.model.missing", repaired(lambda request: request.setdefault("model", ORDER["model"]))),
    "no model is the default": (
        "create.model.empty",
        repaired(lambda r: r.update(model=r.get("model") or ORDER["model"])),
    ),
    "model in any case": ("create.model.case", repaired(lambda r: r.update(model=str(r.get("model")).lower()))),
    "model stripped": ("create.model.space", repaired(lambda r: r.update(model=str(r.get("model")).strip()))),
    "prompt of two": ("create.prompt.1", field("prompt", minLength=2)),
    "prompt of 4998": (ids("create.prompt", 4999, 5000, "unicode"), field("prompt", maxLength=4998)),
    "prompt of 4999": ("create.prompt.5000 create.prompt.unicode", field("prompt", maxLength=4999)),
    "prompt of 5001": ("create.prompt.5001 create.prompt.unicode_5001", field("prompt", maxLength=5001)),
    "prompt in bytes": ("create.prompt.unicode", rejected(lambda r: len(r["prompt"].encode()) > 5000)),
    "prompt in one line": ("create.prompt.control", rejected(lambda r: "\n" in r["prompt"])),
    "prompt optional": ("create.prompt.missing", repaired(lambda request: request.setdefault("prompt", ""))),
    "short is 10": (ids("create.duration", 1, 5, 9), _duration(lambda value: _is_int(value) and 0 < value < 10, 10)),
    "nothing is 10": ("create.duration.0", _duration(lambda value: value == 0, 10)),
    "the sign is lost": ("create.duration.-10", _duration(lambda value: value == -10, 10)),
    "near 10 is 10": (ids("create.duration", 9, 11, 12), _duration(lambda v: _is_int(v) and 8 < v < 13, 10)),
    "near 15 is 15": (ids("create.duration", 14, 16), _duration(lambda v: _is_int(v) and 13 < v < 17, 15)),
    "long is 15": (ids("create.duration", 16, 20, 25, 10**9), _duration(lambda v: _is_int(v) and v > 15, 15)),
    "a fraction is cut": ("create.duration.fraction", _duration(lambda value: value == 10.5, 10)),
    "duration from a text": ("create.duration.text", repaired(_cast)),
    "no 10": ("create.duration.10", field("duration", enum=[15])),
    "no 15": ("create.duration.15", field("duration", enum=[10])),
    "15 by default": ("create.duration.default", field("duration", default=15)),
    "no landscape": ("create.aspect_ratio.landscape", field("aspect_ratio", enum=["9:16"])),
    "no portrait": ("create.aspect_ratio.portrait", field("aspect_ratio", enum=["16:9"])),
    "ratio dropped": (
        ids("create.aspect_ratio", "square", "other", "pixels", "space", "empty", "type_int", "type_bool", "type_list"),
        repaired(_ratio_dropped),
    ),
    "watermark always off": ("create.remove_watermark.false", field("remove_watermark", enum=[True])),
    "watermark always on": ("create.remove_watermark.true", field("remove_watermark", enum=[False])),
    "watermark of any type": ("create.remove_watermark.text", field("remove_watermark", type=["boolean", "string"])),
    "a picture at least": ("create.image_urls.none", field("image_urls", minItems=1)),
    "no pictures": ("create.image_urls.1", field("image_urls", maxItems=0)),
    "two pictures": ("create.image_urls.2", field("image_urls", maxItems=2)),
    "pictures unread": ("create.image_urls.no_uri create.image_urls.number", field("image_urls", items={})),
}
