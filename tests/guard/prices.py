"""What a service that honours everything charges for a request: the strongest reader that the tests have."""

import ast
import base64
import binascii
import contextlib
import gzip
import json
import re
import zlib
from typing import Any
from urllib.parse import unquote_plus

PLAIN = 5.76
DEARER = 30.0
KNOWN_MODEL = re.compile(r"sora-2-beta-max|sora-9|(?:contract|no_such).*|", re.IGNORECASE)
"""Models with the plain price, or with none. Every other name is a dearer one."""
OVERRIDE = re.compile(r"^x[-_]http[-_]method([-_]override)?:|^x[-_]method[-_]override:", re.IGNORECASE | re.MULTILINE)


def price_of(target: str, headers: str, body: bytes) -> float:
    """Credits for everything that a request names: the dearest model, every second, every copy, every order."""
    texts = [unquote_plus(target), headers, *readings(body)]
    values = [value for text in texts for value in parsed(text)]
    price = DEARER if any("dearer" in text.casefold() for text in texts) else PLAIN
    models = [each for each in found([], values, "model") if isinstance(each, str)]
    if not all(KNOWN_MODEL.fullmatch(each.strip()) for each in models):
        price = DEARER
    seconds = max([_lengths(each) for each in found(texts, values, "duration")] or [1.0])
    copies = 1.0
    for name in ("n", "count"):
        copies *= max([_number(each) for each in found(texts, values, name)] or [1.0])
    for name in ("prompt", "image_urls", "aspect_ratio", "model"):
        copies *= max([_leaves(each) for each in found(texts, values, name)] or [1])
    orders = max([1, *(sum(map(_leaves, sequence(text))) for text in readings(body))])
    return price * seconds * max(1.0, copies) * orders


def could_create(method: str, headers: str, body: bytes) -> bool:
    """Whether the service reads a create request: also a GET whose header names another method."""
    return method not in ("GET", "HEAD") or bool(body) or OVERRIDE.search(headers) is not None


def readings(body: bytes) -> list[str]:
    """The body as every text that a service could take it for."""
    plain = [body]
    for window in (47, -15):
        for data in list(plain):
            with contextlib.suppress(zlib.error):
                plain.append(zlib.decompressobj(window).decompress(data, 1 << 20))
    for data in list(plain):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            plain.append(gzip.decompress(data))
        with contextlib.suppress(binascii.Error, ValueError):
            plain.append(base64.b64decode(data, validate=True))
    texts = {data.decode(each, "replace") for data in plain for each in ("utf-8", "utf-16-le", "utf-16-be")}
    return [*texts, *(unquote_plus(text) for text in texts)]


def parsed(text: str) -> list[Any]:
    """The values in a text: JSON, JSON in a string, lines of JSON, what follows a byte order mark, Python."""
    values = []
    for each in {text, text.lstrip("\ufeff"), *text.splitlines(), lenient(text)}:
        with contextlib.suppress(ValueError, RecursionError):
            values.append(json.JSONDecoder(strict=False).raw_decode(each.strip())[0])
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            values.append(ast.literal_eval(each.strip()))
    return [*values, *(inner for value in values if isinstance(value, str) for inner in parsed(value))]


def lenient(text: str) -> str:
    """The text without commas before a closing bracket."""
    return re.sub(r",\s*([\]}])", r"\1", text)


def sequence(text: str) -> list[Any]:
    """All values of JSON at the beginning of a text, with white space, commas or nothing between them."""
    values, text, at = [], lenient(text), 0
    with contextlib.suppress(ValueError, RecursionError):
        while True:
            while text[at : at + 1] in (" ", "\r", "\n", "\t", ","):
                at += 1
            value, at = json.JSONDecoder(strict=False).raw_decode(text, at)
            values.append(value)
    return values


def found(texts: list[str], values: list[Any], name: str) -> list[Any]:
    """Everything that could be the value of a field: in forms, YAML and XML by its look, in values at any depth."""
    pattern = re.compile(rf"\b{name}\b[\"']?\s*[=:>]\s*[\"']?(-?[0-9.]+(?:e[0-9]+)?)", re.IGNORECASE)
    hits: list[Any] = [hit for text in texts for hit in pattern.findall(text)]
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            hits += [each for key, each in value.items() if str(key).casefold() == name]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return hits


def _leaves(value: Any) -> int:
    """How many values are in a value: in lists of lists too, and an empty list is one."""
    return max(1, sum(map(_leaves, value))) if isinstance(value, list) else 1


def _lengths(value: Any) -> float:
    """How many times as much a duration costs as 10 seconds: each value of a list is a video, at least a short one."""
    if isinstance(value, list):
        return max(1.0, sum(map(_lengths, value)))
    return max(1.0, _number(value) / 10)


def _number(value: Any) -> float:
    try:
        return sum(map(_number, value)) if isinstance(value, list) else float(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0
