"""The most that an eager service could charge for a request whose price is not certain.

A service may honour more than its contract: other models, numbers of videos, seconds, lists of orders, other encodings.
A request is sent only where the sum of all that it names is known.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Final

from sora_mock.guard.request import NOT_PLAIN, GuardedRequest

_ROUTES: Final = re.compile(r"/v1/(?:videos?/generations/?|credits|tasks/[A-Za-z0-9_-]*)")
"""Paths to which such a request may go. Other paths may create things of unknown prices."""
_INVENTED: Final = re.compile(r"(?:contract[-_]|no_such_)[a-z0-9_-]*", re.IGNORECASE)
"""Names that no service uses, so that a field or a model of this name changes no price."""
_INVENTED_MODEL: Final = "sora-9"
"""The unknown model of the contract suite."""
_WORD: Final = re.compile(r"[\w.-]+", re.ASCII)
_TEXTS: Final = ("prompt", "image_urls", "callback_url")
"""Fields whose texts are not names."""
_SEPARATOR: Final = re.compile(r"[{\[\n,;|]")
"""What could begin another value inside a text."""
_IPV6_HOST: Final = re.compile(r"(?<=//)\[[0-9a-f.]*:[0-9a-f.:]*\]", re.IGNORECASE)
"""The host of a URL, whose bracket begins no list."""
_SHORT_VALUE: Final = re.compile(r"(?:[0-9]{1,5}[:x][0-9]{1,5}|true|false)?", re.ASCII)
"""What an aspect ratio and `remove_watermark` may be as a text."""
_TOKEN: Final = re.compile(r"""["'][^"'{\[,&;]*["']|[\w.-]+|[^\w\s})\]]""", re.ASCII)
"""A string, a word or a separator in a body that is not plain JSON."""
_MOST_TOKENS: Final = 10_000
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
        if request.unclear_header is not None:
            raise Unbounded(f"its header {request.unclear_header} holds more than one value; send one key in it")
        if not request.may_be_json:
            raise Unbounded("a service could read its body in another way; send Content-Type: application/json")
        if not _ROUTES.fullmatch(request.path):
            raise Unbounded(f"it is not known what {request.path[:80]} creates")
        value = request.plain_json()
        if value is NOT_PLAIN:
            return units * self._orders_in_text(request.body)
        try:
            return max(units, self._body(value, units))
        except RecursionError:
            raise Unbounded("its body is too deep") from None

    def _body(self, value: Any, units: int) -> int:
        """The most for a JSON body: each value in it that is no list is an order, and an empty list is one too."""
        if isinstance(value, dict):
            return self._order(value, units)
        if isinstance(value, list):
            return max(units, sum(self._body(each, units) for each in value))
        if isinstance(value, str):
            self._check_model(value)
        return units

    def _order(self, order: dict[str, Any], units: int) -> int:
        """The most for one object: a video for each value of each field, by the second for each duration."""
        copies, each_duration = 1, units
        for name, value in order.items():
            if name not in self.fields and not _INVENTED.fullmatch(name):
                raise Unbounded(f"a service could charge for {name[:60]!r}, which is not a field of the contract")
            found = _leaves(name, value)
            if name == "duration":
                each_duration = sum(self._by_second(_seconds(each), units) for each in found)
            else:
                copies *= sum(self._values(name, each) for each in found)
        return copies * each_duration

    def _by_second(self, seconds: float, units: int) -> int:
        """The most for one duration: at least a plain order, also where the service replaces it with its default."""
        return max(units, int(seconds * self.highest / self.seconds) + 1) if seconds > self.seconds else units

    def _values(self, field: str, value: Any) -> int:
        """How many values a service could read from one value of a field. Raises Unbounded."""
        if not isinstance(value, str):
            return 1
        self._check_string(field, value)
        return 1 + len(_SEPARATOR.findall(_IPV6_HOST.sub("", value))) if field in _TEXTS else 1

    def _check_string(self, field: str, text: str) -> None:
        """Raises Unbounded for a text with which a service could choose something more expensive."""
        if field in _TEXTS:
            if "model" in text.casefold():
                raise Unbounded(f"its {field} names a model")
        elif field in ("aspect_ratio", "remove_watermark"):
            if not _SHORT_VALUE.fullmatch(text.strip()):
                raise Unbounded(f"its {field} is {text[:40]!r}, which may choose another price")
        else:
            self._check_model(text)

    def _check_model(self, text: str) -> None:
        """Raises Unbounded for a name that may be a model with another price."""
        name = text.strip().casefold()
        if name not in ("", self.model, _INVENTED_MODEL) and not _INVENTED.fullmatch(name):
            raise Unbounded(f"{text[:60]!r} may be a model with another price; an invented name begins with contract-")

    def _orders_in_text(self, body: bytes) -> int:
        """The most orders that a service could find in a body that is not plain JSON, at least 1. Raises Unbounded.

        The body may hold the field names of the contract and our model, each once, and `x`: too little for another
        price. All fields with their values are one order; each other word, string and separator is one more.
        """
        text = " ".join(body.decode("latin-1").casefold().split())
        words = [word for word in _WORD.findall(text) if word.strip("x")]
        known = {*self.fields, self.model, "nan"}
        if len(words) > len(set(words)) or not known.issuperset(words) or not (text.isascii() or len(text) <= 8):
            raise Unbounded("a service could find any order in a body that is not plain JSON")
        rest, fields = self._field.subn("", text)
        rest = rest.rstrip(" })]").removesuffix(",")
        tokens = sum(1 for _ in islice(_TOKEN.finditer(rest), _MOST_TOKENS))
        if tokens == _MOST_TOKENS:
            raise Unbounded("its body is not plain JSON and has too many parts")
        return max(1, min(fields, 1) + tokens)

    @cached_property
    def _field(self) -> re.Pattern[str]:
        """One field with its simple value, in JSON, a form or YAML."""
        names, quote = "|".join(self.fields), "[\"']?"
        value = f"(?P<quote>{quote})(?:{re.escape(self.model)}|nan|x+)?(?P=quote)"
        return re.compile(rf"[{{,&]?\s?(?P<mark>{quote})(?:{names})(?P=mark)\s?(?:$|[:=]\s?{value})")


def _leaves(field: str, value: Any) -> list[Any]:
    """The scalars inside the value of a field; an empty list or object is one too.

    Raises Unbounded for an object, because its names are not known.
    """
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(field, each)] or [None]
    if isinstance(value, dict):
        if value.keys() - ({"text"} if field == "prompt" else set()):
            raise Unbounded(f"its {field[:60]} has an object, in which a service could find any order")
        return [leaf for each in value.values() for leaf in _leaves(field, each)] or [None]
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
