"""Which scenario a request gets, and which rule chose it, in the order of strength of docs/reference.md."""

from collections.abc import Mapping
from typing import Any

from sora_mock.domain import ids, queue_rule
from sora_mock.domain.errors import ApiError
from sora_mock.domain.moderation import SUB_TYPES, ModerationRule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import TOKEN_START, ParameterLimits, parse_selection, prompt_token
from sora_mock.service.calls import Call
from sora_mock.storage.memory import Account


class Selector:
    """Chooses from the catalogue. Every choice is written into the call: scenario, rule, near misses of the queue.

    limits: what parameters are checked against. default: the name of the scenario of last resort.
    failure_rate, moderation_rate: shares 0 to 1 of creations, drawn from the seed, the account and the creation.
    """

    def __init__(
        self,
        catalogue: Mapping[str, Scenario],
        limits: ParameterLimits,
        *,
        default: str,
        seed: int,
        failure_rate: float,
        moderation_rate: float,
        moderation_rules: tuple[ModerationRule, ...],
    ) -> None:
        self.catalogue = catalogue
        self.limits = limits
        self.default = default
        self.seed = seed
        chances = (("failure", failure_rate, _FAILURES), ("moderation", moderation_rate, _MODERATIONS))
        self.chances = [each for each in chances if each[1] > 0]
        self.moderation_rules = moderation_rules

    def by_header(self, call: Call) -> Scenario | None:
        """What the header X-Mock-Scenario names. Raises ApiError 400 `unknown_scenario`."""
        written = call.headers.get(b"x-mock-scenario")
        return None if written is None else self._parsed(written.decode("utf-8", "replace"), "X-Mock-Scenario")

    def by_token(self, prompt: str) -> Scenario | None:
        """What a token in the prompt names, `[[mock:NAME key=value]]`. Raises ApiError 400 `unknown_scenario`."""
        return self._parsed(prompt, "prompt") if TOKEN_START in prompt else None

    def for_creation(self, call: Call, account: Account, creation: int, request: Mapping[str, Any]) -> Scenario:
        """What the queue, chance, moderation rules or the default choose. `request` is the creation's body."""
        found = queue_rule.request_facts(request) if account.queue or self.moderation_rules else {}
        queued = self.by_queue(call, account, "create", found)
        if queued is not None:
            return queued
        for purpose, share, names in self.chances:
            if ids.chance(self.seed, account.name, creation, purpose) < share:
                name = names[ids.number(self.seed, account.name, creation, f"which {purpose}") % len(names)]
                return self.use(call, self.catalogue[name], f"{purpose} rate {share:g}, creation {creation + 1}")
        for rule in self.moderation_rules:
            pattern = rule.matching_pattern(found)
            if pattern is not None:
                return self.use(call, self.catalogue[rule.scenario], f"moderation rule {pattern!r}")
        return self.use(call, self.catalogue[self.default], "default scenario")

    def for_reply(
        self, call: Call, account: Account | None, operation: str, header: Scenario | None
    ) -> Scenario | None:
        """What the header, or else the queue, does to the answer of a poll, a credits query or a download."""
        if header is not None and header.affects(operation):
            return self.use(call, header, HEADER)
        if header is not None:
            call.rule = f"ignored: {header.name} does nothing to the answer of a {operation}"
        return None if account is None else self.by_queue(call, account, operation, {})

    def by_queue(self, call: Call, account: Account, operation: str, found: Mapping[str, Any]) -> Scenario | None:
        """What the account's queue holds for this request; takes it out."""
        if not account.queue:
            return None
        rule, account.queue, passed = queue_rule.take_matching(account.queue, operation, found)
        call.unmatched = passed
        return None if rule is None else self.use(call, rule.scenario, rule.label)

    def _parsed(self, written: str, param: str) -> Scenario:
        try:
            if param == "prompt":
                written = prompt_token(written)
            return parse_selection(written, self.catalogue, self.limits)
        except ValueError as problem:
            raise ApiError(400, f"{param}: {problem}", code="unknown_scenario", param=param) from None

    def use(self, call: Call, scenario: Scenario, rule: str) -> Scenario:
        """Writes the choice into the call."""
        call.scenario, call.rule, call.touch = scenario.name, rule, scenario
        return scenario


HEADER = "header"
TOKEN = "token in the prompt"  # noqa: S105  # no password

_FAILURES = (
    "failed_service_error",
    "failed_generation_timeout",
    "failed_resource_exhausted",
    "failed_generation_failed_no_content",
    "failed_service_unavailable",
    "failed_image_processing_error",
    "failed_unknown_error",
)
"""What `--failure-rate` draws from: failures that are nobody's fault."""

_MODERATIONS = tuple(f"moderation_{sub_type}" for sub_type in SUB_TYPES)
