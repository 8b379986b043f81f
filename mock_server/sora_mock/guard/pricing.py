"""What a raw request may cost, decided before the send: nothing, a certain price, or an uncertain one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sora_mock.domain import callback_url
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.domain.models import DEFAULT_MODEL, read_models
from sora_mock.guard.bounds import Bounds, Unbounded
from sora_mock.guard.ledger import Budget
from sora_mock.guard.request import GuardedRequest
from sora_mock.runtime.package_data import model_tables

CREATE_PATH: Final = "/v1/videos/generations"
PRICES: Final = read_models(model_tables())[DEFAULT_MODEL].prices
"""By duration, in units of 1/10,000 credit (docs/fidelity.md, prices)."""
HIGHEST: Final = max(PRICES.values())
"""What a request that the contract rejects costs, if the service accepts it as one of the contract."""
CHEAPEST: Final = min(PRICES.values())
MAX_CONTRACT_BODY: Final = 1024 * 1024
_FREE_METHODS: Final = {"GET", "HEAD"}


@dataclass(frozen=True)
class Free:
    """It costs nothing. reason: why not."""

    reason: str


@dataclass(frozen=True)
class Priced:
    """It costs `units` of 1/10,000 credit if the service accepts it. reason: why it should not, None if it should."""

    units: int
    budget: Budget = "main"
    reason: str | None = None


@dataclass(frozen=True)
class Uncertain:
    """Its price is not certain, so it goes out alone, with all that is left of the cap reserved.

    reason: why. units: what a plain order costs; `budget` must have them left. least: units that the whole cap must
    have left, the most that an eager service could charge for all that the request names.
    """

    reason: str
    units: int = HIGHEST
    budget: Budget = "rejection"
    least: int = HIGHEST


@dataclass(frozen=True)
class Unsendable:
    """Nothing bounds its price, so the guard does not send it. reason: why, and what would be right."""

    reason: str


Classification = Free | Priced | Uncertain | Unsendable


@dataclass(frozen=True)
class Pricing:
    """Classifies requests by one contract."""

    contract: Contract

    def classify(self, request: GuardedRequest) -> Classification:
        """What a request may cost. It depends on nothing but the request and the contract.

        A price is certain only for a plain JSON object of the contract: POST on the create path without a query,
        `application/json` in UTF-8, known fields only, each once.
        """
        if request.method in _FREE_METHODS and not request.body:
            return Free(f"{request.method} without a body creates nothing")
        rejected = self._rejection(request)
        if request.key == "none" and not request.query:
            if rejected is None:
                return Unsendable("a valid body is never sent without a key")
            return Free(f"there is no key to charge, and {rejected}")
        if request.key == "invalid" and len(request.body.strip()) < 2:
            return Free("it has neither the key of an account nor an order")
        is_main = rejected is None and request.key != "invalid"
        units = self._price(request) if rejected is None else HIGHEST
        doubt = rejected or self._doubt(request)
        if doubt is None:
            return Priced(units) if is_main else Priced(units, "rejection", "the service must reject its key")
        try:
            return Uncertain(doubt, units, "main" if is_main else "rejection", self._bounds.worst(request, units))
        except Unbounded as problem:
            return Unsendable(f"its price is not known ({doubt}): {problem}")

    @cached_property
    def _bounds(self) -> Bounds:
        schema = self.contract.document["components"]["schemas"]["VideoGenerationRequest"]
        return Bounds(frozenset(schema["properties"]), str(self.contract.defaults["model"]), max(PRICES), HIGHEST)

    def _price(self, request: GuardedRequest) -> int:
        return PRICES[int(self.contract.read_create_request(None, request.body)["duration"])]

    def _rejection(self, request: GuardedRequest) -> str | None:
        """Why the service should reject this request with any key, None if the contract accepts it."""
        if request.method != "POST" or request.path != CREATE_PATH:
            return f"{request.method} {request.path[:80]} is not an operation"
        if len(request.body) > MAX_CONTRACT_BODY:
            return "the body is larger than 1 MiB"
        if request.is_encoded:
            return "the body is encoded"
        content_type = next(iter(request.values(b"content-type")), None)
        try:
            order = self.contract.read_create_request(content_type, request.body)
            for value in request.values(b"idempotency-key"):
                self.contract.check_idempotency_key(value.decode("latin-1"))
        except ApiError as error:
            return error.message or "the contract rejects it"
        url = order.get("callback_url")
        return None if url is None else callback_url.rejection(url)

    def _doubt(self, request: GuardedRequest) -> str | None:
        """Why the price of a request that the contract accepts is not certain, None if it is."""
        if request.query:
            return "it has a query"
        if request.unclear_header is not None:
            return f"its header {request.unclear_header} holds more than one value"
        if not request.may_be_json or not request.values(b"content-type"):
            return "its content type is not application/json in UTF-8"
        order = request.plain_json()
        if not isinstance(order, dict):
            return "its body has a name twice"
        unknown = sorted(order.keys() - self._bounds.fields)
        if unknown:
            return f"the contract has no field {unknown[0][:60]!r}"
        if type(order.get("duration", 10)) is not int:
            return "its duration is not written as a whole number"
        return None
