"""The contract as rules that run against the mock and, as far as money allows, against the live service."""

from contract_tests import (
    authentication,
    callbacks,
    creation,
    envelope,
    fields,
    generated,
    hostile,
    idempotency,
    life,
    links,
    money,
    ownership,
    rate,
)

AREAS = (
    authentication,
    envelope,
    fields,
    creation,
    life,
    money,
    ownership,
    rate,
    links,
    callbacks,
    idempotency,
    hostile,
    generated,
)
"""The files of rules, cheap and basic ones first."""
