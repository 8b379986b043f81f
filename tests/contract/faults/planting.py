"""What a fault is, and the ways to plant one into the mock that the next server is made of."""

import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

import msgspec
import pytest

from sora_mock import app
from sora_mock.domain import contract
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from sora_mock.storage.memory import MemoryAccount
from tests.contract.faults.responses import CREATE, Change, Edit, Faulty

Plant = Callable[[pytest.MonkeyPatch], None]

Table = Mapping[str, tuple[str, Plant]]
"""Faults by name: the rules that have to catch each (ids or patterns, with blanks between), and how to plant it."""


@dataclass(frozen=True)
class Fault:
    """One fault. Every rule whose id fits one of `patterns` has to catch it; `plant` changes the mock."""

    name: str
    patterns: tuple[str, ...]
    plant: Plant

    def own(self, known: Iterable[str]) -> list[str]:
        """The ids of its rules among the known ids. Raises LookupError for a pattern that fits none."""
        ids = list(known)
        for pattern in self.patterns:
            if not any(fnmatchcase(id, pattern) for id in ids):
                raise LookupError(f"{self.name}: no rule is called {pattern}")
        return [id for id in ids if any(fnmatchcase(id, pattern) for pattern in self.patterns)]


def of(*tables: Table) -> Iterator[Fault]:
    """The faults of tables. Raises ValueError for a name that is used twice."""
    seen = set()
    for table in tables:
        for name, (patterns, plant) in table.items():
            if name in seen:
                raise ValueError(f"two faults are called {name}")
            seen.add(name)
            yield Fault(name, tuple(patterns.split()), plant)


def ids(prefix: str, *names: Any) -> str:
    """The ids `prefix.name` as a table writes them."""
    return " ".join(f"{prefix}.{name}" for name in names)


def responses(change: Change) -> Plant:
    """Responses are changed on their way out."""
    return part("sora_mock.server", "create_app", lambda settings: Faulty(app.create_app(settings), change))


def part(owner: Any, attribute: str, value: Any) -> Plant:
    """An attribute of one owner has another value. owner: an object, or the name of a module."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        if isinstance(owner, str):
            patch.setattr(f"{owner}.{attribute}", value)
        else:
            patch.setattr(owner, attribute, value)

    return plant


def around(owner: Any, attribute: str, wrapper: Callable[..., Any]) -> Plant:
    """A method of a class, or a function as one module sees it, is wrapped: `wrapper` gets the original first."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, attribute)
        patch.setattr(owner, attribute, lambda *args, **more: wrapper(original, *args, **more))

    return plant


def replaced(function: Any, by: Any) -> Plant:
    """A function, or another value, is replaced in every module of the package that holds it, under any name."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for module, name in _holders(function):
            patch.setattr(module, name, by)

    return plant


def wrapped(function: Any, wrapper: Callable[..., Any]) -> Plant:
    """A function is wrapped in every module of the package that holds it: `wrapper` gets the original first."""
    return replaced(function, lambda *args, **more: wrapper(function, *args, **more))


def _holders(function: Any) -> list[tuple[ModuleType, str]]:
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "sora_mock"]
    found = [(module, name) for module in modules for name, held in vars(module).items() if held is function]
    if not found:
        raise LookupError(f"no module holds {function!r}")
    return found


def together(*plants: Plant) -> Plant:
    """Several changes that are one fault together."""

    def plant_all(patch: pytest.MonkeyPatch) -> None:
        for plant in plants:
            plant(patch)

    return plant_all


def edited_contract(edit: Edit) -> Plant:
    """The server enforces an edited contract; the suite keeps the true one."""

    def read(document: Any) -> Contract:
        document = copy.deepcopy(document)
        edit(document)
        return Contract(document)

    return part("sora_mock.service.composition", "Contract", read)


def field(of: str, **schema: Any) -> Plant:
    """A field of the create request has another schema."""
    return edited_contract(
        lambda d: d["components"]["schemas"]["VideoGenerationRequest"]["properties"][of].update(schema)
    )


def key_schema(**schema: Any) -> Plant:
    """The Idempotency-Key has another schema."""
    return edited_contract(lambda d: d["paths"][CREATE]["post"]["parameters"][0]["schema"].update(schema))


def repaired(edit: Edit) -> Plant:
    """A create request is changed before it is checked: the server repairs what it should reject."""

    def read(original: Any, self: Any, content_type: Any, body: bytes) -> Any:
        try:
            request = json.loads(body)
            if isinstance(request, dict):
                edit(request)
                body = json.dumps(request).encode()
        except ValueError:
            pass
        return original(self, content_type, body)

    return around(Contract, "read_create_request", read)


def rejected(condition: Callable[[Any], object]) -> Plant:
    """A valid create request is rejected where it fits the condition."""

    def read(original: Any, self: Any, content_type: Any, body: bytes) -> Any:
        request = original(self, content_type, body)
        if condition(request):
            raise ApiError(400, param="prompt")
        return request

    return around(Contract, "read_create_request", read)


def decoder(read: Callable[[bytes], Any]) -> Plant:
    """Another function reads bodies."""
    return part(contract, "decode", lambda content_type, body: read(body))


def instead_of(status: int, response: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: where the original rejects with that status, `response` responds; None keeps the rejection."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        try:
            return original(*args, **more)
        except ApiError as error:
            found = response(*args, **more) if error.status == status else None
            if found is None:
                raise
            return found

    return wrapper


def first(check: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: `check` gets the same arguments before the original does, and may reject the request."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        check(*args, **more)
        return original(*args, **more)

    return wrapper


def then(change: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: `change` gets the result of the original, then its arguments; None keeps the result."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        found = original(*args, **more)
        changed = change(found, *args, **more)
        return found if changed is None else changed

    return wrapper


def change_facts(account: MemoryAccount, **fields: Any) -> None:
    """Replaces some facts of an account."""
    account.facts = msgspec.structs.replace(account.facts, **fields)
