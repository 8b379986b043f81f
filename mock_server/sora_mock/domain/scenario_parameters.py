"""Scenarios by name: the catalogue, and the parameters that a user may change."""

import re
import shlex
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from sora_mock.domain.errors import near_names
from sora_mock.domain.plan import Curve
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.values import number, short_text

MAX_TASK_SECONDS: Final = 10 * 365 * 86400.0
"""Seconds that a task may take: ten years. A longer time is a mistake in a test."""

MAX_LATENCY: Final = 60.0
"""Real seconds that a response may be delayed."""

MAX_SELECTION_LENGTH: Final = 4000
"""Characters of a scenario's name and its parameters, in the header or the prompt."""

TOKEN_START: Final = "[[mock:"  # noqa: S105  # no password
"""How a prompt token begins; `]]` ends it."""


def _whole(low: int, high: int, kind: str) -> Callable[[Any], int]:
    """A function that accepts a whole number from `low` to `high`. kind: what it is, for messages."""

    def read(value: Any) -> int:
        found = number(low, high)(value)
        if found != int(found):
            raise ValueError(f"expected {kind} from {low} to {high}")
        return int(found)

    return read


def _curve(value: Any) -> Curve:
    """The points of `progress`: `[[0, 1], [0.5, 40]]`, or values at equal distances; `0:1,0.5:40` in a token."""
    wrong = ValueError(
        "expected points such as [[0, 1], [0.5, 40], [1, 99]] or values such as [1, 40, 99], rising; "
        "in a header or token 0:1,0.5:40,1:99 or 1,40,99"
    )
    if isinstance(value, str):
        value = [point.split(":") if ":" in point else point for point in value.split(",")]
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        raise wrong
    try:
        points = _points(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if points != sorted(points) or any(one[1] > other[1] for one, other in pairwise(points)):
        raise wrong
    return tuple(points)


def _points(value: list[Any]) -> list[tuple[float, float]]:
    """Points of a list of pairs, or of a list of progress values."""
    if all(isinstance(point, list) for point in value):
        return [(number(0, 1)(elapsed), number(0, 100)(height)) for elapsed, height in value]
    last = max(1, len(value) - 1)
    return [(index / last, number(0, 100)(height)) for index, height in enumerate(value)]


PARAMETERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "generation_time": number(0, MAX_TASK_SECONDS),
    "queue_time": number(0, MAX_TASK_SECONDS),
    "at": number(0, 1),
    "code": short_text,
    "message": short_text,
    "progress": _curve,
    "latency": number(0, MAX_LATENCY),
    "status": _whole(400, 599, "an HTTP status"),
    "retry_after": _whole(0, 86400, "whole seconds"),
}
"""The parameters that a user may change, each with the function that reads it and raises ValueError."""


class ParameterLimits(msgspec.Struct, frozen=True):
    """The server's values that parameters are checked against.

    codes: the failure codes, each with its message.
    generation_time: the longest time that the server gives a task by default, in seconds.
    """

    codes: Mapping[str, str]
    generation_time: float


def override(scenario: Scenario, given: Mapping[str, Any], limits: ParameterLimits) -> Scenario:
    """The scenario with the given parameters changed.

    Raises ValueError that names the wrong parameter and says what is expected.
    """
    found = {name: _read(name, value) for name, value in given.items()}
    if "status" in found and scenario.status is None:
        # code and message described the failure of the task; they do not describe the HTTP error
        scenario = msgspec.structs.replace(scenario, code=None, message=None)
    changed = msgspec.structs.replace(scenario, **found)
    for name in found:
        reason = _why_without_effect(name, changed)
        if reason is not None:
            raise ValueError(f"{name} has no effect on {scenario.name}, which {reason}")
    _check_together(changed, found, limits)
    return changed


def _read(name: str, value: Any) -> Any:
    """The value of one parameter. Raises ValueError that names the parameter."""
    if name not in PARAMETERS:
        known = near_names(name, PARAMETERS) or f"; known are {', '.join(PARAMETERS)}"
        raise ValueError(f"unknown parameter {name[:80]!r}{known}")
    try:
        return PARAMETERS[name](value)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None


def _why_without_effect(parameter: str, scenario: Scenario) -> str | None:
    """Why a parameter has no effect on a scenario; None where it has one.

    Such a parameter is rejected: if it were ignored, a test would pass for the wrong reason.
    """
    timing, texts = ("generation_time", "queue_time", "at", "progress"), ("code", "message")
    if parameter in timing and scenario.status is not None:
        return f"responds with HTTP {scenario.status}, so there is no task"
    if parameter in (*timing, *texts, "status") and scenario.fault == "reset_before":
        return "resets the connection, so there is no task and no response"
    if parameter == "retry_after" and scenario.status not in (429, 503):
        return "responds with neither 429 nor 503"
    if parameter in texts and scenario.fault == "html_body":
        return "responds with an HTML page"
    if scenario.status is None and parameter in ("at", *texts) and scenario.outcome in ("completed", "stuck"):
        return "does not fail; see failed"
    if scenario.status is None and parameter in texts and not scenario.tells_error:
        return "fails without an error object"
    return None


def _check_together(scenario: Scenario, found: Mapping[str, Any], limits: ParameterLimits) -> None:
    """Raises ValueError for an unknown failure code, and for a queue time above the generation time."""
    if "code" in found and scenario.status is None and scenario.code not in limits.codes:
        code = str(scenario.code)
        raise ValueError(f"code: {code[:80]!r} is no failure code{near_names(code, limits.codes)}")
    total = limits.generation_time if scenario.generation_time is None else scenario.generation_time
    if {"queue_time", "generation_time"} & set(found) and (scenario.queue_time or 0) > total:
        raise ValueError(f"queue_time: it is a part of generation_time, {total:g} s, and cannot be longer")


def prompt_token(prompt: str) -> str:
    """The text inside the first `[[mock:...]]` of a prompt that contains `TOKEN_START`.

    Raises ValueError where `]]` is missing.
    """
    written, end, _ = prompt.partition(TOKEN_START)[2].partition("]]")
    if not end:
        raise ValueError(f"unknown scenario {written[:80]!r}: the token has no closing ]]")
    return written


def parse_selection(written: str, catalogue: Mapping[str, Scenario], limits: ParameterLimits) -> Scenario:
    """The scenario that `NAME key=value ...` selects, in a header or a prompt token.

    Raises ValueError that lists near names, or names the wrong parameter.
    """
    if len(written) > MAX_SELECTION_LENGTH:
        raise ValueError(f"a name and its parameters have at most {MAX_SELECTION_LENGTH} characters")
    try:
        name, *pairs = shlex.split(written) or [""]
    except ValueError as problem:
        raise ValueError(f"{written[:80]!r} cannot be read: {problem}") from None
    given = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"expected key=value after the name, got {pair[:80]!r}")
        given[key] = value
    return override(find_scenario(name, catalogue), given, limits)


def find_scenario(name: str, catalogue: Mapping[str, Scenario]) -> Scenario:
    """The scenario of that name. Raises ValueError that lists near names."""
    if name not in catalogue:
        near = near_names(name, catalogue) or "; `sora-mock scenarios` lists them all"
        raise ValueError(f"unknown scenario {name[:80]!r}{near}")
    return catalogue[name]


def built_in_catalogue(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Scenario]:
    """The scenarios of the tables in `fixtures/scenarios/`, by name. A table may extend any other one."""
    catalogue: dict[str, Scenario] = {}

    def build(name: str) -> Scenario:
        if name not in catalogue:
            table = dict(tables[name])
            extends = table.pop("extends", None)
            base = {} if extends is None else msgspec.structs.asdict(build(extends))
            catalogue[name] = msgspec.convert({**base, **table, "name": name}, Scenario)
        return catalogue[name]

    return {name: build(name) for name in tables}


def with_user_scenarios(
    catalogue: Mapping[str, Scenario], tables: Mapping[str, Mapping[str, Any]], limits: ParameterLimits
) -> dict[str, Scenario]:
    """The catalogue together with the scenarios of a configuration. Each extends a scenario that comes before it.

    Raises ValueError that names the scenario and says what is wrong.
    """
    known = dict(catalogue)
    for name, table in tables.items():
        given = dict(table)
        try:
            if re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name) is None:
                raise ValueError("a name is 1 to 80 characters of A-Z a-z 0-9 _ . -")
            if name in catalogue:
                raise ValueError("there is a built-in scenario of that name")
            base = find_scenario(str(given.pop("extends", "completed")), known)
            description = short_text(given.pop("description", f"{base.name}, changed by the configuration"))
            own = override(msgspec.structs.replace(base, name=name), given, limits)
        except ValueError as problem:
            raise ValueError(f"scenario {name[:80]!r}: {problem}") from None
        known[name] = msgspec.structs.replace(own, description=description)
    return known
