"""What follows from the declaration of the settings: names, defaults, texts, and that `Options` agrees with it."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from msgspec import Meta

from sora_mock.config.loading import load, read_table
from sora_mock.config.options import Options, with_options
from sora_mock.config.setting import Setting, allowed, convert
from sora_mock.config.settings import FLAGS, SETTINGS, SettingError, Settings

NO_DEFAULT_VALUE: tuple[Any, ...] = (None, {}, ())
settings = pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.key)
flags = pytest.mark.parametrize("setting", FLAGS, ids=lambda each: each.key)


@settings
def test_a_setting_is_described_in_one_line(setting: Setting) -> None:
    assert setting.description.isprintable()
    assert len(setting.description) > 10
    assert setting.allowed
    assert setting.default


@flags
def test_the_default_that_users_read_is_the_one_in_force(setting: Setting) -> None:
    kept = getattr(Settings(), setting.field)
    if kept not in NO_DEFAULT_VALUE:
        assert setting.convert(setting.default) == kept


def test_every_field_is_a_setting_under_a_name_of_its_own() -> None:
    assert [each.field for each in SETTINGS] == list(Settings.__struct_fields__)
    assert len({each.key for each in SETTINGS}) == len(SETTINGS)
    assert len({each.variable for each in FLAGS}) == len(FLAGS)


@flags
def test_no_setting_can_be_given_as_none(setting: Setting) -> None:
    with pytest.raises(ValueError, match="expected"):
        setting.convert(None)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


# --- Options ---


def plain(kind: Any) -> Any:
    """The type without bounds, descriptions and None."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        (only,) = {plain(each) for each in get_args(kind) if each is not NoneType}
        return only
    return kind


def test_options_have_the_names_of_the_settings() -> None:
    assert set(get_type_hints(Options)) == {each.option for each in SETTINGS}


@pytest.mark.parametrize(
    "setting",
    [each for each in FLAGS if each.read is None or each.key == "no-mock-headers"],
    ids=lambda each: each.key,
)
def test_options_have_the_types_of_the_settings(setting: Setting) -> None:
    assert get_type_hints(Options)[setting.option] == plain(setting.kind)


RISING = "expected a range that rises, such as 60..180"
EXAMPLES: dict[str, list[Any]] = {
    "generation_time": [5.5, "60..180", (60.0, 180.0)],
    "credits": [5.76, "unlimited"],
    "rate_limit": ["60/minute"],
    "history_size": [2**30, "1GiB"],
    "callback_route": [{"https://hooks.example.com": "http://127.0.0.1:9000"}],
    "allow_callback": [["http://127.0.0.1:9000"], ("http://127.0.0.1:9000",)],
    "public_url": ["http://localhost:4010"],
    "cors": ["http://localhost:3000"],
    "keys": [["sk-a"], ("sk-a",)],
    "prices": [{10: 5.5}],
    "service": [{"queue_share": 0.5}],
    "scenarios": [{"flaky": {"extends": "failed"}}],
    "moderation": [{"strict": True, "rules": []}],
}
"""Values of each type that `Options` names, where it is not the type of the setting."""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in EXAMPLES.items() for value in values])
def test_a_value_of_each_type_of_options_is_accepted(name: str, value: Any) -> None:
    options: Any = {name: value}
    assert with_options(Settings(), options) != Settings()


def test_the_examples_are_of_all_options_with_a_type_of_their_own() -> None:
    # a file of certificates is tested with the callbacks that use it
    read = {each.option for each in SETTINGS if each.read is not None} - {"no_mock_headers", "callback_ca"}
    assert read == EXAMPLES.keys()


# --- what a value may be, in words ---


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bool, "true or false"),
        (Annotated[int, Meta(ge=0, le=65535)], "a whole number from 0 to 65535"),
        (Annotated[Annotated[int, Meta(ge=1, le=9)] | None, Meta(description="x")], "a whole number from 1 to 9"),
        (Annotated[float, Meta(ge=0.001, le=1e6)], "a number from 0.001 to 1000000"),
        (Literal["a", "b", "c"], "a, b or c"),
        (bool | Literal["date"], "true, false or date"),
        (str, "a text"),
    ],
    ids=str,
)
def test_what_is_allowed_follows_from_the_type(kind: Any, words: str) -> None:
    assert allowed(kind) == words
    with pytest.raises(ValueError, match=f"^expected {words}$"):
        convert([], kind)


class Fraction(float):
    """A subclass, as those of numpy."""


def test_a_subclass_of_float_is_a_number() -> None:
    assert convert(Fraction(0.5), Annotated[float, Meta(ge=0, le=1)]) == 0.5


@pytest.mark.parametrize("word", ["yes", "On", "TRUE", "1", 1, True])
def test_words_of_true(word: Any) -> None:
    assert convert(word, bool) is True


@pytest.mark.parametrize("word", ["no", "Off", "FALSE", "0", 0, False])
def test_words_of_false(word: Any) -> None:
    assert convert(word, bool) is False


# --- messages ---


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"port": "x"}, "bad value 'x' for port: expected a whole number from 0 to 65535"),
        ({"speed": "inf"}, "bad value 'inf' for speed: expected a number from 0.001 to 1000000"),
        ({"log_format": "xml"}, "bad value 'xml' for log_format: expected json or text"),
        ({"quiet": "perhaps"}, "bad value 'perhaps' for quiet: expected true or false"),
        ({"host": 5}, "bad value 5 for host: expected an address or a name"),
        (
            {"generation-time": "9..1"},
            "bad value '9..1' for generation-time: expected a range that rises, such as 60..180",
        ),
        ({"service": {"queue-share": 2}}, "bad value 2 for service.queue-share: expected a number from 0 to 1"),
        ({"service": {"retry_after": "x"}}, "bad value 'x' for service.retry_after: expected true, false or date"),
        ({"service": {"share": 2}}, "bad value for service: unknown setting share; did you mean queue_share?"),
        ({"prices": {"10": "x"}}, "bad value 'x' for prices.10: not a number of credits"),
        ({"moderation": {"strict": 5}}, "bad value for moderation.strict: expected true or false"),
        ({"moderation": {"rule": []}}, "bad value for moderation: unknown setting rule; known are rules and strict"),
        ({"moderation": 5}, "bad value for moderation: expected a table"),
        ({"moderaton": {}}, "unknown setting moderaton; did you mean moderation or moderation-rate?"),
    ],
    ids=str,
)
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as problem:
        read_table(table)
    assert str(problem.value) == message


def test_a_bad_part_of_a_table_names_the_file_too() -> None:
    with pytest.raises(SettingError) as problem:
        read_table({"service": {"queue_share": 2}}, " in a.toml")
    assert str(problem.value) == "bad value 2 for service.queue_share in a.toml: expected a number from 0 to 1"


def test_an_unknown_variable_gets_near_names(tmp_path: Path) -> None:
    warnings: list[str] = []
    load({}, {"SORA_MOCK_CREDIT": "1"}, tmp_path, warnings.append)
    assert len(warnings) == 1
    assert warnings[0].startswith("unknown environment variable SORA_MOCK_CREDIT; did you mean SORA_MOCK_CREDITS")
