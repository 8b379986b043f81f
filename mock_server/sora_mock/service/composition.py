"""Makes the service from its settings: contract, models, scenarios, moderation rules and an empty storage."""

from collections.abc import Callable, Mapping

from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain.contract import Contract
from sora_mock.domain.events import CallbackPlanned
from sora_mock.domain.models import DEFAULT_MODEL, Model, read_models
from sora_mock.domain.moderation import ModerationRule, read_moderation_rule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import (
    ParameterLimits,
    built_in_catalogue,
    find_scenario,
    with_user_scenarios,
)
from sora_mock.runtime import clock, package_data
from sora_mock.runtime.events import EventBus
from sora_mock.runtime.randomness import new_seed
from sora_mock.service.authentication import new_facts
from sora_mock.service.context import Service, initial_defaults
from sora_mock.service.selection import Selector
from sora_mock.storage.memory import MemoryStorage


def build_service(settings: Settings, real_now: Callable[[], float] = clock.real_now) -> Service:
    """The service with no account and no task. Raises SettingError for settings that do not fit together."""
    contract = Contract(package_data.contract_document())
    limits = ParameterLimits(contract.failure_messages, settings.generation_time[1])
    try:
        catalogue = with_user_scenarios(built_in_scenarios(), settings.scenarios, limits)
        find_scenario(settings.scenario, catalogue)
    except ValueError as problem:
        raise SettingError(str(problem)) from None
    seed = new_seed() if settings.seed is None else settings.seed
    selector = Selector(
        catalogue,
        limits,
        default=settings.scenario,
        seed=seed,
        failure_rate=settings.failure_rate,
        moderation_rate=settings.moderation_rate,
        moderation_rules=settings.moderation_rules + (strict_moderation() if settings.strict_moderation else ()),
    )
    events = EventBus()
    storage = MemoryStorage(
        initial_defaults(settings, real_now()),
        lambda key, defaults: new_facts(key, defaults, real_now()),
        settings.history_size,
        # the callbacks of a forgotten account need no timer
        lambda name: events.publish(CallbackPlanned(name)),
    )
    return Service(settings, contract, models(settings.prices), storage, events, selector, seed, real_now)


def models(prices: Mapping[int, int]) -> dict[str, Model]:
    """The enabled models by name. prices: the user's, by duration, in units of 1/10,000 credit."""
    tables = read_models(package_data.model_tables())
    return {DEFAULT_MODEL: tables[DEFAULT_MODEL].with_prices(prices)}


def built_in_scenarios() -> dict[str, Scenario]:
    """The catalogue of `fixtures/scenarios/`, by name."""
    return built_in_catalogue(package_data.scenario_tables())


def strict_moderation() -> tuple[ModerationRule, ...]:
    """The rules of `fixtures/moderation/strict.toml`, in their order."""
    return tuple(read_moderation_rule(rule) for rule in package_data.moderation_tables())
