"""Reads responses strictly: what the contract does not allow is found here, so that each test can rely on it."""

import json
from functools import cache
from typing import Any, NamedTuple, NoReturn

import httpx
import jsonschema_rs
import pytest

from sora_mock.runtime.package_data import contract_document


class Error(NamedTuple):
    """The content of the error envelope, with the status of its response. message, param: None where it has none.

    Compare the beginning where the end does not matter: `error_of(response)[:2] == (400, "invalid_request")`.
    """

    status: int
    code: str
    type: str
    message: str
    param: str | None


class Object(dict[str, Any]):
    """A JSON object. A missing field fails the test that reads it."""

    def __missing__(self, name: str) -> NoReturn:
        pytest.fail(f"the response has no field {name!r}: {dict(self)!r}")


class _Fraction(float):
    """A number that was written with a fraction or an exponent."""


def json_of(response: httpx.Response) -> Any:
    """The JSON value of a body. Fails the test for a body that a strict parser rejects.

    Such a body is not UTF-8 or has a BOM, a name twice in one object, NaN, Infinity, or half of a surrogate pair.
    """
    return read_json(response.content)


def read_json(body: bytes) -> Any:
    """As `json_of`, of bytes."""
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_Fraction
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as problem:
        pytest.fail(f"the body is not strict JSON: {problem}: {body[:300]!r}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> Object:
    found = Object(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name occurs twice: {[name for name, _ in pairs]}")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    components = contract_document()["components"]
    document = {"$ref": f"#/components/schemas/{schema}", "components": components}
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


def problems(schema: str, value: Any) -> list[str]:
    """Where `value` is not what the contract's schema of that name says: `assert problems("Task", task) == []`."""
    # JSON Schema accepts 10.0 as an integer, typed clients do not: the second value has 10.5 there, which fails
    checked = (_plain(value, 0.0), _plain(value, 0.5))
    found = [error for each in checked for error in _validator(schema).iter_errors(each)]
    return list(dict.fromkeys(f"{'/'.join(map(str, each.instance_path))}: {each.message}" for each in found))


def _plain(value: Any, added: float) -> Any:
    """The value with plain numbers; `added` is added to each whole number that was written with a fraction."""
    if isinstance(value, dict):
        return {name: _plain(each, added) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, added) for each in value]
    if isinstance(value, _Fraction):
        return float(value) + (added if value.is_integer() else 0.0)
    return value


def error_of(response: httpx.Response) -> Error:
    """The error of a response. Fails the test unless the body is the documented envelope."""
    kind = response.headers.get("content-type", "")
    if not kind.startswith("application/json"):
        pytest.fail(f"{response.status_code} is not JSON but {kind!r}: {response.text[:300]}")
    body = json_of(response)
    found = problems("ErrorResponse", body)
    if found or list(body) != ["error"]:
        pytest.fail(f"{response.status_code} has not the documented envelope {{'error': {{...}}}}: {found} {body!r}")
    error = body["error"]
    for name in ("code", "type", "message"):
        if not isinstance(error.get(name), str) or not error[name]:
            pytest.fail(f"{response.status_code}: error.{name} is not a text: {error!r}")
    return Error(response.status_code, error["code"], error["type"], error["message"], error.get("param"))
