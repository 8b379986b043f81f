"""The rules that schemathesis checks: known by id before their tests are collected, which takes seconds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sora_mock.verify import choice
from sora_mock.verify.rule import FIFTEEN_SECONDS, REJECTION_BUDGET, TEN_SECONDS, Rule

if TYPE_CHECKING:
    import pytest

OPENAPI_FILE: Final = "test_openapi.py"

_CONTRACT: Final = "the contract file, every schema of it"

OPENAPI_RULES: Final[dict[str, dict[str, Any]]] = {
    "generated.create.accepted": {
        "claim": "a create request that the contract allows is accepted, and its response has the documented shape",
        "source": _CONTRACT,
        "price": TEN_SECONDS,
        "greedy": True,
    },
    "generated.create.refused": {
        "claim": "a create request that the contract does not allow gets 400 and the envelope",
        "source": _CONTRACT,
        "needs": {REJECTION_BUDGET},
    },
    "generated.query": {
        "claim": "the response to a query of any task id is documented",
        "source": _CONTRACT,
    },
    "generated.credits": {
        "claim": "the response to any request for the balance is documented",
        "source": _CONTRACT,
    },
    "generated.link": {
        "claim": "the link of a create request leads to its task",
        "source": "the contract file, links of createVideoGeneration",
        "price": FIFTEEN_SECONDS,
    },
}
"""The keywords of the marker `contract` of each rule, by id."""


def openapi_rules() -> list[Rule]:
    """These rules, without the collection of their tests."""
    return [
        Rule(**{"id": id, **values, "needs": frozenset(values.get("needs", ()))})
        for id, values in OPENAPI_RULES.items()
    ]


def is_selected(config: "pytest.Config") -> bool:
    """Whether the flags and the arguments of a pytest run may select one of these rules."""
    option = config.option
    if option.contract_no_openapi or (config.args and not any(_holds(argument) for argument in config.args)):
        return False
    return may_be_selected(option.contract_only, option.contract_skip, option.keyword)


def may_be_selected(only: Sequence[str], skip: Sequence[str], keyword: str) -> bool:
    """Whether `--only`, `--skip` and pytest's `-k` may select one of these rules. keyword: empty without `-k`."""
    if not any(choice.selects(only, skip, id) for id in OPENAPI_RULES):
        return False
    claims = [f"test_{rule['claim'].replace(' ', '_')}" for rule in OPENAPI_RULES.values()]
    return not keyword or choice.keyword_may_select(keyword, [OPENAPI_FILE, *OPENAPI_RULES, *claims])


def _holds(argument: str) -> bool:
    """Whether a path that pytest collects may hold the file."""
    path = argument.partition("::")[0]
    return not path.endswith(".py") or path.endswith(OPENAPI_FILE)
