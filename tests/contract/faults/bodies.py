"""Faults in how bytes are read: bodies, sizes, heads, paths and keys that no honest client sends."""

import json
from typing import Any

import yaml

from sora_mock.api import reading
from sora_mock.domain import contract
from sora_mock.domain.errors import ApiError
from sora_mock.runtime import protocol
from sora_mock.service import authentication, videos
from tests.contract.faults.planting import (
    Table,
    around,
    decoder,
    first,
    ids,
    instead_of,
    part,
    responses,
    then,
    wrapped,
)
from tests.contract.faults.responses import Change, Response, status

ORDER = {"model": "sora-2-beta-max", "prompt": "x"}


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
    """The first JSON value; the rest is ignored."""
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


def _unlisted_method(response: Response) -> None:
    if response.method == "PROPFIND":
        response.status = 501


def _crash(path: str) -> Change:
    def change(response: Response) -> None:
        if not response.path.isascii() or path in response.path:
            response.status = 500

    return change


def _plain_text(self: Any, message: str) -> None:
    text = b"Invalid HTTP request received."
    self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
    self.transport.close()


def _needs_length(service: Any, exchange: Any) -> None:
    if b"transfer-encoding" in exchange.headers:
        raise ApiError(400)


UNREADABLE = ids("create.body", "empty", "blank", "open", "text", "utf8", "trailing", "trailing_comma", "single_quotes")

BODIES: Table = {
    "an unreadable body is an order": (
        f"{UNREADABLE} create.body.nan hostile.body.*",
        around(contract, "decode", instead_of(400, lambda content_type, body: ORDER)),
    ),
    "an empty body is an order": ("create.body.empty create.body.blank", decoder(_order_or_lax)),
    "what is no order is one": (
        ids("create.body", "number", "string", "null", "list", "list_of_order", "object"),
        around(contract, "decode", then(lambda request, *args: _an_order(request))),
    ),
    "YAML is read": ("create.body.single_quotes create.body.trailing_comma", decoder(_yaml)),
    "what follows is not read": ("create.body.trailing hostile.body.nul", decoder(_first_value)),
    "NaN is 10": ("create.body.nan", decoder(_nan_is_ten)),
    "any content type": ("create.content_type", part(contract, "_is_json", lambda content_type: True)),
    "first name counts": ("create.duplicate_names", decoder(_first_name)),
    "lax JSON": (ids("hostile.body", "surrogate", "infinity", "utf16", "control"), decoder(_lax)),
    "latin-1": ("hostile.body.latin1", decoder(_replaced)),
    "what follows": ("hostile.body.nul", decoder(lambda body: _lax(body.rstrip(b"\x00")))),
    "deeper": ("hostile.body.deep_list", part(contract, "MAX_DEPTH", 100)),
    "less deep": ("hostile.nesting.64", part(contract, "MAX_DEPTH", 63)),
    "a deep body is a crash": ("hostile.body.very_deep", around(contract, "decode", first(_crashes_deep))),
    "a byte more": ("hostile.size.above", part(reading, "MAX_BODY_BYTES", 1024 * 1024 + 1)),
    "a byte less": ("hostile.size.exact", part(reading, "MAX_BODY_BYTES", 1024 * 1024 - 1)),
    "413 as 400": ("hostile.size.above hostile.size.8_times", responses(status(413, 400))),
    "chunks are not read": ("hostile.chunked", wrapped(videos.create, first(_needs_length))),
    "any head": ("hostile.header.large", part(protocol, "MAX_HEAD_BYTES", 10**9)),
    "plain text": ("hostile.http.* hostile.header.large", part(protocol.Protocol, "send_400_response", _plain_text)),
    "501 for a method": ("hostile.method", responses(_unlisted_method)),
    "strange paths crash": ("hostile.paths", responses(_crash("passwd"))),
    "long keys pass": (
        "hostile.key.long",
        wrapped(authentication.accepts, lambda accepts, service, key: len(key) > 1000 or accepts(service, key)),
    ),
}
