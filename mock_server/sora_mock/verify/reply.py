"""An answer of the server under test, with the checks that most rules make of it; and how a report shows it."""

import json
from dataclasses import dataclass
from typing import Any

from sora_mock.verify.rule import Broken, equal, true


class Fields(dict[str, Any]):
    """A JSON object of an answer: a field that is not there breaks the rule that reads it."""

    def __missing__(self, name: str) -> Any:
        raise Broken(f"field {name}", f"an object without it: {dict(self)!r}", "to be there")


@dataclass
class TargetResponse:
    """An answer: `headers` by lower-case name, `body` as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value, whose objects raise Broken for a field that is not there. Raises Broken."""
        try:
            return json.loads(self.body, object_hook=Fields)
        except ValueError:
            raise Broken("body", self.body[:200].decode("utf-8", "replace"), "JSON") from None

    def must_be(self, status: int) -> Any:
        """The JSON value, if the status is this one. Raises Broken."""
        equal("status", self.status, status)
        return self.json()

    def error(
        self, status: int, code: str, kind: str | None = None, message: str | None = None, param: str | None = None
    ) -> Any:
        """The envelope's content, checked; what is None is not looked at. Raises Broken."""
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
    """A request and what came of it, without keys."""

    request: str
    reply: str


def reply_text(reply: TargetResponse) -> str:
    """An answer as a report shows it."""
    lines = [str(reply.status), *(f"{name}: {value}" for name, value in reply.headers.items())]
    return "\n".join([*lines, "", shown_text(reply.body)]).rstrip()


def plain(text: str) -> str:
    """Nothing in it that a terminal would obey: an answer may hold anything."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def shown_text(data: bytes) -> str:
    """The beginning of a body as text."""
    shown = data[:2000].decode("utf-8", "backslashreplace")
    return shown if len(data) <= 2000 else f"{shown}... ({len(data)} bytes)"
