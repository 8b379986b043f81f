"""What the rules of one run share."""

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
    """What the rules of one run share.

    control: whether the target has a control API. surprise: whether the guard may spend on a body that should be
    refused. max_examples: generated requests of a kind. spare: credits that a greedy rule has beyond
    its price. shared: the one creation of the live service; not_shared: why there is none. gone: whether the guard
    ended during the run.
    """

    url: str
    http: "httpx.Client"
    contract: Contract
    control: bool
    seed: int
    patience: float
    surprise: bool = False
    max_examples: int = MAX_EXAMPLES
    spare: float = 0.0
    interrupted: bool = False
    gone: bool = False
    shared: TargetResponse | None = None
    not_shared: str | None = None
    lock: Lock = field(default_factory=Lock)
    secrets: tuple[str, ...] = ()
