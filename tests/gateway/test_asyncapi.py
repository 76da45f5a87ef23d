"""The AsyncAPI document: sound, whole, and true of what goes over NATS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from events import asks, codec, samples, streams, subjects
from events.settings import Settings
from gateway import asyncapi
from tests.gateway.conftest import KEY, Running
from tests.gateway.test_health import _references

SPECIFICATION = (
    Path(__file__).parents[2] / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
)
PLAIN = {"question", "answer", "deadCommand", "deadEvent"}

DOCUMENT = asyncapi.document()
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
EXAMPLES = [
    pytest.param(name, example["payload"], id=f"{name}-{number}")
    for name, message in MESSAGES.items()
    for number, example in enumerate(message.get("examples", []))
]


def faults(name: str, payload: object) -> list[str]:
    """Check a payload against the schema that the document gives for a message."""
    schema = {"components": DOCUMENT["components"], "allOf": [MESSAGES[name]["payload"]]}
    checker = jsonschema.Draft7Validator(
        schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    return [error.message for error in checker.iter_errors(payload)]


def test_the_document_is_one_of_the_specification() -> None:
    specification = json.loads(SPECIFICATION.read_text())

    wrong = [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft7Validator(specification).iter_errors(DOCUMENT)
    ]

    assert wrong == []


def test_it_holds_every_event_and_command_and_nothing_else() -> None:
    assert set(MESSAGES) == set(codec.catalogue()) | PLAIN
    for name in codec.catalogue():
        assert MESSAGES[name]["payload"]["allOf"][1]["properties"]["type"] == {"const": name}


def test_every_message_has_a_place_to_go_and_every_place_somebody_who_speaks() -> None:
    placed = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    spoken = {
        operation["channel"]["$ref"].removeprefix("#/channels/")
        for operation in DOCUMENT["operations"].values()
    }

    assert placed == set(MESSAGES)
    assert spoken | {"answers"} == set(DOCUMENT["channels"])


def test_every_message_of_the_catalogue_goes_where_the_code_sends_it() -> None:
    session = subjects.SessionId("ada", "shop")
    sent = {
        "session": lambda kind: subjects.session_event(session, kind),
        "message": lambda kind: subjects.message_event(session, kind),
        "pool": lambda kind: subjects.pool_event("n1", kind),
        "live": lambda kind: subjects.live(session, kind),
        "command": lambda kind: {
            "create": subjects.create_command(session.user),
            "send": subjects.send_command(session),
        }.get(kind, subjects.session_command(session, kind)),
    }
    where = {
        name: channel for channel in DOCUMENT["channels"].values() for name in channel["messages"]
    }

    for name in codec.catalogue():
        _, family, kind, _ = name.split(".")
        address: str = where[name]["address"]
        told = address.format(user="ada", bot="shop", node="n1", kind=kind)
        assert told == sent[family](kind)
        assert kind in where[name]["parameters"].get("kind", {"enum": [kind]})["enum"]


def test_every_stored_place_lies_in_a_stream() -> None:
    kept = [
        prefix.removesuffix(">")
        for config in streams.configs(Settings())
        for prefix in config.subjects or []
    ]
    core = ("wa.live.", "wa.ask.")

    for channel in DOCUMENT["channels"].values():
        if channel["address"] is not None:
            assert channel["address"].startswith((*kept, *core))


def test_every_query_can_be_asked() -> None:
    asked = DOCUMENT["channels"]["questions"]["parameters"]["query"]["enum"]

    assert tuple(asked) == asks.QUERIES


def test_no_two_models_share_a_name() -> None:
    models = set(codec.catalogue().values())

    assert len({model.__name__ for model in models}) == len(models)


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize(("name", "payload"), EXAMPLES)
def test_every_example_is_valid_by_its_own_schema(name: str, payload: Any) -> None:
    assert faults(name, payload) == []


def test_every_message_of_the_catalogue_has_an_example() -> None:
    assert [name for name in codec.catalogue() if not MESSAGES[name]["examples"]] == []
    assert len(MESSAGES["wa.command.send.v1"]["examples"]) == 1 + len(samples.SHAPES)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param({"type": "wa.session.queued.v1"}, id="another type"),
        pytest.param({"data": {"phone": 17}}, id="another field"),
        pytest.param({"data": {}}, id="a missing field"),
        pytest.param({"specversion": "0.3"}, id="no CloudEvent of today"),
    ],
)
def test_a_payload_that_is_none_is_refused_by_the_schema(spoil: dict[str, Any]) -> None:
    ready = MESSAGES["wa.session.ready.v1"]["examples"][0]["payload"]

    assert faults("wa.session.ready.v1", ready | spoil) != []


async def test_whoever_may_read_the_manual_may_read_it(alone: Running) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        shut = await http.get("/asyncapi.json")
        told = await http.get(f"/asyncapi.json?api_key={KEY}")
        page = await http.get(f"/docs?api_key={KEY}")

    assert shut.status_code == 401
    assert told.json() == json.loads(json.dumps(DOCUMENT))
    assert 'href="asyncapi.json"' in page.text
