"""The AsyncAPI document: what goes over NATS, made from the models and from the subjects' names."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from events import asks, codec, content, samples, subjects
from events.envelope import Envelope, Payload
from events.subjects import SessionId
from gateway.callers import ANY_KEY, needs
from gateway.chat_answers import (
    FoundAddresses,
    FoundChat,
    FoundGroup,
    FoundMessage,
    FoundNumber,
)
from gateway.webhooks.letters import Letter

Schema = dict[str, Any]

DESCRIPTION = """\
Sessions of WhatsApp Web over NATS. Events, commands and notices are CloudEvents 1.0 in
structured JSON. Commands are published to JetStream, each under an id of its own as
`Nats-Msg-Id`, and carried out once; what came of one names it (`causationid`, or `command`
in a notice). A user of the broker reaches the subjects that its account imports, nothing
else. Readers ignore fields they do not know: within a version, changes are additions.
"""

_SESSION = SessionId("user", "bot")
_PARAMETERS: Schema = {
    "user": {"description": f"The user a session belongs to: {subjects.TOKEN_RULE}."},
    "bot": {"description": f"The user's bot: {subjects.TOKEN_RULE}."},
    "node": {"description": "The node that wrote it."},
    "endpoint": {"description": "The id of a webhook's endpoint."},
}

_ANSWERS: dict[asks.Query, Any] = {
    "qr": asks.QrAnswer,
    "chats": list[FoundChat],
    "messages": list[FoundMessage],
    "check-number": FoundNumber,
    "pairing-code": asks.PairingCode,
    "groups": list[FoundGroup],
    "addresses": FoundAddresses,
    "media": content.Kept,
}
"""What `data` of an answer holds, for the queries whose answers have a model."""

_QUESTION = asks.Question(chat=samples.CHAT, limit=20)
_ANSWER = asks.Answer(data={"exists": True, "id": samples.CHAT})
_NO_ANSWER = asks.Answer(
    error=asks.AskError(reason="not_ready", detail="the session is reconnecting", status=409)
)
_LETTER = Letter(
    webhook="crm",
    user="ada",
    event_id="0123456789abcdef0123456789abcdef",
    event="message-received",
    session="ada-shop",
    position=1042,
    reason="gave_up",
    attempts=35,
    error="HTTP 500",
    at=samples.AT,
)


@needs(ANY_KEY)
async def door(_: Request) -> Response:
    """Give the document."""
    return JSONResponse(document())


@cache
def document() -> Schema:
    """Return the AsyncAPI document."""
    schemas: Schema = {}
    messages = {
        name: _message(name, payload, schemas) for name, payload in codec.catalogue().items()
    } | _unwrapped(schemas)
    answers = {query: _schema(answer, schemas) for query, answer in _ANSWERS.items()}
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "WhatsApp session service",
            "version": "1",
            "description": DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "{address}",
                "protocol": "nats",
                "variables": {
                    "address": {
                        "default": "localhost:4222",
                        "description": "NATS_URL, or `nats_url` in up.json of the data folder.",
                    }
                },
                "security": [{"$ref": "#/components/securitySchemes/user"}],
            }
        },
        "channels": channels,
        "operations": _operations(channels, answers),
        "components": {
            "messages": messages,
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"user": {"type": "userPassword"}},
        },
    }


# --- messages ---------------------------------------------------------------------


def _message(name: str, payload: type[Payload], schemas: Schema) -> Schema:
    """Describe a CloudEvent of the catalogue."""
    told: Schema = {"type": {"const": name}, "data": _schema(payload, schemas)}
    found = [sample for sample in samples.SAMPLES if type(sample) is payload]
    shapes = [shape for shape in samples.SHAPES.values() if type(shape) is payload]
    return {
        "name": name,
        "summary": _about(payload),
        "payload": {
            "allOf": [_schema(Envelope, schemas), {"type": "object", "properties": told}],
        },
        "correlationId": {"location": "$message.payload#/causationid"},
        "examples": [{"payload": _sealed(name, sample)} for sample in (*found, *shapes)],
    }


def _sealed(name: str, sample: Payload) -> Schema:
    family = _family(name)
    written = family not in {"command", "live"}
    envelope = codec.seal(
        sample,
        subject="n1" if family == "pool" else "ada.shop",
        source="my-service" if family == "command" else "wa/node/n1",
        at=samples.AT,
        causation="c0ffee" if written else None,
        node="n1" if written else None,
        version=42 if written else None,
        event_id="0123456789abcdef0123456789abcdef",
    )
    return envelope.model_dump(mode="json", exclude_none=True)


def _unwrapped(schemas: Schema) -> Schema:
    """Describe what is no CloudEvent: questions, their answers, and dead letters."""
    command: Schema = {
        "name": "deadCommand",
        "summary": "A command that can never be carried out, as it came.",
        "payload": {},
        "headers": {
            "type": "object",
            "properties": {"Wa-Reason": {"type": "string", "description": "Why it cannot."}},
        },
    }
    return {
        "question": _plain("question", schemas, _QUESTION),
        "answer": _plain("answer", schemas, _ANSWER, _NO_ANSWER),
        "deadEvent": _plain("deadEvent", schemas, _LETTER),
        "deadCommand": command,
    }


def _plain(name: str, schemas: Schema, *examples: BaseModel) -> Schema:
    shown = [{"payload": held.model_dump(mode="json", exclude_none=True)} for held in examples]
    model = type(examples[0])
    return {
        "name": name,
        "summary": _about(model),
        "payload": _schema(model, schemas),
        "examples": shown,
    }


def _about(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]


def _schema(shape: Any, schemas: Schema) -> Schema:
    """Put the schemas of a shape among the others, and return what leads to them."""
    made: Schema = TypeAdapter(shape).json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(cast("Schema", made.pop("$defs", {})))
    if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
        return made
    schemas[shape.__name__] = made
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


# --- where they go ------------------------------------------------------------------


def _channels() -> Schema:
    return {
        "creates": _channel(subjects.create_command("user"), "wa.command.create.v1"),
        "orders": _channel(subjects.session_command(_SESSION, "kind"), *_orders()),
        "sends": _channel(subjects.send_command(_SESSION), "wa.command.send.v1"),
        "questions": _channel(subjects.ask(_SESSION, "query"), "question"),
        # Where the broker has the answer sent: a subject of whoever asks.
        "answers": {"address": None, "messages": _named("answer")},
        "sessionEvents": _channel(subjects.session_event(_SESSION, "kind"), *_of("session")),
        "messageEvents": _channel(subjects.message_event(_SESSION, "kind"), *_of("message")),
        "poolEvents": _channel(subjects.pool_event("node", "kind"), *_of("pool")),
        "notices": _channel(subjects.live(_SESSION, "kind"), *_of("live")),
        "deadCreates": _channel(
            subjects.dead_command(subjects.create_command("user")), "deadCommand"
        ),
        "deadOrders": _channel(
            subjects.dead_command(subjects.session_command(_SESSION, "kind")), "deadCommand"
        ),
        "deadSends": _channel(
            subjects.dead_command(subjects.send_command(_SESSION)), "deadCommand"
        ),
        "deadCommands": _channel(subjects.dead_commands(_SESSION), "deadCommand"),
        "deadEvents": _channel(subjects.dead_events("endpoint"), "deadEvent"),
    }


def _channel(subject: str, *names: str) -> Schema:
    """Describe a subject; its tokens that are names of parameters stand for any."""
    # What is dead keeps the kind of the order that it was.
    kinds = sorted(map(_kind, [name for name in names if name in codec.catalogue()] or _orders()))
    known = _PARAMETERS | {
        "kind": {"description": "As in the type of the message.", "enum": kinds},
        "query": {"description": "What is asked.", "enum": list(asks.QUERIES)},
    }
    tokens = subject.split(".")
    return {
        "address": ".".join(f"{{{token}}}" if token in known else token for token in tokens),
        "messages": _named(*names),
        "parameters": {token: known[token] for token in tokens if token in known},
    }


def _named(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _family(name: str) -> str:
    return name.split(".")[1]


def _kind(name: str) -> str:
    return name.split(".")[2]


def _of(family: str) -> list[str]:
    return [name for name in codec.catalogue() if _family(name) == family]


def _orders() -> list[str]:
    return [name for name in _of("command") if _kind(name) not in {"create", "send"}]


def _operations(channels: Schema, answers: Schema) -> Schema:
    """Say who speaks: the service hears commands and questions, and says everything else."""
    heard = {"creates", "orders", "sends", "questions"}
    operations: Schema = {
        name: {
            "action": "receive" if name in heard else "send",
            "channel": {"$ref": f"#/channels/{name}"},
        }
        for name in channels
        if name != "answers"
    }
    operations["questions"] |= {
        "reply": {"channel": {"$ref": "#/channels/answers"}},
        "x-data-by-query": answers,
    }
    return operations
