"""Faults to plant into a mock, by area, each with the rules that have to catch it."""

from typing import Final

from tests.contract.faults import access, callbacks, links, money, orders, planting, replies

FAULTS: Final = tuple(
    planting.of(
        callbacks.CALLS,
        callbacks.ADDRESSES,
        access.KEYS,
        access.FOREIGN,
        access.LIMITS,
        orders.FIELDS,
        orders.BODIES,
        replies.ENVELOPES,
        replies.CREATIONS,
        replies.LIVES,
        money.CREDIT,
        money.REPLAYS,
        links.LINKS,
    )
)
"""All of them; the one that takes longest stands first."""
