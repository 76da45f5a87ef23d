"""Fields of bodies: none takes a value of a type that the document does not name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from events.settings import Settings
from gateway.app import create_app
from gateway.docs import document
from tests.gateway.conftest import KEY, Running
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

JSON = "application/json"
ODD: tuple[object, ...] = (None, True, 0, 1.5, "0", "true", [0], {"a": 1})
"""A value of every type, and texts that lax readers take for other types."""

DOCUMENT = document(create_app(Settings(), KEY, FakeReads()))


def bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give method, path and schema of every route that reads JSON."""
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if JSON in content:
                yield method, path, content[JSON]["schema"]


def wrong_fields(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the example of a body with one field that the schema forbids, in every way."""
    name = schema["$ref"].rpartition("/")[2] if "$ref" in schema else None
    shape = DOCUMENT["components"]["schemas"][name] if name else schema
    example = schema["examples"][0]
    valid = Draft202012Validator(shape | {"components": DOCUMENT["components"]})
    assert valid.is_valid(example)
    for field in shape["properties"]:
        for value in ODD:
            body = example | {field: value}
            if not valid.is_valid(body):
                yield body


@pytest.mark.parametrize(
    ("method", "path", "schema"),
    [pytest.param(*body, id=f"{body[0]} {body[1]}") for body in bodies()],
)
async def test_a_field_of_another_type_is_bad_input(
    alone: Running, method: str, path: str, schema: dict[str, Any]
) -> None:
    address = path.replace("{id}", "a-b").replace("{chat}", "491701234567").format(name="crm")

    for body in wrong_fields(schema):
        is_problem(await alone.http.request(method, address, json=body), 400)
