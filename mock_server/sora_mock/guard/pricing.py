"""What a raw request could cost at worst, and who pays: decided by our own contract before anything is sent."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from sora_mock.config.settings import Settings
from sora_mock.domain import callback_url
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError

Headers = Sequence[tuple[bytes, bytes]]
KeyClass = Literal["live", "none", "invalid", "other"]
Lot = Literal["free", "unread", "accept", "surprise", "refused"]

CREATE_PATH: Final = "/v1/videos/generations"
PRICES: Final = Settings().prices
"""By duration, in units of 1/10,000 credit (docs/fidelity.md, prices)."""
HIGHEST: Final = max(PRICES.values())
"""What a request of our model could cost that we cannot read as the service might."""
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
    """One request's lot: `free`, `unread`, one of the two purses, or `refused`, which is not sent at all.

    `unread` is free for as long as the service refuses it. units: the worst price, 0 for the free and the refused.
    reason: why it is no plain paid creation; None for one.
    """

    lot: Lot
    units: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Pricing:
    """Quotes for one contract. Who could read a body otherwise than we do is the service, so doubts cost money."""

    contract: Contract

    def quote(self, method: str, path: str, headers: Headers, body: bytes, key: KeyClass) -> Quote:
        """The lot of a request; `path` is decoded and without query, header names are in lower case.

        Free are safe methods; unread are bodies in which nobody should find a request (empty, broken, whatever their
        size), at the worst price of a service that finds one. A valid body goes out with a key alone; with one that
        must be refused it counts as a surprise.
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
            lot: Lot = "free" if key == "none" else "unread"
            return Quote(lot, 0 if key == "none" else HIGHEST, "nobody can read a request in this body")
        refused = self._refusal(method, path, headers, body)
        if refused is None and not found.ambiguous:
            request = self.contract.read_create_request(None, body)
            return _by_key(PRICES.get(int(request["duration"]), HIGHEST), key)
        if refused is None:
            return _by_key(HIGHEST, key)
        if key == "none":
            return Quote("free", reason=f"there is no key to charge, and {refused}")
        return Quote("surprise", HIGHEST, refused)

    def _refusal(self, method: str, path: str, headers: Headers, body: bytes) -> str | None:
        """Why the service should refuse this request, whoever sends it; None where our contract accepts it."""
        if method != "POST" or path != CREATE_PATH:
            return f"{method} {path[:80]} is no operation"
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
            return error.message or "the contract refuses it"
        url = request.get("callback_url")
        return None if url is None else callback_url.rejection(url)


def _by_key(price: int, key: KeyClass) -> Quote:
    if key == "none":
        return Quote("refused", reason="a valid body is never sent without a key")
    if key == "invalid":
        return Quote("surprise", price, "its key must be refused")
    return Quote("accept", price)


class _Found:
    """What anybody might read in a body: more than our decoder takes, since others stop at the end of the first value,
    replace what is not UTF-8, skip a byte order mark, or take other Unicode encodings.
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
        # inner objects come first: the outermost is the one that stays
        self.names = [name.casefold() for name, _ in pairs]
        return dict(pairs)

    @property
    def ambiguous(self) -> bool:
        """Whether a field is there twice, if only in another case: which one counts is the service's affair."""
        return len(set(self.names)) < len(self.names)

    def unknown_model(self, ours: str) -> str | None:
        """A model that may exist and costs nobody knows what; None where there is none.

        Names that begin with `contract-`, are shorter than 3 characters or hold what no name has are nobody's models.
        """
        for model in self.models:
            name = model.strip().casefold()
            if name not in ("", ours) and not name.startswith("contract-") and _MODEL_NAME.fullmatch(name):
                return name
        return None


def _json_models(text: str) -> Iterator[str]:
    """Strings that stand behind the name `model`, in whatever is around them: too deep, broken, with comments."""
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
    """What a service reads that undoes compression, if only by the look of it; None where we cannot."""
    if not encodings <= _ENCODINGS or len(encodings) > 1:
        return None
    # gzip and zlib know themselves; some mean the bare stream by deflate
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
    """Whose key a request carries: the live one (or its placeholder), none, one that must be refused, another's.

    Keys of the service begin with `sk-`; whatever else looks like a credential must be refused.
    """
    given = [value for name, value in headers if name in CREDENTIAL_HEADERS and value.strip()]
    if any(_PLACEHOLDER.search(value) or key in value for value in given):
        return "live"
    if not given:
        return "none"
    return "other" if any(re.search(rb"(?<![A-Za-z0-9])sk-", value) for value in given) else "invalid"


def with_key(headers: Headers, key: bytes) -> list[tuple[bytes, bytes]]:
    """The headers with the placeholder exchanged for the real key, in Authorization alone."""
    return [
        (name, _PLACEHOLDER.sub(lambda _: key, value) if name == b"authorization" else value) for name, value in headers
    ]
