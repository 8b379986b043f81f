"""What shall happen to a task: durations and an outcome, which become a plan once."""

import math
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from sora_mock.domain.errors import near_names
from sora_mock.domain.plan import STEADY, Outcome, Plan

LONGEST = 10 * 365 * 86400.0
"""Seconds; a task that takes longer than ten years is a mistake in a test."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named course of events. Durations are seconds of the account's clock.

    outcome: how the task ends; `stuck` never does.
    generation_time: creation to end; None takes the server's.
    queue_time: the pending part of it; None takes the server's share.
    """

    name: str
    description: str
    outcome: Outcome | Literal["stuck"] = "completed"
    generation_time: float | None = None
    queue_time: float | None = None

    def plan(self, created_at: float, generation_time: float, queue_share: float) -> Plan:
        """The moments of a task created at `created_at`; the other two are what the server takes by default."""
        total = generation_time if self.generation_time is None else self.generation_time
        queued = total * queue_share if self.queue_time is None else min(self.queue_time, total)
        full_at = created_at + total
        if self.outcome == "stuck":
            return Plan(created_at, created_at + queued, full_at, math.inf)
        return Plan(created_at, created_at + queued, full_at, full_at, self.outcome, None, STEADY)


_TOKEN = re.compile(r"\[\[mock:(.*?)\]\]", re.DOTALL)


def prompt_token(prompt: str) -> str | None:
    """What stands in the first `[[mock:...]]` of a prompt; None without one."""
    if "[[mock:" not in prompt:
        return None
    found = _TOKEN.search(prompt)
    # a token that was never closed is a mistake, and told as an unknown name
    return prompt[prompt.index("[[mock:") + 7 :][:80] if found is None else found[1]


def parse_selection(written: str, catalogue: Mapping[str, Scenario]) -> Scenario:
    """The scenario that `NAME` stands for. Raises ValueError that lists near names."""
    name = written.strip()
    if name not in catalogue:
        raise ValueError(f"unknown scenario {name[:80]!r}{near_names(name, catalogue)}")
    return catalogue[name]
