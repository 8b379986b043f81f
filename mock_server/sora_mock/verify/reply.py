"""A response of the server under test, with checks that most rules need, and its text for reports."""

import json
from dataclasses import dataclass
from typing import Any

from sora_mock.verify.rule import Broken, equal, true


class Fields(dict[str, Any]):
    """A JSON object of a response. A missing field fails the rule that reads it."""

    def __missing__(self, name: str) -> Any:
        raise Broken(f"field {name}", f"an object without it: {dict(self)!r}", "the field")


@dataclass
class TargetResponse:
    """A response: `headers` by lower-case name, `body` as received."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value, whose objects raise Broken for a missing field. Raises Broken if it is not JSON."""
        try:
            return json.loads(self.body, object_hook=Fields)
        except ValueError:
            raise Broken("body", self.body[:200].decode("utf-8", "replace"), "JSON") from None

    def must_be(self, status: int) -> Any:
        """The JSON value of a response with this status. Raises Broken."""
        equal("status", self.status, status)
        return self.json()

    def error(
        self, status: int, code: str, kind: str | None = None, message: str | None = None, param: str | None = None
    ) -> Any:
        """Checks the error envelope and returns its content. An argument that is None is not checked. Raises Broken."""
        equal("status", self.status, status)
        true("content type", self.headers.get("content-type", "").startswith("application/json"), self.headers, "JSON")
        body = self.json()
        true("envelope", isinstance(body, dict) and list(body) == ["error"], body, '{"error": {...}}')
        error = body["error"]
        true("envelope", isinstance(error, dict), error, "an object")
        for name, wanted in (("code", code), ("type", kind), ("message", message), ("param", param)):
            if wanted is not None:
                equal(f"error.{name}", error.get(name), wanted)
        for name in ("code", "message", "type"):
            true(f"error.{name}", isinstance(error.get(name), str) and error[name], error, "a text")
        return error


@dataclass
class ExchangeText:
    """A request and its response as text without keys."""

    request: str
    reply: str


def reply_text(reply: TargetResponse) -> str:
    """A response as text for a report."""
    lines = [str(reply.status), *(f"{name}: {value}" for name, value in reply.headers.items())]
    return "\n".join([*lines, "", shown_text(reply.body)]).rstrip()


def plain(text: str) -> str:
    """The text without control characters: a response may hold any, and a terminal would obey them."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def shown_text(data: bytes) -> str:
    """The beginning of a body as text."""
    shown = data[:2000].decode("utf-8", "backslashreplace")
    return shown if len(data) <= 2000 else f"{shown}... ({len(data)} bytes)"
