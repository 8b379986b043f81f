"""The schemas of the contract as checks."""

from functools import cache
from typing import Any

import jsonschema_rs

from sora_mock.runtime.package_data import contract_document
from sora_mock.verify.rule import Broken


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    components = contract_document()["components"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def fits(name: str, value: Any) -> None:
    """Raises Broken with the first place where `value` is not what the schema `name` says."""
    for error in _validator(name).iter_errors(value):
        place = "/".join(map(str, error.instance_path)) or "the whole"
        raise Broken(f"shape {name}, {place}", value, error.message)
