"""Requests that schemathesis generates from the contract file, and the shape of every response."""

from typing import TYPE_CHECKING

from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET, TEN_SECONDS, rule
from sora_mock.verify.target import Target

if TYPE_CHECKING:
    from sora_mock.verify.generator import Generator

CONTRACT = "the contract file, every schema of it"


def generator(target: Target) -> "Generator":
    """A generator for an account with unlimited credits."""
    # it loads schemathesis, which only these rules need
    from sora_mock.verify.generator import Generator

    if target.is_mock:
        target.control("PATCH", "/account", {"remaining_credits": "unlimited"})
    return Generator(target)


@rule(
    id="generated.create.accepted",
    claim="a create request that the contract allows is accepted, and its response has the documented shape",
    source=CONTRACT,
    price=TEN_SECONDS,
    greedy=True,
)
def accepted(target: Target) -> None:
    """The boundaries of every field, then random requests."""
    generator(target).sweep("POST /v1/videos/generations", "positive")


@rule(
    id="generated.create.refused",
    claim="a create request that the contract does not allow gets 400 and the envelope",
    source=CONTRACT,
    needs={REJECTION_BUDGET},
)
def refused(target: Target) -> None:
    """Every field with a wrong value, other methods, other bodies."""
    generator(target).sweep("POST /v1/videos/generations", "negative")


@rule(id="generated.query", claim="the response to a query of any task id is documented", source=CONTRACT)
def query(target: Target) -> None:
    """Valid and invalid ids."""
    sweeps = generator(target)
    sweeps.sweep("GET /v1/tasks/{task_id}", "positive")
    sweeps.sweep("GET /v1/tasks/{task_id}", "negative")


@rule(id="generated.credits", claim="the response to any request for the balance is documented", source=CONTRACT)
def balance(target: Target) -> None:
    """All kinds of headers and methods."""
    generator(target).sweep("GET /v1/credits", "positive")


@rule(
    id="generated.link",
    claim="the link of a create request leads to its task",
    source="the contract file, links of createVideoGeneration",
    price=FIFTEEN_SECONDS,
)
def link(target: Target) -> None:
    """Create requests, then the contract's links from their responses."""
    generator(target).walk()
