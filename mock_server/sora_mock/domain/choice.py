"""Which queued rule or moderation rule a request meets, and why another one did not."""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain.errors import near_names
from sora_mock.domain.scenario import Scenario

OPERATIONS: Final = ("create", "query", "credits", "file")
FIELDS: Final = ("prompt", "duration", "has_image", "aspect_ratio")
LONGEST_PATTERN: Final = 500

Stage = Literal["input", "processing", "output"]
SUB_TYPES: Final = ("real_person", "celebrity", "third_party", "nudity", "violence", "minor", "policy")


class Rule(msgspec.Struct, frozen=True):
    """One entry of an account's queue.

    number: counts the account's rules. times: requests that it is still good for; None is for ever.
    operation: which requests it is about. match: fields of a creation and what they have to be.
    override: parameters, as they were sent.
    """

    number: int
    scenario: Scenario
    times: int | None
    operation: str
    match: dict[str, Any]
    override: dict[str, Any]

    @property
    def label(self) -> str:
        """How the journal calls it."""
        return f"queue rule {self.number} ({self.scenario.name})"


def facts(request: Mapping[str, Any]) -> dict[str, Any]:
    """What rules can ask of a creation. `request` is its body with the contract's defaults filled in."""
    return {
        "prompt": request["prompt"],
        "duration": request["duration"],
        "has_image": bool(request.get("image_urls")),
        "aspect_ratio": request.get("aspect_ratio", "16:9"),
        "image_urls": request.get("image_urls", []),
    }


def difference(rule: Rule, operation: str, found: Mapping[str, Any]) -> list[str]:
    """What keeps the rule from matching a request, a line each; it matches where there is nothing."""
    if rule.operation != operation:
        return [f"operation is {operation}, not {rule.operation}"]
    lines = []
    for field, wanted in rule.match.items():
        got = found[field]
        if field == "prompt":
            if re.search(wanted, got) is None:
                lines.append(f"prompt {got[:80]!r} does not match {wanted!r}")
        elif got != wanted:
            lines.append(f"{field} is {got!r}, not {wanted!r}")
    return lines


def take(
    queue: Iterable[Rule], operation: str, found: Mapping[str, Any]
) -> tuple[Rule | None, tuple[Rule, ...], list[str]]:
    """The first rule that matches, the queue without one of its times, and why those before it did not match."""
    rules = list(queue)
    passed: list[str] = []
    for index, rule in enumerate(rules):
        lines = difference(rule, operation, found)
        if not lines:
            used = rule if rule.times is None else msgspec.structs.replace(rule, times=rule.times - 1)
            rules[index : index + 1] = [used] if used.times != 0 else []
            return rule, tuple(rules), passed
        # a rule about another operation is no near miss
        if rule.operation == operation:
            passed += [f"{rule.label}: {line}" for line in lines]
    return None, tuple(rules), passed


def read_match(value: Any) -> tuple[str, dict[str, Any]]:
    """The operation and the fields of a rule's `match`. Raises ValueError that says what would be right."""
    if not isinstance(value, dict):
        raise ValueError("expected an object with prompt, duration, has_image, aspect_ratio or operation")
    operation = value.get("operation", "create")
    if operation not in OPERATIONS:
        raise ValueError(f"operation: expected one of {', '.join(OPERATIONS)}")
    fields = {name: wanted for name, wanted in value.items() if name != "operation"}
    for name, wanted in fields.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name[:80]!r}{near_names(name, (*FIELDS, 'operation'))}")
        if operation != "create":
            raise ValueError(f"{name} can be asked of a creation only, not of {operation}")
        _check_field(name, wanted)
    return operation, fields


def _check_field(name: str, wanted: Any) -> None:
    if name == "prompt":
        pattern(wanted)
    elif name == "has_image" and not isinstance(wanted, bool):
        raise ValueError("has_image: expected true or false")
    elif name == "duration" and wanted not in (10, 15):
        raise ValueError("duration: expected 10 or 15")
    elif name == "aspect_ratio" and wanted not in ("16:9", "9:16"):
        raise ValueError("aspect_ratio: expected 16:9 or 9:16")


def pattern(text: Any) -> str:
    """A regular expression, as it was written. Raises ValueError that says what is wrong with it."""
    if not isinstance(text, str) or len(text) > LONGEST_PATTERN:
        raise ValueError(f"expected a regular expression of at most {LONGEST_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ValueError(f"{text[:80]!r} is no regular expression: {problem}") from None
    return text


class ModerationRule(msgspec.Struct, frozen=True):
    """What a moderator objects to: a pattern of the prompt, or one of an image's address; either is enough."""

    type: str
    stage: Stage
    prompt: str | None = None
    image: str | None = None

    @property
    def scenario(self) -> str:
        """The name of the scenario that it leads to."""
        return f"moderation_{self.type}{'' if self.stage == 'processing' else '_' + self.stage}"

    def objection(self, found: Mapping[str, Any]) -> str | None:
        """The pattern that refuses the creation with these `facts`, the prompt's or the image's; None for neither."""
        if self.prompt is not None and re.search(self.prompt, found["prompt"]):
            return self.prompt
        if self.image is not None and any(re.search(self.image, url) for url in found["image_urls"]):
            return self.image
        return None


def read_moderation_rule(value: Any) -> ModerationRule:
    """A rule of the configuration. Raises ValueError that says what would be right."""
    if not isinstance(value, dict):
        raise ValueError("expected a table with prompt or image, type and stage")
    given = {"stage": "processing", **value}
    if "pattern" in given and "prompt" not in given:
        given["prompt"] = given.pop("pattern")
    for name in given:
        if name not in ("prompt", "image", "type", "stage"):
            raise ValueError(f"unknown key {name[:80]!r}{near_names(name, ('prompt', 'image', 'type', 'stage'))}")
    if given.get("type") not in SUB_TYPES:
        raise ValueError(f"type: expected one of {', '.join(SUB_TYPES)}")
    if given["stage"] not in ("input", "processing", "output"):
        raise ValueError("stage: expected input, processing or output")
    patterns = {name: pattern(given[name]) for name in ("prompt", "image") if name in given}
    if not patterns:
        raise ValueError("expected prompt or image, a regular expression")
    return ModerationRule(given["type"], given["stage"], **patterns)
