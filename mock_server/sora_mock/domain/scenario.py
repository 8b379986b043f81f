"""What shall happen, by name: durations and an outcome that become a plan once, a refusal, or harm to the reply."""

import math
import re
import shlex
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain.delivery import Manner
from sora_mock.domain.errors import near_names
from sora_mock.domain.fault import Fault
from sora_mock.domain.plan import STEADY, Curve, Failure, Outcome, Plan
from sora_mock.domain.reading import number, short_text

LONGEST: Final = 10 * 365 * 86400.0
"""Seconds; a task that takes longer than ten years is a mistake in a test."""

LONGEST_LATENCY: Final = 60.0
"""Real seconds that an answer can be held back."""

Shape = Literal["unknown_status", "unknown_fields", "numeric_error_code", "wrapped_in_data", "cancelled_as_status"]
"""How the replies about a task are changed (domain/shape.py)."""


_SHAPED: Final[Mapping[str, tuple[str, ...]]] = {
    "unknown_status": ("query",),
    "cancelled_as_status": ("query",),
    "unknown_fields": ("query", "credits"),
    "numeric_error_code": ("query", "credits"),
    "wrapped_in_data": ("query", "credits"),
}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named course of events. Durations are seconds of the account's clock.

    outcome: how the task ends; `stuck` never does.
    generation_time: creation to end; None takes the server's. queue_time: the pending part of it; None takes the
    server's share. at: where in the processing it fails, 0 to 1; None is its end.
    code, message: of the failure, or of the refusal; None takes the documented ones.
    progress: the curve that it climbs. latency: real seconds before the answer.
    status: the HTTP status of a refusal; None lets the task come into being.
    retry_after: real seconds that a 429 or 503 tells to wait; None is 60 for a 429 and no word of it for a 503.
    tells_error: whether a failed task says why. callback: what is done to its callback.
    """

    name: str
    description: str
    outcome: Outcome | Literal["stuck"] = "completed"
    generation_time: float | None = None
    queue_time: float | None = None
    at: float | None = None
    code: str | None = None
    message: str | None = None
    progress: Curve | None = None
    latency: float = 0.0
    status: int | None = None
    retry_after: int | None = None
    fault: Fault | None = None
    shape: Shape | None = None
    tells_error: bool = True
    callback: Manner | None = None

    @property
    def refuses(self) -> bool:
        """Whether the request is answered with an error instead of being handled."""
        return self.status is not None

    def touches(self, operation: str) -> bool:
        """Whether it does anything to an answer of `query`, `credits` or `file`, which is not about a task's life."""
        if self.status or self.latency or (self.fault and self.fault != "reply_after_callback"):
            return True
        return operation in _SHAPED.get(self.shape or "", ())

    def plan(self, created_at: float, generation_time: float, queue_share: float, messages: Mapping[str, str]) -> Plan:
        """The moments of a task created at `created_at`.

        generation_time, queue_share: what the server takes by default. messages: the default one of each code.
        """
        total = generation_time if self.generation_time is None else self.generation_time
        queued = total * queue_share if self.queue_time is None else min(self.queue_time, total)
        curve = self.progress or STEADY
        processing_at, full_at = created_at + queued, created_at + total
        if self.outcome == "stuck":
            return Plan(created_at, processing_at, full_at, math.inf, curve=curve)
        if self.outcome == "completed":
            return Plan(created_at, processing_at, full_at, full_at, curve=curve)
        ended_at = full_at if self.at is None else processing_at + (full_at - processing_at) * self.at
        code = self.code or "unknown_error"
        failure = Failure(code, self.message or messages.get(code, code)) if self.tells_error else None
        return Plan(created_at, processing_at, full_at, ended_at, self.outcome, failure, curve)


# --- parameters ---


def _status(value: Any) -> int:
    found = number(400, 599)(value)
    if found != int(found):
        raise ValueError("expected an HTTP status from 400 to 599")
    return int(found)


def _wait(value: Any) -> int:
    found = number(0, 86400)(value)
    if found != int(found):
        raise ValueError("expected whole seconds from 0 to 86400")
    return int(found)


def _curve(value: Any) -> Curve:
    """Points of the progress: `[[0, 1], [0.5, 40]]`, or values at equal distances; `0:1,0.5:40` in a token."""
    wrong = ValueError(
        "expected points such as [[0, 1], [0.5, 40], [1, 99]] or values such as [1, 40, 99], rising; "
        "in a header or token 0:1,0.5:40,1:99 or 1,40,99"
    )
    if isinstance(value, str):
        value = [point.split(":") if ":" in point else point for point in value.split(",")]
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        raise wrong
    try:
        if all(isinstance(point, list) for point in value):
            points = [(number(0, 1)(share), number(0, 100)(height)) for share, height in value]
        else:
            shares = [index / max(1, len(value) - 1) for index in range(len(value))]
            points = [(share, number(0, 100)(height)) for share, height in zip(shares, value, strict=True)]
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if points != sorted(points) or any(one[1] > other[1] for one, other in pairwise(points)):
        raise wrong
    return tuple(points)


PARAMETERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "generation_time": number(0, LONGEST),
    "queue_time": number(0, LONGEST),
    "at": number(0, 1),
    "code": short_text,
    "message": short_text,
    "progress": _curve,
    "latency": number(0, LONGEST_LATENCY),
    "status": _status,
    "retry_after": _wait,
}
"""What any scenario takes, by a reader that raises ValueError."""


class Limits(msgspec.Struct, frozen=True):
    """What parameters are checked against.

    codes: failure codes and their messages. generation_time: the longest that the server gives a task by default.
    """

    codes: Mapping[str, str]
    generation_time: float


def override(scenario: Scenario, given: Mapping[str, Any], limits: Limits) -> Scenario:
    """The scenario with parameters of its own.

    Raises ValueError that names the parameter and says what would be right.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in PARAMETERS:
            known = near_names(name, PARAMETERS) or f"; known are {', '.join(PARAMETERS)}"
            raise ValueError(f"unknown parameter {name[:80]!r}{known}")
        try:
            found[name] = PARAMETERS[name](value)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    if "status" in found and scenario.status is None:
        # what the task would have said is not what the HTTP error says
        scenario = msgspec.structs.replace(scenario, code=None, message=None)
    changed = msgspec.structs.replace(scenario, **found)
    for name in found:
        reason = _idle(name, changed)
        if reason is not None:
            raise ValueError(f"{name} has no effect on {scenario.name}, which {reason}")
    _check(changed, found, limits)
    return changed


def _idle(parameter: str, scenario: Scenario) -> str | None:
    """Why a parameter would have no effect: it is refused then, silence would make a test pass for the wrong reason."""
    life, words = ("generation_time", "queue_time", "at", "progress"), ("code", "message")
    if parameter in life and scenario.status is not None:
        return f"answers HTTP {scenario.status}, so that there is no task"
    if parameter in (*life, *words, "status") and scenario.fault == "reset_before":
        return "resets the connection, so that there is no task and no answer"
    if parameter == "retry_after" and scenario.status not in (429, 503):
        return "answers neither 429 nor 503"
    if parameter in words and scenario.fault == "html_body":
        return "answers with an HTML page"
    if scenario.status is None and parameter in ("at", *words) and scenario.outcome in ("completed", "stuck"):
        return "does not fail; see failed"
    if scenario.status is None and parameter in words and not scenario.tells_error:
        return "fails without an error object"
    return None


def _check(scenario: Scenario, found: Mapping[str, Any], limits: Limits) -> None:
    """Raises ValueError for parameters that do not go together."""
    if "code" in found and scenario.status is None and scenario.code not in limits.codes:
        code = str(scenario.code)
        raise ValueError(f"code: {code[:80]!r} is no failure code{near_names(code, limits.codes)}")
    total = limits.generation_time if scenario.generation_time is None else scenario.generation_time
    if {"queue_time", "generation_time"} & set(found) and (scenario.queue_time or 0) > total:
        raise ValueError(f"queue_time: it is a part of generation_time, {total:g} s, and cannot be longer")


# --- names ---

TOKEN_START: Final = "[[mock:"  # noqa: S105  # no password


LONGEST_SELECTION: Final = 4000


def token_of(prompt: str) -> str:
    """What stands in the first `[[mock:...]]` of a prompt that has one. Raises ValueError where it is never closed."""
    written, end, _ = prompt.partition(TOKEN_START)[2].partition("]]")
    if not end:
        raise ValueError(f"unknown scenario {written[:80]!r}: the token is never closed with ]]")
    return written


def parse_selection(written: str, catalogue: Mapping[str, Scenario], limits: Limits) -> Scenario:
    """The scenario that `NAME key=value ...` stands for, in a header or a token.

    Raises ValueError that lists near names or says which parameter is wrong.
    """
    if len(written) > LONGEST_SELECTION:
        raise ValueError(f"a name and its parameters have at most {LONGEST_SELECTION} characters")
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
    return override(named(name, catalogue), given, limits)


def named(name: str, catalogue: Mapping[str, Scenario]) -> Scenario:
    """The scenario of that name. Raises ValueError that lists near names."""
    if name not in catalogue:
        near = near_names(name, catalogue) or "; `sora-mock scenarios` lists them all"
        raise ValueError(f"unknown scenario {name[:80]!r}{near}")
    return catalogue[name]


def built_in_catalogue(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Scenario]:
    """The scenarios of `fixtures/scenarios/`; one may extend any other."""
    catalogue: dict[str, Scenario] = {}

    def build(name: str) -> Scenario:
        if name not in catalogue:
            table = dict(tables[name])
            extends = table.pop("extends", None)
            base = {} if extends is None else msgspec.structs.asdict(build(extends))
            catalogue[name] = msgspec.convert({**base, **table, "name": name}, Scenario)
        return catalogue[name]

    return {name: build(name) for name in tables}


def with_own(
    catalogue: Mapping[str, Scenario], tables: Mapping[str, Mapping[str, Any]], limits: Limits
) -> dict[str, Scenario]:
    """The catalogue and the scenarios of a configuration, each extending one that stands before it.

    Raises ValueError that names the scenario and what is wrong with it.
    """
    known = dict(catalogue)
    for name, table in tables.items():
        given = dict(table)
        try:
            if re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name) is None:
                raise ValueError("a name is 1 to 80 characters of A-Z a-z 0-9 _ . -")
            if name in catalogue:
                raise ValueError("there is a built-in scenario of that name")
            base = named(str(given.pop("extends", "completed")), known)
            description = short_text(given.pop("description", f"{base.name}, changed by the configuration"))
            own = override(msgspec.structs.replace(base, name=name), given, limits)
        except ValueError as problem:
            raise ValueError(f"scenario {name[:80]!r}: {problem}") from None
        known[name] = msgspec.structs.replace(own, description=description)
    return known
