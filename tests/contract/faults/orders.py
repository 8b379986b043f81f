"""Faults in which orders are taken: the fields of a creation, its body, and what is made of bytes."""

import json
from collections.abc import Callable
from typing import Any

import yaml

from sora_mock import protocol
from sora_mock.domain import contract as contract_room
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.emulator import Emulator
from sora_mock.web import api
from tests.contract.faults.answering import Answer, Change, creation, refusal, status
from tests.contract.faults.planting import (
    Plant,
    Table,
    answers,
    around,
    contract,
    decoder,
    field,
    first,
    ids,
    instead_of,
    part,
    refused,
    repaired,
    then,
)

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
"""Each field's type, and a value that is right."""


def _types_put_right(request: Any) -> None:
    for name, (kind, value) in RIGHT.items():
        if name in request and type(request[name]) is not kind:
            request[name] = value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and value not in (10, 15)


def _duration(wrong: Callable[[Any], object], instead: int) -> Plant:
    """Wrong durations are put right."""
    return repaired(lambda r: r.update(duration=instead) if wrong(r.get("duration")) else None)


def _cast(request: Any) -> None:
    if isinstance(request.get("duration"), str):
        request["duration"] = int(request["duration"])


def _ratio_dropped(request: Any) -> None:
    if request.get("aspect_ratio") not in (None, "16:9", "9:16"):
        del request["aspect_ratio"]


def _nulls_dropped(request: Any) -> None:
    for name in [name for name, value in request.items() if value is None]:
        del request[name]


def _all_mistakes(self: Any, content_type: Any, body: bytes) -> None:
    if len(list(self._creation.iter_errors(contract_room.decode(content_type, body)))) > 1:
        raise ApiError(400, code="invalid_requests")


FIELDS: Table = {
    "400 as 422": (
        f"create.*.type_* create.*.missing create.body.* {TEXTS} idempotency.key.?[57] callback.url.refuses.*",
        answers(status(400, 422)),
    ),
    "creation as 201": ("create.prompt.1 create.unknown_fields money.402.exact_??", answers(status(200, 201))),
    "no param": (
        "create.*.type_* create.*.missing create.aspect_ratio.square",
        answers(refusal(lambda said: said.pop("param", None))),
    ),
    "no usage": ("creation.shape create.*.known", answers(creation(lambda said: said.pop("usage")))),
    "all mistakes at once": ("create.refusal.first", around(Contract, "read_creation", first(_all_mistakes))),
    "types put right": (f"create.*.type_* {TEXTS}", repaired(_types_put_right)),
    "null is nothing": ("create.[!mp]*.type_null", repaired(_nulls_dropped)),
    "unknown fields refused": (
        "create.unknown_fields",
        contract(lambda d: d["components"]["schemas"]["VideoGenerationRequest"].update(additionalProperties=False)),
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
    "prompt in bytes": ("create.prompt.unicode", refused(lambda r: len(r["prompt"].encode()) > 5000)),
    "prompt in one line": ("create.prompt.control", refused(lambda r: "\n" in r["prompt"])),
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


def _no_content_type(self: Any, content_type: bytes | None, body: bytes) -> None:
    if content_type is None:
        raise ApiError(400)


def _lax(body: bytes) -> Any:
    try:
        return json.loads(body, strict=False)
    except (ValueError, RecursionError):
        raise ApiError(400) from None


def _order_or_lax(body: bytes) -> Any:
    return _lax(body) if body.strip() else ORDER


def _replaced(body: bytes) -> Any:
    return _lax(body.decode("utf-8", "replace").encode())


def _first_value(body: bytes) -> Any:
    """What stands before anything else."""
    try:
        return json.JSONDecoder().raw_decode(body.decode())[0]
    except (ValueError, RecursionError):
        raise ApiError(400) from None


def _yaml(body: bytes) -> Any:
    try:
        return yaml.safe_load(body[:1000])
    except yaml.YAMLError:
        raise ApiError(400) from None


def _nan_is_ten(body: bytes) -> Any:
    return json.loads(body, parse_constant=lambda name: 10)


def _first_name(body: bytes) -> Any:
    return json.loads(body, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def _an_order(request: Any) -> Any:
    return request if isinstance(request, dict) and "model" in request else ORDER


def _crashes_deep(content_type: Any, body: bytes) -> None:
    if body.count(b"[") > 1000:
        raise RecursionError


def _unlisted_method(answer: Answer) -> None:
    if answer.method == "PROPFIND":
        answer.status = 501


def _crash(path: str) -> Change:
    def change(answer: Answer) -> None:
        if not answer.path.isascii() or path in answer.path:
            answer.status = 500

    return change


def _plain_refusal(self: Any, message: str) -> None:
    self._whole = None
    text = b"Invalid HTTP request received."
    self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
    self.transport.close()


def _needs_length(self: Any, call: Any) -> None:
    if b"transfer-encoding" in call.headers:
        raise ApiError(400)


UNREADABLE = ids("create.body", "empty", "blank", "open", "text", "utf8", "trailing", "trailing_comma", "single_quotes")

BODIES: Table = {
    "what cannot be read is an order": (
        f"{UNREADABLE} create.body.nan hostile.body.*",
        around(contract_room, "decode", instead_of(400, lambda content_type, body: ORDER)),
    ),
    "an empty body is an order": ("create.body.empty create.body.blank", decoder(_order_or_lax)),
    "what is no order is one": (
        ids("create.body", "number", "string", "null", "list", "list_of_order", "object"),
        around(contract_room, "decode", then(lambda request, *args: _an_order(request))),
    ),
    "YAML is read": ("create.body.single_quotes create.body.trailing_comma", decoder(_yaml)),
    "what follows is not read": ("create.body.trailing hostile.body.nul", decoder(_first_value)),
    "NaN is 10": ("create.body.nan", decoder(_nan_is_ten)),
    "any content type": ("create.content_type", part(contract_room, "_is_json", lambda content_type: True)),
    "first name counts": ("create.duplicate_names", decoder(_first_name)),
    "lax JSON": (ids("hostile.body", "surrogate", "infinity", "utf16", "control"), decoder(_lax)),
    "latin-1": ("hostile.body.latin1", decoder(_replaced)),
    "what follows": ("hostile.body.nul", decoder(lambda body: _lax(body.rstrip(b"\x00")))),
    "deeper": ("hostile.body.deep_list", part(contract_room, "DEEPEST", 100)),
    "less deep": ("hostile.nesting.64", part(contract_room, "DEEPEST", 63)),
    "a deep body is a crash": ("hostile.body.very_deep", around(contract_room, "decode", first(_crashes_deep))),
    "a byte more": ("hostile.size.above", part(api, "LARGEST_BODY", 1024 * 1024 + 1)),
    "a byte less": ("hostile.size.exact", part(api, "LARGEST_BODY", 1024 * 1024 - 1)),
    "413 as 400": ("hostile.size.above hostile.size.8_times", answers(status(413, 400))),
    "chunks are not read": ("hostile.chunked", around(Emulator, "create", first(_needs_length))),
    "any head": ("hostile.header.large", part(protocol, "LARGEST_HEAD", 10**9)),
    "plain text": ("hostile.http.* hostile.header.large", part(protocol.Protocol, "send_400_response", _plain_refusal)),
    "501 for a method": ("hostile.method", answers(_unlisted_method)),
    "strange paths crash": ("hostile.paths", answers(_crash("passwd"))),
    "long keys pass": (
        "hostile.key.long",
        around(Emulator, "accepts", lambda accepts, self, key: len(key) > 1000 or accepts(self, key)),
    ),
}
