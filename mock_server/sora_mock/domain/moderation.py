"""Moderation rules of the configuration: which create requests a moderator rejects, and at which stage."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain.errors import near_names
from sora_mock.domain.pattern import Pattern, PatternBudget, read_pattern

Stage = Literal["input", "processing", "output"]
"""When moderation rejects: at the create request, while the task is processing, or near the end of the task."""

SUB_TYPES: Final = ("real_person", "celebrity", "third_party", "nudity", "violence", "minor", "policy")
"""What moderation rejects; each has scenarios `moderation_...`."""


class ModerationRule(msgspec.Struct, frozen=True):
    """What a moderator rejects. One matching pattern is enough.

    type: one of `SUB_TYPES`.
    stage: when moderation rejects.
    prompt: pattern that is searched in the prompt; None does not look at the prompt.
    image: pattern that is searched in each image URL; None does not look at them.
    """

    type: str
    stage: Stage
    prompt: Pattern | None = None
    image: Pattern | None = None

    @property
    def scenario(self) -> str:
        """The name of the scenario that a matching request gets."""
        return f"moderation_{self.type}{'' if self.stage == 'processing' else '_' + self.stage}"

    def matching_pattern(self, facts: Mapping[str, Any], patterns: PatternBudget) -> Pattern | None:
        """The pattern that matches the `request_facts` of a create request; None where neither does in time.

        patterns: the time that is left for the patterns of this request.
        """
        if self.prompt is not None and patterns.search(self.prompt, facts["prompt"]):
            return self.prompt
        if self.image is not None and any(patterns.search(self.image, url) for url in facts["image_urls"]):
            return self.image
        return None


def read_moderation_rule(value: Any) -> ModerationRule:
    """A rule of the configuration. Raises ValueError that says what is expected."""
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
    patterns = {name: read_pattern(given[name]) for name in ("prompt", "image") if name in given}
    if not patterns:
        raise ValueError("expected prompt or image, a regular expression")
    return ModerationRule(given["type"], given["stage"], **patterns)
