"""Which code is changed blindly: the files of the contract, and the areas whose rules are tried first on each file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parents[2] / "mock_server" / "sora_mock"


@dataclass(frozen=True)
class Scope:
    """The part of a file that is changed.

    areas: the areas of the rules that are tried first.
    only: names of the classes and functions that are changed; empty changes everything.
    without: those that concern the mock alone, as `Class.function`.
    """

    areas: tuple[str, ...]
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def holds(self, place: str) -> bool:
        """Whether a place is in scope. place: such as `Class.function`; empty for the module itself."""
        return (not self.only or _is_within(place, self.only)) and not _is_within(place, self.without)


def _is_within(place: str, names: tuple[str, ...]) -> bool:
    return any(place == name or place.startswith(name + ".") for name in names)


SCOPES: Final[Mapping[str, Scope]] = {
    "domain/byte_range.py": Scope(("link",)),
    "domain/callback_url.py": Scope(("callback",), without=("is_local",)),
    "domain/contract.py": Scope(
        ("create", "hostile", "envelope", "query", "idempotency"), without=("_readable", "_expected", "_shown")
    ),
    "domain/delivery.py": Scope(("callback",)),
    "domain/errors.py": Scope(("route", "query", "envelope", "auth", "rate", "hostile"), without=("near_names",)),
    "domain/ids.py": Scope(("creation", "link"), only=("task_suffix", "account_name")),
    "domain/ledger.py": Scope(("money",), without=("to_units",)),
    "domain/lifecycle.py": Scope(("life",)),
    "domain/models.py": Scope(("money", "link", "create"), only=("Model",), without=("Model.with_prices",)),
    "domain/plan.py": Scope(("life", "money")),
    "domain/queue_rule.py": Scope(("creation",)),
    "domain/scenario.py": Scope(("life", "creation", "callback")),
    "domain/scenario_parameters.py": Scope(("creation", "life"), without=("with_user_scenarios",)),
    "domain/shape.py": Scope(("creation",)),
    "domain/task.py": Scope(("creation", "life", "link")),
    "domain/token_bucket.py": Scope(("rate",), without=("parse_rate_limit",)),
    "storage/deliveries.py": Scope(("callback",)),
    "storage/due.py": Scope(("money", "callback")),
    "storage/facts.py": Scope(("money", "rate", "creation")),
    "storage/memory.py": Scope(("money", "foreign", "idempotency", "link")),
    "service/admission.py": Scope(("rate", "creation", "auth")),
    "service/authentication.py": Scope(("auth", "money", "hostile"), without=("_has_key",)),
    "service/callbacks.py": Scope(("callback",), without=("receive",)),
    "service/context.py": Scope(("life", "callback"), only=("Service",)),
    "service/credits.py": Scope(("money", "credits"), without=("set_balance", "set_rate_limit")),
    "service/files.py": Scope(("link",)),
    "service/selection.py": Scope(("creation", "life", "money")),
    "service/tasks.py": Scope(("query", "foreign", "money", "life"), without=("finish",)),
    "service/videos.py": Scope(("creation", "create", "money", "idempotency")),
    "callbacks/scheduler.py": Scope(("callback",), without=("Scheduler.redeliver",)),
    "callbacks/sender.py": Scope(("callback",)),
    "callbacks/resolver.py": Scope(("callback",)),
    "api/endpoint.py": Scope(("hostile", "route", "query", "create", "link")),
    "api/errors.py": Scope(("route", "envelope", "hostile"), without=("_exists_below_v1",)),
    "api/exchange.py": Scope(
        ("hostile", "create", "link"), without=("ExchangeMiddleware._record", "ExchangeMiddleware._record_malformed")
    ),
    "api/reading.py": Scope(("hostile", "create", "link")),
    "runtime/protocol.py": Scope(("hostile", "route", "create")),
    "runtime/joined_writes.py": Scope(("hostile", "route", "create")),
    "runtime/refusal.py": Scope(("hostile",)),
    "app.py": Scope(
        ("route", "query", "link", "hostile"), only=("create_app", "_not_found", "_method_not_allowed", "_methods")
    ),
}
"""Most files that steer or compose the mock are left out, because the service has none of them: settings, model tables,
moderation rules, faults, the control API and its routes in `app.py`, journal, inboxes, clocks, command line. The choice
of scenarios, their parameters and the shapes of other versions are in, because tests of clients rely on them. Within a
file `without` leaves out what concerns the mock alone, or only words a message."""
