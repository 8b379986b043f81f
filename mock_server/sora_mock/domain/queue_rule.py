"""The rules of an account's scenario queue: which rule matches a request, and why another one does not."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from sora_mock.domain.errors import near_names
from sora_mock.domain.models import Model
from sora_mock.domain.pattern import Pattern, PatternBudget, read_pattern
from sora_mock.domain.scenario import Scenario

OPERATIONS: Final = ("create", "query", "credits", "file")
"""The operations that a rule can match."""

MATCH_FIELDS: Final = ("prompt", "duration", "has_image", "aspect_ratio")
"""The facts of a create request that a rule can match."""


class QueueRule(msgspec.Struct, frozen=True):
    """One rule of an account's queue.

    number: counts the rules of the server.
    scenario: what the matching request gets.
    times: how many more requests it applies to, at least 1; None has no limit.
    operation: the operation that it matches, one of `OPERATIONS`.
    match: expected value of each fact (`MATCH_FIELDS`), for `prompt` a `Pattern`; empty matches every request.
    override: parameters of the scenario, as the client sent them.
    """

    number: int
    scenario: Scenario
    times: int | None
    operation: str
    match: dict[str, Any]
    override: dict[str, Any]

    @property
    def pattern(self) -> Pattern | None:
        """What the prompt has to match; None where every prompt matches."""
        return self.match.get("prompt")

    @property
    def label(self) -> str:
        """The name of the rule in the journal."""
        return f"queue rule {self.number} ({self.scenario.name})"


def request_facts(request: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The facts of a create request that queue rules and moderation rules use.

    request: the body, with the defaults of the published contract filled in. model: the model that it names.
    """
    return {
        "prompt": request["prompt"],
        "duration": request["duration"],
        "has_image": bool(request.get("image_urls")),
        "aspect_ratio": request.get("aspect_ratio", model.default_aspect_ratio),
        "image_urls": request.get("image_urls", []),
    }


def difference(rule: QueueRule, operation: str, facts: Mapping[str, Any], patterns: PatternBudget) -> list[str]:
    """Why the rule does not match a request, one line for each reason; an empty list means that it matches.

    patterns: the time that is left for the patterns of this request.
    """
    if rule.operation != operation:
        return [f"operation is {operation}, not {rule.operation}"]
    lines = []
    for field, expected in rule.match.items():
        actual = facts[field]
        if field == "prompt":
            if not patterns.search(expected, actual):
                problem = "does not match" if patterns.ran_out is None else "does not match in time"
                lines.append(f"prompt {actual[:80]!r} {problem} {expected!r}")
        elif actual != expected:
            lines.append(f"{field} is {actual!r}, not {expected!r}")
    return lines


def take_matching(
    queue: Iterable[QueueRule], operation: str, facts: Mapping[str, Any], patterns: PatternBudget
) -> tuple[QueueRule | None, tuple[QueueRule, ...], list[str]]:
    """Uses the first rule of the queue that matches a request.

    patterns: the time that is left for the patterns of this request.
    Returns the rule (None where none matches), the queue after it was used once, and why the rules before it do not
    match, one line for each reason.
    """
    rules = list(queue)
    unmatched: list[str] = []
    for index, rule in enumerate(rules):
        lines = difference(rule, operation, facts, patterns)
        if not lines:
            used = rule if rule.times is None else msgspec.structs.replace(rule, times=rule.times - 1)
            rules[index : index + 1] = [used] if used.times != 0 else []
            return rule, tuple(rules), unmatched
        # A rule for another operation is no near miss: its reasons would only hide the useful ones.
        if rule.operation == operation:
            unmatched += [f"{rule.label}: {line}" for line in lines]
    return None, tuple(rules), unmatched


def read_match(value: Any, models: Iterable[Model]) -> tuple[str, dict[str, Any]]:
    """The operation and the expected facts of a rule's `match`. Raises ValueError that says what is expected.

    models: the enabled models, one of which has to have an expected duration and aspect ratio.
    """
    if not isinstance(value, dict):
        raise ValueError("expected an object with prompt, duration, has_image, aspect_ratio or operation")
    operation = value.get("operation", "create")
    if operation not in OPERATIONS:
        raise ValueError(f"operation: expected one of {', '.join(OPERATIONS)}")
    fields = {name: expected for name, expected in value.items() if name != "operation"}
    for name, expected in fields.items():
        if name not in MATCH_FIELDS:
            raise ValueError(f"unknown field {name[:80]!r}{near_names(name, (*MATCH_FIELDS, 'operation'))}")
        if operation != "create":
            raise ValueError(f"{name} can only be matched with the operation create, not with {operation}")
        fields[name] = _checked(name, expected, models)
    return operation, fields


def _checked(name: str, expected: Any, models: Iterable[Model]) -> Any:
    if name == "prompt":
        return read_pattern(expected)
    if name == "has_image" and not isinstance(expected, bool):
        raise ValueError("has_image: expected true or false")
    if name == "duration":
        _check_choice(name, expected, sorted({duration for model in models for duration in model.durations}))
    elif name == "aspect_ratio":
        _check_choice(name, expected, list(dict.fromkeys(ratio for model in models for ratio in model.aspect_ratios)))
    return expected


def _check_choice(name: str, expected: Any, choices: list[Any]) -> None:
    if expected not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(str, choices))}")
