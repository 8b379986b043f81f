"""Which code is changed blindly: the rooms that bear the contract, and the areas whose rules look at each first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parents[2] / "mock_server" / "sora_mock"


@dataclass(frozen=True)
class Scope:
    """What of a file is changed.

    areas: of rules that are tried first. only: names of its classes and functions, everything where there are none.
    without: those that are about the mock itself, as `Class.function`.
    """

    areas: tuple[str, ...]
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def holds(self, place: str) -> bool:
        """Whether a change at `place`, such as `Class.function` or nothing for the module itself, is in scope."""
        return (not self.only or _is_within(place, self.only)) and not _is_within(place, self.without)


def _is_within(place: str, names: tuple[str, ...]) -> bool:
    return any(place == name or place.startswith(name + ".") for name in names)


SCOPES: Final[Mapping[str, Scope]] = {
    "domain/callback_url.py": Scope(("callback",)),
    "domain/contract.py": Scope(
        ("create", "hostile", "envelope", "query", "idempotency"), without=("_readable", "_expected", "_shown")
    ),
    "domain/delivery.py": Scope(("callback",)),
    "domain/errors.py": Scope(("route", "query", "envelope", "auth", "rate", "hostile"), without=("near_names",)),
    "domain/ledger.py": Scope(("money",), without=("to_units",)),
    "domain/lifecycle.py": Scope(("life",)),
    "domain/plan.py": Scope(("life", "money")),
    "domain/scenario.py": Scope(("life", "creation", "callback"), only=("Scenario",)),
    "domain/task.py": Scope(("creation", "life", "link")),
    "domain/token_bucket.py": Scope(("rate",), without=("parse_rate_limit",)),
    "domain/ids.py": Scope(("creation", "link"), only=("task_suffix", "account_name")),
    "storage/memory.py": Scope(("money", "callback", "foreign", "idempotency")),
    "service/emulator.py": Scope(
        ("money", "auth", "rate", "link", "idempotency", "create", "envelope", "foreign"),
        without=("Emulator.first_template", "Emulator.record"),
    ),
    "service/selection.py": Scope(("life", "money", "creation"), without=("Selector.by_token", "Selector._parsed")),
    "service/callbacks.py": Scope(("callback",), without=("Callbacks.receive", "Callbacks.inbox")),
    "callbacks/scheduler.py": Scope(("callback",), without=("Worker.redeliver",)),
    "callbacks/sender.py": Scope(("callback",)),
    "callbacks/resolver.py": Scope(("callback",)),
    "runtime/protocol.py": Scope(("hostile", "route", "create"), without=("Protocol._send_later",)),
    "api/endpoint.py": Scope(("hostile", "route", "query", "create", "link")),
    "api/files.py": Scope(("link",)),
    "api/answers.py": Scope(("link", "hostile", "envelope")),
}
"""Left out are rooms that steer or compose the mock (settings, the reading of scenarios and queue rules, moderation
rules, harm to replies, shapes of other versions, the control API, journal, inboxes, clock, command line): the service
has none of them. Within a file `without` leaves out what is only of the mock, or only words a message."""
