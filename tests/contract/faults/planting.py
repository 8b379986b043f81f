"""What a fault is, and the ways to spoil the mock that the next server is made of."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from sora_mock import app
from sora_mock.domain import contract as contract_room
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import ApiError
from tests.contract.faults.answering import CREATE, Change, Edit, Faulty

Plant = Callable[[pytest.MonkeyPatch], None]

Table = Mapping[str, tuple[str, Plant]]
"""Faults by name: the rules that have to catch each, ids or patterns of ids with blanks between, and how it is made."""


@dataclass(frozen=True)
class Fault:
    """One fault: every rule that one of `patterns` fits has to catch it, `plant` spoils the mock."""

    name: str
    patterns: tuple[str, ...]
    plant: Plant

    def own(self, known: Iterable[str]) -> list[str]:
        """The ids of its rules among those that are known. Raises LookupError for a pattern that fits none."""
        ids = list(known)
        for pattern in self.patterns:
            if not any(fnmatchcase(id, pattern) for id in ids):
                raise LookupError(f"{self.name}: no rule is called {pattern}")
        return [id for id in ids if any(fnmatchcase(id, pattern) for pattern in self.patterns)]


def of(*tables: Table) -> Iterator[Fault]:
    """The faults of tables. Raises ValueError for a name that is taken."""
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


def answers(change: Change) -> Plant:
    """Answers are changed on their way out."""
    return part("sora_mock.server", "create_app", lambda settings: Faulty(app.create_app(settings), change))


def part(owner: Any, attribute: str, value: Any) -> Plant:
    """A part has another value. owner: an object, or the name of a module."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        if isinstance(owner, str):
            patch.setattr(f"{owner}.{attribute}", value)
        else:
            patch.setattr(owner, attribute, value)

    return plant


def around(owner: Any, attribute: str, wrapper: Callable[..., Any]) -> Plant:
    """A part is wrapped: `wrapper` gets the original first."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, attribute)
        patch.setattr(owner, attribute, lambda *args, **more: wrapper(original, *args, **more))

    return plant


def both(*plants: Plant) -> Plant:
    """Several at once, which are one fault together."""

    def plant_all(patch: pytest.MonkeyPatch) -> None:
        for plant in plants:
            plant(patch)

    return plant_all


def contract(edit: Edit) -> Plant:
    """The server enforces an edited contract; the suite goes on with the true one."""

    def spoiled(document: Any) -> Contract:
        document = copy.deepcopy(document)
        edit(document)
        return Contract(document)

    return part("sora_mock.app", "Contract", spoiled)


def field(of: str, **schema: Any) -> Plant:
    """A field of the creation has another schema."""
    return contract(lambda d: d["components"]["schemas"]["VideoGenerationRequest"]["properties"][of].update(schema))


def key_schema(**schema: Any) -> Plant:
    """The Idempotency-Key has another schema."""
    return contract(lambda d: d["paths"][CREATE]["post"]["parameters"][0]["schema"].update(schema))


def repaired(edit: Edit) -> Plant:
    """An order is changed before it is checked: what is wrong is put right instead of refused."""

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


def refused(condition: Callable[[Any], object]) -> Plant:
    """An order that is right is refused where it fits the condition."""

    def read(original: Any, self: Any, content_type: Any, body: bytes) -> Any:
        request = original(self, content_type, body)
        if condition(request):
            raise ApiError(400, param="prompt")
        return request

    return around(Contract, "read_create_request", read)


def decoder(read: Callable[[bytes], Any]) -> Plant:
    """Bodies are read by something else."""
    return part(contract_room, "decode", lambda content_type, body: read(body))


def instead_of(error: int, answer: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: where the original refuses with that status, what `answer` says; None leaves it refused."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        try:
            return original(*args, **more)
        except ApiError as refusal:
            found = answer(*args, **more) if refusal.status == error else None
            if found is None:
                raise
            return found

    return wrapper


def first(check: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: `check` is asked with the same arguments before the original, and may refuse."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        check(*args, **more)
        return original(*args, **more)

    return wrapper


def then(change: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper: what the original gave, and its arguments, are handed on; None leaves it as it is."""

    def wrapper(original: Any, *args: Any, **more: Any) -> Any:
        found = original(*args, **more)
        changed = change(found, *args, **more)
        return found if changed is None else changed

    return wrapper
