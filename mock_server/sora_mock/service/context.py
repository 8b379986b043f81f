"""What every operation needs, as one value: settings, rules, storage, events and the real time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import msgspec

from sora_mock.config.settings import Settings
from sora_mock.domain.clock import Clock
from sora_mock.domain.contract import Contract
from sora_mock.domain.models import Model
from sora_mock.domain.pattern import QueuedPatterns
from sora_mock.runtime.events import EventBus
from sora_mock.service.selection import Selector
from sora_mock.storage.facts import AccountDefaults
from sora_mock.storage.memory import MemoryAccount, MemoryStorage

encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Service:
    """The emulated service.

    models: the enabled models by name.
    selector: chooses the scenario of each request.
    seed: every random choice follows from it.
    real_now: Unix seconds of the machine; a test gives another function to stop the time.
    rule_numbers: numbers of the rules that are queued. patterns: counts the patterns of those rules.
    """

    settings: Settings
    contract: Contract
    models: Mapping[str, Model]
    storage: MemoryStorage
    events: EventBus
    selector: Selector
    seed: int
    real_now: Callable[[], float]
    rule_numbers: Iterator[int] = field(default_factory=lambda: count(1))
    patterns: QueuedPatterns = field(default_factory=QueuedPatterns)

    def now(self, account: MemoryAccount) -> float:
        """The time of an account's clock."""
        return account.facts.clock.at(self.real_now())


def initial_defaults(settings: Settings, real_now: float) -> AccountDefaults:
    """What accounts begin with before any control request."""
    clock = Clock(real_now, real_now, settings.speed, settings.frozen_clock)
    return AccountDefaults(clock, settings.credits, settings.rate_limit)
