"""The YAML that `sora-mock contract` prints: any YAML reader reads what the JSON says."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_mock.cli.yaml_text import yaml_lines
from sora_mock.runtime import package_data

LETTERS = st.characters(codec="utf-8") | st.sampled_from(
    "\n :#-'\"|>{}[]&*!%@`?,~\\\t\x00\x7f\x85\u2028\ufeff\U0001f600"
)
TEXTS = st.text(LETTERS, max_size=12) | st.sampled_from(
    ["no", "Yes", "null", "1", "1.5", "0x1", "~", "a: b", "- a", "a #b"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.decimals(-9999, 9999, places=4).map(float) | TEXTS
VALUES = st.recursive(SCALARS, lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXTS, some, max_size=3))


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_any_value_is_read_back(value: Any) -> None:
    assert yaml.safe_load("\n".join(yaml_lines(value)) + "\n") == value


def test_the_contract_is_read_back_in_the_same_order() -> None:
    document = package_data.contract_document()
    found = yaml.safe_load("\n".join(yaml_lines(document)))
    assert repr(found) == repr(document)


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"a": {"b": [1, "x"]}}, ["a:", "  b:", "  - 1", "  - x"]),
        ({"a": "one\n\ntwo"}, ["a: |-", "  one", "", "  two"]),
        ([{"a": 1, "b": {}}, []], ["- a: 1", "  b: {}", "- []"]),
        ({"on": "no"}, ['"on": "no"']),
    ],
)
def test_it_is_in_block_style(value: Any, lines: list[str]) -> None:
    assert list(yaml_lines(value)) == lines
