"""Faults in how a mock is steered: queue rules, parameters of scenarios, shapes of other versions."""

import re
import shlex
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from sora_mock.api import errors
from sora_mock.control import scenarios
from sora_mock.domain import queue_rule, scenario_parameters, shape
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import ApiResponse
from sora_mock.domain.pattern import Pattern
from sora_mock.domain.plan import STEADY
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import PARAMETERS
from sora_mock.domain.values import number
from sora_mock.service import admission
from sora_mock.service.selection import Selector
from tests.contract.faults.planting import Plant, Table, around, ids, part, then, wrapped


def _match(*names: str) -> str:
    return ids("creation.choice.match", *names)


def _rule(*names: str) -> str:
    return ids("creation.choice.rule", *names)


def _parameter(*names: str) -> str:
    return ids("creation.choice.parameter", *names)


def _operation_alone(rule: Any, operation: str, facts: Any) -> list[str]:
    return [] if rule.operation == operation else ["another operation"]


def _one_fact(difference: Any, rule: Any, *args: Any) -> list[str]:
    lines: list[str] = difference(rule, *args)
    return [] if len(lines) < len(rule.match) else lines


def _constant(**values: Any) -> Plant:
    """Facts of a create request have the same values for each request."""
    return wrapped(queue_rule.request_facts, then(lambda facts, *_: {**facts, **values}))


def _ratio_as_sent(facts: Any, request: Any, model: Any) -> Any:
    return {**facts, "aspect_ratio": request.get("aspect_ratio")}


def _last_first(take: Any, queue: Any, *args: Any) -> Any:
    rule, rest, unmatched = take(tuple(reversed(queue)), *args)
    return rule, tuple(reversed(rest)), unmatched


def _forget_unmatched(take: Any, queue: Any, *args: Any) -> Any:
    rule, rest, unmatched = take(queue, *args)
    return rule, tuple(each for each in rest if rule is None or each.number >= rule.number), unmatched


def _no_reasons(found: Any, *_: Any) -> Any:
    rule, rest, _reasons = found
    return rule, rest, []


def _unchecked(value: Any, models: Any) -> Any:
    fields = dict(value) if isinstance(value, dict) else {}
    return fields.pop("operation", "create"), fields


def _completed_instead(find: Any, name: str, catalogue: Any) -> Any:
    return catalogue.get(name, catalogue["completed"])


def _wrong_ones_ignored(override: Any, scenario: Any, given: Any, limits: Any) -> Any:
    for name, value in given.items():
        try:
            scenario = override(scenario, {name: value}, limits)
        except ValueError:
            continue
    return scenario


def _tokens_ignored(from_token: Any, *args: Any) -> Any:
    try:
        return from_token(*args)
    except ApiError:
        return None


def _without_value(parse: Any, written: str, *args: Any) -> Any:
    name, *pairs = written.split(" ")
    return parse(" ".join([name, *(pair for pair in pairs if "=" in pair)]), *args)


def _quote_is_a_bug(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as problem:
        raise RuntimeError(problem) from None


def _read_by(name: str, read: Callable[[Any], Any]) -> Plant:
    """Another function reads a parameter."""
    return part(scenario_parameters, "PARAMETERS", {**PARAMETERS, name: read})


STEERED: Table = {
    "match unread": ("creation.choice.match.*", part(queue_rule, "difference", _operation_alone)),
    "prompts matched as a whole": (
        _match("prompt", "all", "first"),
        part(Pattern, "search", lambda self, text, seconds: re.fullmatch(self.text, text) is not None),
    ),
    "prompts matched as text": (
        _match("prompt"),
        part(Pattern, "search", lambda self, text, seconds: self.text in text),
    ),
    "durations unseen": (_match("duration", "duration.default", "all"), _constant(duration=10)),
    "images unseen": (_match("has_image", "has_image.false", "all"), _constant(has_image=False)),
    "ratios unseen": (_match("aspect_ratio", "aspect_ratio.default", "all"), _constant(aspect_ratio="16:9")),
    "default ratio unseen": (_match("aspect_ratio.default"), wrapped(queue_rule.request_facts, then(_ratio_as_sent))),
    "one fact is enough": (_match("all"), around(queue_rule, "difference", _one_fact)),
    "the last rule first": (_match("first"), around(queue_rule, "take_matching", _last_first)),
    "unmatched rules are forgotten": (_match("first"), around(queue_rule, "take_matching", _forget_unmatched)),
    "the journal has no reasons": (_match("first"), around(queue_rule, "take_matching", then(_no_reasons))),
    "any text is a regular expression": (
        _rule("prompt", "prompt.type"),
        part(queue_rule, "read_pattern", lambda text: text),
    ),
    "match unchecked": (
        _rule("prompt*", "duration*", "has_image", "aspect_ratio", "field", "operation", "operation.fields", "match"),
        part(scenarios, "read_match", _unchecked),
    ),
    "rules without effect": (_rule("operation.effect"), part(Scenario, "affects", lambda self, operation: True)),
    "any number of times": (_rule("times", "times.fraction"), part(scenarios, "_times", lambda value: value)),
    "unknown scenarios complete": (
        _rule("scenario") + " " + _parameter("empty", "near") + " creation.choice.unknown",
        wrapped(scenario_parameters.find_scenario, _completed_instead),
    ),
    "wrong parameters are ignored": (
        _rule("override*") + " " + _parameter("[!enqv]*", "name", "number", "effect.*", "queue_time"),
        wrapped(scenario_parameters.override, _wrong_ones_ignored),
    ),
    "wrong tokens are ignored": ("creation.choice.parameter.*", around(Selector, "from_token", _tokens_ignored)),
    "parameters without a value": (_parameter("value"), wrapped(scenario_parameters.parse_selection, _without_value)),
    "open quotes are text": (
        _parameter("quote", "quote.double"),
        part(scenario_parameters, "shlex", SimpleNamespace(split=str.split)),
    ),
    "open quotes are a bug": (
        _parameter("quote", "quote.double"),
        part(scenario_parameters, "shlex", SimpleNamespace(split=_quote_is_a_bug)),
    ),
    "parameters without effect": (
        _parameter("effect.*"),
        part(scenario_parameters, "_why_without_effect", lambda parameter, scenario: None),
    ),
    "parameters apart": (
        _parameter("code", "queue_time"),
        part(scenario_parameters, "_check_together", lambda scenario, found, limits: None),
    ),
    "a year at most": ("creation.choice.bounds", _read_by("generation_time", number(0, 365 * 86_400))),
    "failures at the end alone": ("creation.choice.bounds", _read_by("at", number(0, 0.99))),
    "every curve is even": ("creation.choice.written", _read_by("progress", lambda value: STEADY)),
    "points as text": (
        "creation.choice.written",
        _read_by("progress", lambda value: STEADY if isinstance(value, str) else PARAMETERS["progress"](value)),
    ),
    "fractions of retry_after are cut off": (
        _parameter("retry_after.fraction", "retry_after.range", "retry_after.negative")
        + " "
        + _rule("override.retry_after"),
        _read_by("retry_after", lambda value: int(float(value))),
    ),
}


def _retry_after(change: Callable[[Any], Any]) -> Plant:
    """Scenarios that reject have another `retry_after`."""

    def rejection(original: Any, service: Any, account: Any, exchange: Any, scenario: Any, headers: Any = ()) -> Any:
        scenario = msgspec.structs.replace(scenario, retry_after=change(scenario))
        return original(service, account, exchange, scenario, headers)

    return wrapped(admission.rejection, rejection)


def _minute_for_503(scenario: Any) -> int | None:
    return 60 if scenario.retry_after is None and scenario.status == 503 else scenario.retry_after


def _kept(name: str, condition: Callable[[Any], object]) -> Plant:
    """A shape leaves the bodies that fit the condition as they are."""

    def shaped(original: Any, body: Any, shape: Any, status: int = 200) -> Any:
        return body if shape == name and condition(body) else original(body, shape, status)

    return wrapped(shape.shaped, shaped)


def _changed(name: str, condition: Callable[[Any], object], **values: Any) -> Plant:
    """A shape changes the bodies that fit the condition too."""

    def shaped(original: Any, body: Any, shape: Any, status: int = 200) -> Any:
        found = original(body, shape, status)
        return {**found, **values} if shape == name and condition(found) else found

    return wrapped(shape.shaped, shaped)


def _code_as_text(found: Any, body: Any, shape: Any, status: int = 200) -> None:
    if shape == "numeric_error_code" and isinstance(found.get("error"), dict):
        found["error"]["code"] = str(found["error"]["code"])


def _shaped_error(name: str) -> Plant:
    """A shape changes errors too."""

    def error(response: Any, contract: Any, exchange: Any, *_: Any) -> Any:
        if exchange.shape != name:
            return None
        body = msgspec.json.decode(response.body)
        shaped = shape.shaped(body, exchange.shape, response.status)
        return ApiResponse(response.status, msgspec.json.encode(shaped), response.headers)

    return wrapped(errors.error_response, then(error))


SHAPED: Table = {
    "retry_after unread": ("creation.choice.retry_after", _retry_after(lambda scenario: None)),
    "no wait of zero": ("creation.choice.retry_after", _retry_after(lambda scenario: scenario.retry_after or None)),
    "a minute for 503": ("creation.choice.retry_after creation.choice.refusals", _retry_after(_minute_for_503)),
    "failed tasks have no further fields": (
        "creation.choice.shape.unknown_fields creation.choice.shapes.failed",
        _kept("unknown_fields", lambda body: "error" in body),
    ),
    "errors are wrapped": (
        "creation.choice.shape.wrapped_in_data creation.choice.shapes",
        _shaped_error("wrapped_in_data"),
    ),
    "failed tasks are not wrapped": (
        "creation.choice.shape.wrapped_in_data",
        _kept("wrapped_in_data", lambda body: body.get("status") == "failed"),
    ),
    "pending is unknown too": (
        "creation.choice.shape.unknown_status",
        _changed("unknown_status", lambda body: body.get("status") == "pending", status="reviewing"),
    ),
    "completed is cancelled too": (
        "creation.choice.shape.cancelled_as_status",
        _changed("cancelled_as_status", lambda body: body.get("status") == "completed", status="cancelled"),
    ),
    "numbers as text": (
        "creation.choice.shape.numeric_error_code creation.choice.shapes",
        wrapped(shape.shaped, then(_code_as_text)),
    ),
}
