"""The common state of the rules of one run."""

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from sora_mock.domain.contract import Contract
from sora_mock.verify.flags import MAX_EXAMPLES
from sora_mock.verify.reply import TargetResponse

if TYPE_CHECKING:
    import httpx


@dataclass
class VerifySession:
    """The common state of the rules of one run.

    control: whether the target has a control API. patience: real seconds for one rule. rejection_budget: whether the
    guard may spend on a body that the service should reject. max_examples: generated requests of each kind.
    spare: credits that a greedy rule may spend beyond its price. common: the response to the one create request that
    several rules use on the live service. common_lost: why there is none, None if there is one or no rule sent it yet.
    guard_ended: whether the guard ended during the run.
    """

    url: str
    http: "httpx.Client"
    contract: Contract
    control: bool
    seed: int
    patience: float
    rejection_budget: bool = False
    max_examples: int = MAX_EXAMPLES
    spare: float = 0.0
    interrupted: bool = False
    guard_ended: bool = False
    common: TargetResponse | None = None
    common_lost: str | None = None
    lock: Lock = field(default_factory=Lock)
    secrets: tuple[str, ...] = ()
