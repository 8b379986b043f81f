"""The most that an eager service could charge for a request whose price is not certain.

A service may honour more than its contract: other models, numbers of videos, seconds, lists of orders, other encodings.
A request is sent only where the sum of all that it names is known.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from sora_mock.guard.request import NOT_PLAIN, GuardedRequest

_ROUTES: Final = re.compile(r"/v1/(?:videos?/generations/?|credits|tasks/[A-Za-z0-9_-]*)")
"""Paths to which such a request may go. Other paths may create things of unknown prices."""
_INVENTED: Final = re.compile(r"(?:contract[-_]|no_such_)[a-z0-9_-]*", re.IGNORECASE)
"""Names that no service uses, so that a field or a model of this name changes no price."""
_INVENTED_MODEL: Final = "sora-9"
"""The unknown model of the contract suite."""
_WORD: Final = re.compile(r"[\w.-]+", re.ASCII)
_MOST_SECONDS: Final = 1e9


class Unbounded(Exception):
    """A service could read an order of any price from the request. The text says where, and what would be right."""


@dataclass(frozen=True)
class Bounds:
    """What bounds a price. fields: the names of the contract. model: ours. seconds: the longest video of the contract.
    highest: its price in units."""

    fields: frozenset[str]
    model: str
    seconds: int
    highest: int

    def worst(self, request: GuardedRequest, units: int) -> int:
        """The most units that an eager service could charge. units: the price of a plain order. Raises Unbounded."""
        if request.query:
            raise Unbounded("its query could name another order; leave it out")
        if request.is_encoded:
            raise Unbounded("its encoded body could hold any order; send it without Content-Encoding")
        if request.model_header is not None:
            raise Unbounded(f"its header {request.model_header} could name another model; leave it out")
        if not request.may_be_json:
            raise Unbounded("a service could read its body in another way; send Content-Type: application/json")
        if not _ROUTES.fullmatch(request.path):
            raise Unbounded(f"it is not known what {request.path[:80]} creates")
        value = request.plain_json()
        if value is NOT_PLAIN:
            self._check_text(request.body)
            return units
        try:
            return max(units, self._body(value, units))
        except RecursionError:
            raise Unbounded("its body is too deep") from None

    def _body(self, value: Any, units: int) -> int:
        """The most for a JSON body: each object in it is an order."""
        if isinstance(value, dict):
            return self._order(value, units)
        if isinstance(value, list):
            return sum(self._body(each, units) for each in value)
        if isinstance(value, str) and len(value) > 3:
            self._check_model(value)
        return 0

    def _order(self, order: dict[str, Any], units: int) -> int:
        """The most for one object: a video for each value of each field, by the second."""
        copies, seconds = 1, 0.0
        for name, value in order.items():
            if name not in self.fields and not _INVENTED.fullmatch(name):
                raise Unbounded(f"a service could charge for {name[:60]!r}, which is not a field of the contract")
            found = _leaves(name, value)
            if name == "duration":
                seconds = sum(map(_seconds, found))
                continue
            copies *= max(1, len(found))
            for text in found:
                if isinstance(text, str):
                    self._check_string(name, text)
        by_second = int(seconds * self.highest / self.seconds) + 1 if seconds > self.seconds else 0
        return copies * max(units, by_second)

    def _check_string(self, field: str, text: str) -> None:
        """Raises Unbounded for a text with which a service could choose something more expensive."""
        if field in ("prompt", "image_urls", "callback_url"):
            if "model" in text.casefold():
                raise Unbounded(f"its {field} names a model")
        elif field in ("aspect_ratio", "remove_watermark"):
            if len(text) > 16:
                raise Unbounded(f"its {field} is longer than 16 characters")
        else:
            self._check_model(text)

    def _check_model(self, text: str) -> None:
        """Raises Unbounded for a name that may be a model with another price."""
        name = text.strip().casefold()
        if len(name) >= 3 and name not in (self.model, _INVENTED_MODEL) and not _INVENTED.fullmatch(name):
            raise Unbounded(f"{text[:60]!r} may be a model with another price; an invented name begins with contract-")

    def _check_text(self, body: bytes) -> None:
        """Raises Unbounded for a body that is not plain JSON and in which a service could find an order of any price.

        It may hold the field names of the contract and our model, each once, and `x`: too little for another order.
        """
        text = body.decode("latin-1").strip().casefold()
        words = [word for word in _WORD.findall(text) if word.strip("x")]
        known = {*self.fields, self.model, "nan"}
        if len(words) > len(set(words)) or not known.issuperset(words) or not (text.isascii() or len(text) <= 8):
            raise Unbounded("a service could find any order in a body that is not plain JSON")


def _leaves(field: str, value: Any) -> list[Any]:
    """The scalars inside the value of a field. Raises Unbounded for an object, because its names are not known."""
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(field, each)]
    if isinstance(value, dict):
        if value.keys() - ({"text"} if field == "prompt" else set()):
            raise Unbounded(f"its {field[:60]} has an object, in which a service could find any order")
        return [leaf for each in value.values() for leaf in _leaves(field, each)]
    return [value]


def _seconds(value: Any) -> float:
    """The seconds that a service could read from a value of `duration`. Raises Unbounded."""
    try:
        seconds = float(value or 0)
    except (ValueError, OverflowError):
        raise Unbounded(f"its duration is {str(value)[:40]!r}") from None
    if not -_MOST_SECONDS <= seconds <= _MOST_SECONDS:
        raise Unbounded("its duration is beyond any limit")
    return max(0.0, seconds)
