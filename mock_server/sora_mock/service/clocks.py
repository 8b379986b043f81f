"""How the control API changes clocks: of one account, or of all accounts and new ones."""

from collections.abc import Callable

import msgspec

from sora_mock.domain.clock import Clock
from sora_mock.domain.events import CallbackPlanned
from sora_mock.service.context import Service
from sora_mock.service.tasks import settle
from sora_mock.storage.memory import MemoryAccount


def clock(service: Service, key: str | None) -> Clock:
    """The clock of a key's account; without a key that of new accounts."""
    return service.storage.defaults.clock if key is None else service.storage.account(key).facts.clock


def latest_time(service: Service, key: str | None) -> float:
    """The latest time that any clock in question shows."""
    real = service.real_now()
    if key is not None:
        return service.storage.account(key).facts.clock.at(real)
    clocks = [service.storage.defaults.clock, *(each.facts.clock for each in service.storage.accounts())]
    return max(each.at(real) for each in clocks)


def change(
    service: Service, key: str | None, *, speed: float | None, frozen: bool | None, per_request: float | None
) -> None:
    """Sets what is not None; the clocks show the same time as before. key: None for all accounts and new ones."""
    real, storage = service.real_now(), service.storage

    def changed(former: Clock) -> Clock:
        return former.changed(real, speed=speed, frozen=frozen, per_request=per_request)

    if key is None:
        storage.defaults = msgspec.structs.replace(storage.defaults, clock=changed(storage.defaults.clock))
    for account in storage.accounts(key):
        with account:
            account.facts = msgspec.structs.replace(account.facts, clock=changed(account.facts.clock))
            settle(account, service.now(account))
        service.events.publish(CallbackPlanned(account.facts.name))


def move(service: Service, account: MemoryAccount, now: float) -> None:
    """Sets an account's clock to a time that is not in its past, and settles the credits of what ended by then."""
    with account:
        moved = account.facts.clock.moved(service.real_now(), now)
        account.facts = msgspec.structs.replace(account.facts, clock=moved)
        settle(account, now)


def move_defaults(service: Service, target_time: Callable[[float], float]) -> None:
    """Sets the clock of new accounts to `target_time(now)`."""
    real, defaults = service.real_now(), service.storage.defaults
    moved = defaults.clock.moved(real, target_time(defaults.clock.at(real)))
    service.storage.defaults = msgspec.structs.replace(defaults, clock=moved)
