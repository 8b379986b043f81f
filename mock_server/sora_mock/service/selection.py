"""Which scenario a request gets, and which rule chose it, strongest first (docs/scenarios.md)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sora_mock.domain import ids, queue_rule
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import Exchange
from sora_mock.domain.models import Model
from sora_mock.domain.moderation import SUB_TYPES, ModerationRule
from sora_mock.domain.pattern import PatternBudget
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import TOKEN_START, ParameterLimits, parse_selection, prompt_token
from sora_mock.runtime.clock import processor_time
from sora_mock.storage.memory import MemoryAccount

HEADER: Final = "header"
TOKEN: Final = "token in the prompt"  # noqa: S105  # this is no password

TIMEOUT_HINT: Final = "a pattern ran out of time; `unmatched` in the journal names it"

_FAILURES: Final = (
    "failed_service_error",
    "failed_generation_timeout",
    "failed_resource_exhausted",
    "failed_generation_failed_no_content",
    "failed_service_unavailable",
    "failed_image_processing_error",
    "failed_unknown_error",
)
"""What `--failure-rate` chooses from: failures that the client did not cause."""

_MODERATIONS: Final = tuple(f"moderation_{sub_type}" for sub_type in SUB_TYPES)
"""What `--moderation-rate` chooses from."""


class Selector:
    """Chooses scenarios from a catalogue, and writes every choice and its rule into the exchange.

    catalogue: all scenarios by name. limits: what parameters are checked against.
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
        """`default` names the default scenario; rates are 0 to 1 of the create requests."""
        self.catalogue = catalogue
        self.limits = limits
        self._default = catalogue[default]
        self._seed = seed
        rates = (("failure", failure_rate, _FAILURES), ("moderation", moderation_rate, _MODERATIONS))
        self._rates = [each for each in rates if each[1] > 0]
        self._moderation_rules = moderation_rules

    def from_header(self, exchange: Exchange) -> Scenario | None:
        """The scenario that X-Mock-Scenario names; None without it. Raises ApiError 400 `unknown_scenario`."""
        written = exchange.headers.get(b"x-mock-scenario")
        return None if written is None else self._parsed(written.decode("utf-8", "replace"), "X-Mock-Scenario")

    def from_token(self, prompt: str) -> Scenario | None:
        """The scenario that `[[mock:NAME key=value]]` in a prompt names; None without it.

        Raises ApiError 400 `unknown_scenario`.
        """
        return self._parsed(prompt, "prompt") if TOKEN_START in prompt else None

    def for_create(
        self, exchange: Exchange, account: MemoryAccount, create_number: int, request: Mapping[str, Any], model: Model
    ) -> Scenario:
        """The scenario of a create request without header and token.

        create_number: counts the account's create requests, from 0. request: the body with its defaults.
        model: the model that the request names.
        """
        facts = queue_rule.request_facts(request, model) if account.facts.queue or self._moderation_rules else {}
        patterns = PatternBudget(processor_time)
        queued = self.from_queue(exchange, account, "create", facts, patterns)
        if queued is not None:
            return queued
        name = account.facts.name
        for purpose, rate, choices in self._rates:
            if ids.chance(self._seed, name, create_number, purpose) < rate:
                chosen = choices[ids.number(self._seed, name, create_number, f"which {purpose}") % len(choices)]
                rule = f"{purpose} rate {rate:g}, create request {create_number + 1}"
                return self.use(exchange, self.catalogue[chosen], rule)
        for number, moderation in enumerate(self._moderation_rules, 1):
            pattern = moderation.matching_pattern(facts, patterns)
            if pattern is not None:
                return self.use(exchange, self.catalogue[moderation.scenario], f"moderation rule {pattern!r}")
            if patterns.ran_out is not None:
                line = f"moderation rules from {number} on: {patterns.ran_out!r} used up the time of all patterns"
                exchange.unmatched, exchange.hint = [*exchange.unmatched, line], TIMEOUT_HINT
                break
        return self.use(exchange, self._default, "default scenario")

    def for_response(
        self, exchange: Exchange, account: MemoryAccount | None, operation: str, named: Scenario | None
    ) -> Scenario | None:
        """The scenario that changes the response to a query or a download: the named one, otherwise a queued one."""
        if named is not None and named.affects(operation):
            return self.use(exchange, named, HEADER)
        if named is not None:
            exchange.rule = f"ignored: {named.name} does not change the response of operation {operation}"
        if account is None or not account.facts.queue:
            return None
        return self.from_queue(exchange, account, operation, {}, PatternBudget(processor_time))

    def from_queue(
        self,
        exchange: Exchange,
        account: MemoryAccount,
        operation: str,
        request_facts: Mapping[str, Any],
        patterns: PatternBudget,
    ) -> Scenario | None:
        """The scenario of the first queued rule that matches, which is used up by one; None where none matches.

        patterns: the time that is left for the patterns of this request.
        """
        if not account.facts.queue:
            return None
        rule, queue, exchange.unmatched = queue_rule.take_matching(
            account.facts.queue, operation, request_facts, patterns
        )
        if patterns.ran_out is not None:
            exchange.hint = TIMEOUT_HINT
        if rule is None:
            return None
        account.facts = msgspec.structs.replace(account.facts, queue=queue)
        return self.use(exchange, rule.scenario, rule.label)

    def _parsed(self, written: str, param: str) -> Scenario:
        try:
            if param == "prompt":
                written = prompt_token(written)
            return parse_selection(written, self.catalogue, self.limits)
        except ValueError as problem:
            raise ApiError(400, f"{param}: {problem}", code="unknown_scenario", param=param) from None

    def use(self, exchange: Exchange, scenario: Scenario, rule: str) -> Scenario:
        """Writes a choice and its rule into the exchange."""
        exchange.scenario, exchange.rule = scenario.name, rule
        exchange.fault, exchange.latency, exchange.shape = scenario.fault, scenario.latency, scenario.shape
        return scenario
