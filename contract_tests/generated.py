"""What nobody thought of: requests that schemathesis makes from the contract file, and the shape of every answer."""

from typing import TYPE_CHECKING

from sora_mock.verify.rule import FIFTEEN_SECONDS, TEN_SECONDS, rule
from sora_mock.verify.target import Target

if TYPE_CHECKING:
    from sora_mock.verify.generator import Generator

CONTRACT = "the contract file, every schema of it"


def generator(target: Target) -> "Generator":
    """On an account that never runs out; schemathesis is loaded when the first such rule runs."""
    from sora_mock.verify.generator import Generator

    if target.is_mock:
        target.control("PATCH", "/account", {"remaining_credits": "unlimited"})
    return Generator(target)


@rule(
    id="generated.create.accepted",
    claim="a creation that the contract allows is accepted, and its reply has the documented shape",
    source=CONTRACT,
    price=TEN_SECONDS,
    greedy=True,
)
def accepted(target: Target) -> None:
    """Boundaries of every field, then chance."""
    generator(target).sweep("POST /v1/videos/generations", "positive")


@rule(
    id="generated.create.refused",
    claim="a creation that the contract does not allow is refused with 400 and the envelope",
    source=CONTRACT,
    needs={"surprise"},
)
def refused(target: Target) -> None:
    """Every field broken on purpose, other methods, other bodies."""
    generator(target).sweep("POST /v1/videos/generations", "negative")


@rule(id="generated.query", claim="whatever task is asked for, the answer is documented", source=CONTRACT)
def query(target: Target) -> None:
    """Ids that fit and ids that do not."""
    sweeps = generator(target)
    sweeps.sweep("GET /v1/tasks/{task_id}", "positive")
    sweeps.sweep("GET /v1/tasks/{task_id}", "negative")


@rule(id="generated.credits", claim="however the balance is asked for, the answer is documented", source=CONTRACT)
def balance(target: Target) -> None:
    """Headers and methods of all kinds."""
    generator(target).sweep("GET /v1/credits", "positive")


@rule(
    id="generated.link",
    claim="the link of a creation leads to its task",
    source="the contract file, links of createVideoGeneration",
    price=FIFTEEN_SECONDS,
)
def link(target: Target) -> None:
    """Creations, then what the contract's links make of their replies."""
    generator(target).walk()
