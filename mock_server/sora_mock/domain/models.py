"""The models as a table: what each one can make, what that costs, and which clip shows the result.

Tables: `fixtures/models/*.toml`. A new model is a new table; no other code names a duration, a ratio or a price.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain.errors import ApiError
from sora_mock.domain.ledger import to_units

DEFAULT_MODEL: Final = "sora-2-beta-max"


class VideoOrder(msgspec.Struct, frozen=True, gc=False):
    """What a create request asked for. duration: seconds. aspect_ratio: such as `16:9`. watermark: whether it stays."""

    duration: int
    aspect_ratio: str
    watermark: bool


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model.

    name: as in the field `model` of a create request.
    kind: what it makes.
    durations: seconds that can be ordered, shortest first. default_duration: one of them.
    aspect_ratios: ratios that can be ordered. default_aspect_ratio: one of them.
    prices: units of 1/10,000 credit by duration.
    clips: name of the result's clip by aspect ratio, in which `{duration}` is filled in.
    orders: every order that is possible; all tasks refer to these values.
    """

    name: str
    kind: Literal["video"]
    durations: tuple[int, ...]
    default_duration: int
    aspect_ratios: tuple[str, ...]
    default_aspect_ratio: str
    prices: Mapping[int, int]
    clips: Mapping[str, str]
    orders: Mapping[tuple[int, str, bool], VideoOrder] = {}

    @property
    def object(self) -> str:
        """The field `object` of its tasks."""
        return f"{self.kind}.generation.task"

    def order(self, request: Mapping[str, Any]) -> VideoOrder:
        """What a valid create request asks for. The contract has filled in the defaults of most fields.

        Raises ApiError 400 for a duration or a ratio that the model does not offer.
        """
        ratio = request.get("aspect_ratio", self.default_aspect_ratio)
        order = self.orders.get((int(request["duration"]), ratio, not request["remove_watermark"]))
        if order is None:
            param = "aspect_ratio" if request["duration"] in self.durations else "duration"
            raise ApiError(400, f"{self.name} does not offer this {param}", param=param)
        return order

    def price(self, order: VideoOrder) -> int:
        """Units of 1/10,000 credit."""
        return self.prices[order.duration]

    def clip(self, order: VideoOrder) -> str:
        """The file of `fixtures/videos/` that shows the result."""
        name = self.clips[order.aspect_ratio].format(duration=order.duration)
        return f"{name}{'-watermark' if order.watermark else ''}.mp4"

    def with_prices(self, prices: Mapping[int, int]) -> "Model":
        """The model with other prices for some durations; units of 1/10,000 credit."""
        return msgspec.structs.replace(self, prices={**self.prices, **prices})


def read_model(name: str, table: Mapping[str, Any]) -> Model:
    """The model of a table. Raises ValueError that names the key and says what would be right."""
    try:
        model = msgspec.convert({**table, "name": name, "prices": _read_prices(table.get("prices"))}, Model)
        _check(model)
    except (ValueError, msgspec.ValidationError) as problem:
        raise ValueError(f"model {name}: {problem}") from None
    orders = {
        (duration, ratio, watermark): VideoOrder(duration, ratio, watermark)
        for duration in model.durations
        for ratio in model.aspect_ratios
        for watermark in (False, True)
    }
    return msgspec.structs.replace(model, orders=orders)


def _read_prices(value: Any) -> dict[int, int]:
    try:
        return {int(duration): to_units(price) for duration, price in value.items()}
    except (ValueError, AttributeError) as problem:
        reason = "" if isinstance(problem, AttributeError) else f": {problem}"
        raise ValueError(f"prices: expected credits by duration, such as {{ 10 = 5.76 }}{reason}") from None


def _check(model: Model) -> None:
    """Raises ValueError for keys that do not fit together."""
    durations, ratios = ", ".join(map(str, model.durations)), ", ".join(model.aspect_ratios)
    if model.default_duration not in model.durations:
        raise ValueError(f"default_duration: expected one of the durations {durations}")
    if model.default_aspect_ratio not in model.aspect_ratios:
        raise ValueError(f"default_aspect_ratio: expected one of the aspect_ratios {ratios}")
    if set(model.prices) != set(model.durations):
        raise ValueError(f"prices: expected one for each of the durations {durations}")
    if set(model.clips) != set(model.aspect_ratios):
        raise ValueError(f"clips: expected one for each of the aspect_ratios {ratios}")


def read_models(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Model]:
    """All models by name, in the order of the tables. Raises ValueError."""
    return {name: read_model(name, table) for name, table in tables.items()}
