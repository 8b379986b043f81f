"""Faults to plant into a mock, by area, each with the rules that have to catch it."""

from typing import Final

from tests.contract.faults import (
    access,
    blind,
    bodies,
    callbacks,
    fields,
    generated,
    links,
    money,
    planting,
    steering,
    tasks,
)

FAULTS: Final = tuple(
    planting.of(
        callbacks.DELIVERIES,
        callbacks.ADDRESSES,
        access.KEYS,
        access.FOREIGN,
        access.LIMITS,
        fields.FIELDS,
        bodies.BODIES,
        tasks.ENVELOPES,
        tasks.CREATED,
        tasks.LIVES,
        money.CREDIT,
        money.REPLAYS,
        links.LINKS,
        generated.GENERATED,
        blind.BLIND,
        steering.STEERED,
        steering.SHAPED,
    )
)
"""All faults; the one that takes longest is the first."""
