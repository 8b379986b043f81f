"""Settings as a Python caller writes them: the keys of the settings file as typed keyword arguments."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Literal, TypedDict

import msgspec

from sora_mock.config.loading import read_table
from sora_mock.config.settings import SettingError, Settings


class Options(TypedDict, total=False):
    """Keyword arguments of `MockServer` and `create_app`: docs/reference.md, Settings, says what each means.

    Times are seconds, amounts are credits.
    generation_time: also a pair, or a text such as `60..180`.
    """

    host: str
    port: int
    generation_time: float | str | tuple[float, float]
    frozen_clock: bool
    speed: float
    seed: int
    credits: float | Literal["unlimited"]
    rate_limit: str
    scenario: str
    failure_rate: float
    moderation_rate: float
    history_size: int | str
    callback_route: Mapping[str, str]
    allow_callback: Sequence[str]
    callback_ca: str | PathLike[str]
    control_token: str
    public_url: str
    cors: str
    no_mock_headers: bool
    log_format: Literal["text", "json"]
    quiet: bool
    keys: Sequence[str]
    prices: Mapping[int, float]
    service: Mapping[str, Any]
    scenarios: Mapping[str, Mapping[str, Any]]
    moderation: Mapping[str, Any]


def with_options(settings: Settings, options: Options) -> Settings:
    """The settings with some of them changed. Raises SettingError that names the bad option."""
    if not isinstance(settings, Settings):
        raise SettingError(f"expected options by name, as in credits=20, got {type(settings).__name__}")
    written = {name: _written(name, each) for name, each in options.items()}
    return msgspec.structs.replace(settings, **read_table(written))


def _written(name: str, value: Any) -> Any:
    """The value as the settings file would hold it."""
    if name == "generation_time" and isinstance(value, tuple):
        return "..".join(str(seconds) for seconds in value)
    if name == "prices" and isinstance(value, Mapping):
        return {str(duration): price for duration, price in value.items()}
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
