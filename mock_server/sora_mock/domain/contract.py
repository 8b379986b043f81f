"""The published contract as the server uses it: which requests are accepted, and the error table of each operation."""

from functools import lru_cache
from typing import Any, Final, cast

import jsonschema_rs
import msgspec

from sora_mock.domain.errors import ApiError, Envelope, envelope
from sora_mock.domain.text import redacted

CREATE: Final = "createVideoGeneration"
QUERY: Final = "getTask"
CREDITS: Final = "getCredits"

MAX_DEPTH: Final = 64
"""Levels of nesting that a request body may have (docs/reference.md, Bad bodies)."""


class Contract:
    """One OpenAPI document (`openapi/openapi.json`), compiled once.

    document: the parsed file.
    errors: example error of each operation id and HTTP status from 400 on.
    defaults: default of each field of a create request that has one.
    durations: seconds that a video may have.
    failure_messages: message of each failure code, documented or seen.

    Raises KeyError where the document lacks a part that the server needs.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        operations = {
            operation["operationId"]: operation
            for methods in document["paths"].values()
            for operation in methods.values()
            if isinstance(operation, dict)
        }
        self.errors: dict[tuple[str, int], dict[str, Any]] = {
            (name, int(status)): response["content"]["application/json"]["example"]["error"]
            for name, operation in operations.items()
            for status, response in operation["responses"].items()
            if int(status) >= 400
        }
        components = _without_scheme(document["components"])
        # each validator gets `components`, because the schemas refer to each other by their place in the document
        self._create_request = _validator({"$ref": "#/components/schemas/VideoGenerationRequest"}, components)
        self._task_id = _validator(_parameter(operations[QUERY], "task_id"), components)
        self._idempotency_key = _validator(_parameter(operations[CREATE], "Idempotency-Key"), components)
        properties = components["schemas"]["VideoGenerationRequest"]["properties"]
        self.defaults: dict[str, Any] = {
            name: schema["default"] for name, schema in properties.items() if "default" in schema
        }
        self.durations: list[int] = properties["duration"]["enum"]
        codes = components["schemas"]["TaskError"]["properties"]["code"]
        documented = {code: row["message"] for code, row in codes["x-failure-codes"].items()}
        seen = {code: code.replace("_", " ") for code in codes["x-seen-codes"]}
        self.failure_messages: dict[str, str] = {**documented, **seen}

    def error_body(self, operation: str | None, error: ApiError) -> Envelope:
        """The error body of a response. operation: the operation id; None for a request of no operation."""
        return envelope(error, self.errors.get((operation or "", error.status)))

    def read_create_request(self, content_type: bytes | None, body: bytes) -> dict[str, Any]:
        """The body of a create request, with defaults filled in.

        content_type: the Content-Type header; None where it is missing.
        Raises ApiError 400 that names the first invalid field.
        """
        request = decode(content_type, body)
        if not self._create_request.is_valid(request):
            raise _first_error(self._create_request, request)
        filled: dict[str, Any] = self.defaults | request
        return filled

    def check_task_id(self, task_id: str) -> None:
        """Raises ApiError 400 `invalid_task_id` for a wrong prefix. Source: published contract, `task_id`."""
        if not self._task_id.is_valid(task_id):
            raise ApiError(400)

    def check_idempotency_key(self, key: str) -> None:
        """Raises ApiError 400 for a key that is not 16 to 96 permitted characters (docs/fidelity.md)."""
        if not self._idempotency_key.is_valid(key):
            message = "Idempotency-Key must be 16 to 96 characters of A-Z a-z 0-9 . _ -"
            raise ApiError(400, message, param="Idempotency-Key")


def _without_scheme(components: dict[str, Any]) -> dict[str, Any]:
    """The components without the pattern of `callback_url`.

    `domain/callback_url.py` checks the scheme with a message of its own, and the user can allow others.
    """
    schemas = components["schemas"]
    order = schemas["VideoGenerationRequest"]
    url = {name: value for name, value in order["properties"]["callback_url"].items() if name != "pattern"}
    properties = {**order["properties"], "callback_url": url}
    return {**components, "schemas": {**schemas, "VideoGenerationRequest": {**order, "properties": properties}}}


def _validator(schema: dict[str, Any], components: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    # jsonschema-rs ignores formats by default
    return jsonschema_rs.Draft202012Validator({**schema, "components": components}, validate_formats=True)


def _parameter(operation: dict[str, Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = next(p["schema"] for p in operation["parameters"] if p["name"] == name)
    return schema


def decode(content_type: bytes | None, body: bytes) -> Any:
    """The JSON value of a request body. Raises ApiError 400 with the reason (docs/reference.md, Bad bodies)."""
    if content_type is not None and not _is_json(content_type):
        shown = content_type[:80].decode("latin-1")
        raise ApiError(400, f"Content-Type must be application/json, got {shown}", param="Content-Type")
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        reason = "it is empty" if not body.strip() else _readable(problem)
        raise ApiError(400, f"The request body is not valid JSON in UTF-8: {reason}") from None
    # counting brackets is cheap; only a body with so many can be so deep
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    return value


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    media_type = content_type.split(b";", 1)[0].strip().lower()
    return media_type == b"application/json" or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )


def _readable(problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return "it is not valid UTF-8"
    reason = str(problem).removeprefix("JSON is malformed: ")
    return "it ends too early, or has half of a surrogate pair" if reason == "Input data was truncated" else reason


def _too_deep() -> ApiError:
    return ApiError(400, f"The request body is nested more than {MAX_DEPTH} levels deep")


def _depth(value: Any) -> int:
    """Levels of arrays and objects, at most `MAX_DEPTH` + 1. Not recursive, because a body may be very deep."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        containers = [item for item in level if isinstance(item, (dict, list))]
        depth += bool(containers)
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _first_error(validator: jsonschema_rs.Draft202012Validator, request: Any) -> ApiError:
    error = next(iter(validator.iter_errors(request)))
    path = list(error.instance_path)
    if error.kind.name == "required":
        path.append(error.kind.as_dict()["property"])
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    subject = param or "The request body"
    return ApiError(400, f"{subject} {_expected(error)}", param=param or None)


def _expected(error: jsonschema_rs.ValidationError) -> str:
    """What is expected, and the value that was sent where it is short."""
    rule, found = error.kind.as_dict(), cast(Any, error.instance)
    match error.kind.name:
        case "required":
            return "is required"
        case "type":
            return f"must be of type {' or '.join(rule['types'])}, got {_shown(found)}"
        case "enum":
            return f"must be one of {', '.join(str(option) for option in rule['options'])}, got {_shown(found)}"
        case "maxLength":
            return f"must have at most {rule['limit']} characters, got {len(found)}"
        case "maxItems":
            return f"must have at most {rule['limit']} item(s), got {len(found)}"
        case "format":
            return f"must be a {rule['format']}, got {_shown(found)}"
        case _:
            return f"is not valid: {error.message[:200]}"


def _shown(value: Any) -> str:
    # redacted before it is cut: a password is recognized by the @ behind it, and a URL has at most 2048 characters
    text = redacted(msgspec.json.encode(value).decode()[:4096])
    return text if len(text) <= 80 else text[:80] + "..."
