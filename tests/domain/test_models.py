"""The table of models: what is read from it, that each mistake in it names its key, and the clips that it names."""

from itertools import product
from typing import Any

import pytest

from sora_mock.domain.models import DEFAULT_MODEL, Model, VideoOrder, read_model, read_models
from sora_mock.runtime.package_data import contract_document, model_tables, video_bytes

TABLE: dict[str, Any] = {
    "kind": "video",
    "durations": [4, 8],
    "default_duration": 8,
    "aspect_ratios": ["16:9", "1:1"],
    "default_aspect_ratio": "1:1",
    "prices": {"4": 1, "8": 2.5},
    "clips": {"16:9": "landscape-{duration}s", "1:1": "square-{duration}s"},
}
SHIPPED = read_models(model_tables())


def test_a_table_is_read_with_prices_in_units() -> None:
    model = read_model("small", TABLE)
    assert (model.name, model.kind, model.object) == ("small", "video", "video.generation.task")
    assert (model.durations, model.default_duration) == ((4, 8), 8)
    assert (model.aspect_ratios, model.default_aspect_ratio) == (("16:9", "1:1"), "1:1")
    assert model.prices == {4: 10_000, 8: 25_000}


def test_all_tables_are_read_in_their_order() -> None:
    models = read_models({"b": TABLE, "a": TABLE})
    assert [(name, model.name) for name, model in models.items()] == [("b", "b"), ("a", "a")]


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in TABLE.items() if name != key}


@pytest.mark.parametrize("key", sorted(TABLE))
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"^model small: .*{key}"):
        read_model("small", without(key))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kind", "audio", "kind"),
        ("durations", "10", "durations"),
        ("durations", [4, "8"], r"durations\[1\]"),
        ("default_duration", "8", "default_duration"),
        ("default_duration", 8.5, "default_duration"),
        ("aspect_ratios", [1], r"aspect_ratios\[0\]"),
        ("default_aspect_ratio", 1, "default_aspect_ratio"),
        ("prices", {"4": "free", "8": 1}, "prices"),
        ("prices", {"4": 1, "8": -1}, "prices"),
        ("prices", {"4": 1, "8": 0.00001}, "prices"),
        ("prices", {"four": 1, "8": 1}, "prices"),
        ("prices", 5, "prices"),
        ("prices", {"4": 1}, "prices: expected one for each of the durations 4, 8"),
        ("prices", {"4": 1, "8": 1, "12": 1}, "prices: expected one for each of the durations 4, 8"),
        ("default_duration", 12, "default_duration: expected one of the durations 4, 8"),
        ("default_aspect_ratio", "9:16", "default_aspect_ratio: expected one of the aspect_ratios 16:9, 1:1"),
        ("clips", {"16:9": 1}, "clips"),
        ("clips", {"16:9": "landscape"}, "clips: expected one for each of the aspect_ratios 16:9, 1:1"),
        ("clips", ["square"], "clips"),
        ("colour", "red", "colour"),
    ],
)
def test_a_wrong_key_is_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^model small: .*{said}"):
        read_model("small", {**TABLE, key: value})


def test_an_error_names_the_model() -> None:
    with pytest.raises(ValueError, match=r"^model broken: "):
        read_models({"small": TABLE, "broken": without("kind")})


@pytest.mark.parametrize(
    ("request_fields", "order"),
    [
        ({"duration": 4, "aspect_ratio": "16:9", "remove_watermark": True}, VideoOrder(4, "16:9", False)),
        ({"duration": 8.0, "aspect_ratio": "1:1", "remove_watermark": False}, VideoOrder(8, "1:1", True)),
        ({"duration": 4, "remove_watermark": True}, VideoOrder(4, "1:1", False)),
    ],
)
def test_the_order_is_what_the_request_asks_for(request_fields: dict[str, Any], order: VideoOrder) -> None:
    assert read_model("small", TABLE).order(request_fields) == order


def test_equal_requests_have_one_order() -> None:
    model, request = read_model("small", TABLE), {"duration": 4, "remove_watermark": True}
    assert model.order(request) is model.order({**request, "aspect_ratio": "1:1"})


def test_the_user_changes_some_prices_and_the_others_stay() -> None:
    model = read_model("small", TABLE)
    changed = model.with_prices({8: 70_000})
    assert changed.prices == {4: 10_000, 8: 70_000}
    assert changed.price(VideoOrder(8, "1:1", False)) == 70_000
    assert changed.orders is model.orders
    assert model.price(VideoOrder(8, "1:1", False)) == 25_000
    assert model.with_prices({}) == model


COMBINATIONS = [
    (name, order)
    for name, model in SHIPPED.items()
    for order in product(model.durations, model.aspect_ratios, (False, True))
]


@pytest.mark.parametrize(("name", "asked"), COMBINATIONS, ids=str)
def test_every_order_of_a_shipped_model_has_a_price_and_a_clip(name: str, asked: tuple[int, str, bool]) -> None:
    model, (duration, ratio, watermark) = SHIPPED[name], asked
    order = model.order({"duration": duration, "aspect_ratio": ratio, "remove_watermark": not watermark})
    assert order == VideoOrder(*asked)
    assert model.price(order) > 0
    assert video_bytes(model.clip(order))[4:8] == b"ftyp"


@pytest.mark.parametrize("name", SHIPPED)
def test_no_two_orders_of_a_shipped_model_have_the_same_clip(name: str) -> None:
    model: Model = SHIPPED[name]
    assert len({model.clip(order) for order in model.orders.values()}) == len(model.orders)
    assert model.default_duration in model.durations
    assert model.default_aspect_ratio in model.aspect_ratios


def test_the_default_model_makes_what_the_contract_publishes() -> None:
    schema = contract_document()["components"]["schemas"]["VideoGenerationRequest"]["properties"]
    model = SHIPPED[DEFAULT_MODEL]
    assert schema["model"]["enum"] == [DEFAULT_MODEL]
    assert schema["duration"]["enum"] == list(model.durations)
    assert schema["duration"]["default"] == model.default_duration
    assert schema["aspect_ratio"]["enum"] == list(model.aspect_ratios)
    assert model.prices == {10: 57_600, 15: 86_400}
