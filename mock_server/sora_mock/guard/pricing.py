"""The highest price that a raw request can cost, and the budget that pays. The contract decides it before the send."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from sora_mock.domain import callback_url
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.domain.models import DEFAULT_MODEL, read_models
from sora_mock.runtime.package_data import model_tables

Headers = Sequence[tuple[bytes, bytes]]
KeyClass = Literal["live", "none", "invalid", "other"]
Charge = Literal["free", "unread", "main", "rejection", "refused"]

CREATE_PATH: Final = "/v1/videos/generations"
PRICES: Final = read_models(model_tables())[DEFAULT_MODEL].prices
"""By duration, in units of 1/10,000 credit (docs/fidelity.md, prices)."""
HIGHEST: Final = max(PRICES.values())
"""The price of a request for our model that the service may read differently."""
CHEAPEST: Final = min(PRICES.values())

PLACEHOLDER: Final = b"contract-live"
_PLACEHOLDER: Final = re.compile(rb"(?<![A-Za-z0-9._~+/=-])" + PLACEHOLDER + rb"(?![A-Za-z0-9._~+/=-])")
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS", "TRACE"}
_OVERRIDES: Final = {b"x-http-method-override", b"x-http-method", b"x-method-override"}
CREDENTIAL_HEADERS: Final = {b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"api-key"}
_ENCODINGS: Final = {b"gzip", b"x-gzip", b"deflate"}
_MOST_DECODED: Final = 8 * 1024 * 1024
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PART: Final = re.compile(r"""name="?model"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]*)""", re.IGNORECASE)
_MODEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._:/ -]{2,}", re.IGNORECASE)


@dataclass(frozen=True)
class Quote:
    """How one request is charged.

    charge: `free`, `unread`, the budget that pays (`main`, `rejection`), or `refused`: the guard does not send it.
    `unread` costs nothing if the service rejects it. units: the highest price, 0 for `free` and `refused`.
    reason: why it is not a plain paid create request, None for one that is.
    """

    charge: Charge
    units: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Pricing:
    """Quotes for one contract. If the service might parse a body differently, assume that it is billable."""

    contract: Contract

    def quote(self, method: str, path: str, headers: Headers, body: bytes, key: KeyClass) -> Quote:
        """How a request is charged. `path` is decoded and without query, header names are in lower case.

        Safe methods are `free`. A body in which no parser should find a request (empty, broken, of any size) is
        `unread`, at the highest price, in case the service finds one. The guard sends a valid body only with a key.
        If the service must reject that key, the rejection budget pays.
        """
        names = {name for name, _ in headers}
        if method in _SAFE_METHODS and not names & _OVERRIDES:
            return Quote("free", reason=f"{method} creates nothing")
        encodings = _values(headers, b"content-encoding") - {b"identity"}
        found = _Found(body)
        if body.strip() and not found.is_request:
            plain = _decoded(body, encodings)
            if plain is None:
                return Quote("refused", reason="what this encoded body orders, and its price, is not known")
            found = _Found(plain)
        model = found.unknown_model(str(self.contract.defaults.get("model")))
        if model is not None:
            return Quote("refused", reason=f"the price of the model {model[:60]!r} is not known")
        if not found.is_request and not (body.strip() and (encodings or _is_form(headers))):
            charge: Charge = "free" if key == "none" else "unread"
            return Quote(charge, 0 if key == "none" else HIGHEST, "no parser can find a request in this body")
        rejected = self._rejection(method, path, headers, body)
        if rejected is None and not found.ambiguous:
            request = self.contract.read_create_request(None, body)
            return _by_key(PRICES.get(int(request["duration"]), HIGHEST), key)
        if rejected is None:
            return _by_key(HIGHEST, key)
        if key == "none":
            return Quote("free", reason=f"there is no key to charge, and {rejected}")
        return Quote("rejection", HIGHEST, rejected)

    def _rejection(self, method: str, path: str, headers: Headers, body: bytes) -> str | None:
        """Why the service should reject this request with any key, None if the contract accepts it."""
        if method != "POST" or path != CREATE_PATH:
            return f"{method} {path[:80]} is not an operation"
        if len(body) > 1024 * 1024:
            return "the body is larger than 1 MiB"
        if _values(headers, b"content-encoding") - {b"identity"}:
            return "the body is encoded"
        try:
            request = self.contract.read_create_request(
                next((v for n, v in headers if n == b"content-type"), None), body
            )
            for name, value in headers:
                if name == b"idempotency-key":
                    self.contract.check_idempotency_key(value.decode("latin-1"))
        except ApiError as error:
            return error.message or "the contract rejects it"
        url = request.get("callback_url")
        return None if url is None else callback_url.rejection(url)


def _by_key(price: int, key: KeyClass) -> Quote:
    if key == "none":
        return Quote("refused", reason="a valid body is never sent without a key")
    if key == "invalid":
        return Quote("rejection", price, "the service must reject its key")
    return Quote("main", price)


class _Found:
    """What any parser might find in a body.

    This accepts more than our decoder does: other parsers stop at the end of the first value, replace bytes that are
    not UTF-8, skip a byte order mark, or accept other Unicode encodings.
    """

    def __init__(self, body: bytes) -> None:
        self.names: list[str] = []
        text = body.decode(json.detect_encoding(body), "replace").lstrip("\ufeff \t\r\n\x00")
        self.is_request = text.startswith(("{", "[")) and self._is_json(text)
        self.models = [*_json_models(text), *([] if self.is_request else _form_models(text))]

    def _is_json(self, text: str) -> bool:
        decoder = json.JSONDecoder(object_pairs_hook=self._pairs, strict=False, parse_int=str, parse_float=str)
        try:
            decoder.raw_decode(text)
        except RecursionError:
            return True
        except ValueError:
            return False
        return True

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # the decoder reports inner objects first, so the last one is the outermost
        self.names = [name.casefold() for name, _ in pairs]
        return dict(pairs)

    @property
    def ambiguous(self) -> bool:
        """Whether a field occurs twice, perhaps in another case. The service decides which one counts."""
        return len(set(self.names)) < len(self.names)

    def unknown_model(self, ours: str) -> str | None:
        """A model that may exist and has an unknown price, None if there is none.

        A name that begins with `contract-`, is shorter than 3 characters or has other characters than model names have
        is never a real model.
        """
        for model in self.models:
            name = model.strip().casefold()
            if name not in ("", ours) and not name.startswith("contract-") and _MODEL_NAME.fullmatch(name):
                return name
        return None


def _json_models(text: str) -> Iterator[str]:
    """Strings that follow the name `model`, also in JSON that is broken, too deep, or has comments."""
    name, end = "", 0
    for found in _STRING.finditer(text):
        try:
            string = str(json.loads(found[0], strict=False))
        except ValueError:
            string = found[0][1:-1]
        if name.strip().casefold() == "model" and text[end : found.start()].strip() == ":":
            yield string
        name, end = string, found.end()


def _form_models(text: str) -> Iterator[str]:
    """The fields `model` of a form, of either kind."""
    if "model" in text.casefold():
        yield from _PART.findall(text)
        yield from (value for name, value in parse_qsl(text) if name.strip().casefold() == "model")


def _decoded(body: bytes, encodings: set[bytes]) -> bytes | None:
    """The body that a service reads if it decompresses, even without a header. None if we cannot decompress it."""
    if not encodings <= _ENCODINGS or len(encodings) > 1:
        return None
    # gzip and zlib have a header; some clients send a raw stream as deflate
    for window in (47, -15) if b"deflate" in encodings else (47,):
        plain, left = b"", body
        try:
            while left:
                stream = zlib.decompressobj(window)
                plain += stream.decompress(left, _MOST_DECODED)
                if stream.unconsumed_tail or len(plain) > _MOST_DECODED:
                    return None
                left = stream.unused_data
        except zlib.error:
            if not plain:
                continue
        return plain
    return body


def _values(headers: Headers, wanted: bytes) -> set[bytes]:
    return {value.strip().lower() for name, value in headers if name == wanted} - {b""}


def _is_form(headers: Headers) -> bool:
    """Whether a lax service might read the body as a form."""
    kinds = (b"application/x-www-form-urlencoded", b"multipart/")
    return any(value.startswith(kinds) for value in _values(headers, b"content-type"))


def key_class(headers: Headers, key: bytes) -> KeyClass:
    """The kind of key that a request has: the live one (or its placeholder), none, an invalid one, or another one.

    Keys of the service begin with `sk-`. The service must reject every other credential.
    """
    given = [value for name, value in headers if name in CREDENTIAL_HEADERS and value.strip()]
    if any(_PLACEHOLDER.search(value) or key in value for value in given):
        return "live"
    if not given:
        return "none"
    return "other" if any(re.search(rb"(?<![A-Za-z0-9])sk-", value) for value in given) else "invalid"


def with_key(headers: Headers, key: bytes) -> list[tuple[bytes, bytes]]:
    """The headers with the real key in place of the placeholder. Only Authorization changes."""
    return [
        (name, _PLACEHOLDER.sub(lambda _: key, value) if name == b"authorization" else value) for name, value in headers
    ]
