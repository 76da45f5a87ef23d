"""Bytes to typed and back, with upcasters for what earlier versions wrote.

`type` is `wa.<family>.<kind>.v<n>`. A change that is not additive bumps the
version and registers an upcaster; a golden file of every version ever written
must decode for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast, get_args

from pydantic import JsonValue, ValidationError

from events import asks, live, message, pool, session_events
from events.envelope import Envelope, Payload, new_id
from events.message import MessageEvent
from events.session_events import SessionEvent

Json = dict[str, JsonValue]
AnyPayload = (
    SessionEvent
    | session_events.SessionCommand
    | MessageEvent
    | message.Send
    | pool.PoolEvent
    | pool.Create
    | live.LiveNotice
)

_FAMILIES: dict[str, tuple[type[Payload], ...]] = {
    "session": cast("tuple[type[Payload], ...]", get_args(SessionEvent)),
    "message": cast("tuple[type[Payload], ...]", get_args(MessageEvent)),
    "pool": cast("tuple[type[Payload], ...]", get_args(pool.PoolEvent)),
    "live": cast("tuple[type[Payload], ...]", get_args(live.LiveNotice)),
    "command": (
        *cast("tuple[type[Payload], ...]", get_args(session_events.SessionCommand)),
        message.Send,
        pool.Create,
    ),
}

CURRENT = 1
"""The version in which new payloads are written."""

UPCASTERS: dict[str, Callable[[Json], Json]] = {}
"""From the type that was written to the payload of the next version, step by step."""

_TYPE = re.compile(r"wa\.([a-z]+)\.([a-z_]+)\.v([1-9][0-9]{0,3})")


class Undecodable(Exception):
    """These bytes are no event of ours: not JSON, no CloudEvent, or of an unknown type."""


def kind_of(payload: type[Payload] | Payload) -> str:
    """Return the `kind` every catalogue class carries."""
    return cast("str", cast("Any", payload).kind)


_CLASSES: dict[tuple[str, str], type[Payload]] = {
    (family, kind_of(payload)): payload
    for family, payloads in _FAMILIES.items()
    for payload in payloads
}
_FAMILY_OF: dict[type[Payload], str] = {
    payload: family for (family, _), payload in _CLASSES.items()
}


def catalogue() -> dict[str, type[Payload]]:
    """Every type that is written today, by its full name: for documents and tests."""
    return {
        f"wa.{family}.{kind}.v{CURRENT}": payload for (family, kind), payload in _CLASSES.items()
    }


def type_of(payload: Payload) -> str:
    """Return the full type name under which a payload is written."""
    return f"wa.{_FAMILY_OF[type(payload)]}.{kind_of(payload)}.v{CURRENT}"


def seal(
    payload: Payload,
    *,
    subject: str,
    source: str,
    at: datetime,
    causation: str | None = None,
    node: str | None = None,
    version: int | None = None,
    event_id: str | None = None,
) -> Envelope:
    """Wrap a payload. `subject` is the dotted session id, or the node of a pool event."""
    return Envelope(
        id=event_id or new_id(),
        source=source,
        type=type_of(payload),
        subject=subject,
        time=at,
        data=payload.model_dump(mode="json"),
        causationid=causation,
        node=node,
        version=version,
    )


def encode(envelope: Envelope) -> bytes:
    """Write an envelope as the bytes that go on the wire; absent extensions stay absent."""
    return envelope.model_dump_json(exclude_none=True).encode()


def decode(raw: bytes) -> Envelope:
    """Read the wrapper; raise Undecodable if it is none."""
    try:
        return Envelope.model_validate_json(raw)
    except ValidationError as error:
        raise Undecodable(f"not a CloudEvent: {error.error_count()} errors") from error


def payload_of(envelope: Envelope) -> AnyPayload:
    """Read the payload in today's form; raise Undecodable if it cannot be."""
    written = _TYPE.fullmatch(envelope.type)
    if written is None:
        raise Undecodable(f"unknown type {envelope.type[:80]!r}")
    family, kind, version = written[1], written[2], int(written[3])
    payload = _CLASSES.get((family, kind))
    if payload is None or version > CURRENT:
        raise Undecodable(f"unknown type {envelope.type[:80]!r}")
    data = envelope.data
    for step in range(version, CURRENT):
        upcast = UPCASTERS.get(f"wa.{family}.{kind}.v{step}")
        data = upcast(data) if upcast else data
    try:
        return cast("AnyPayload", payload.model_validate(data))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise Undecodable(f"{envelope.type}: bad or missing {fields}") from error


def session_event_of(envelope: Envelope) -> SessionEvent:
    """Read an event of a session; raise Undecodable if it is none."""
    payload = payload_of(envelope)
    if not isinstance(payload, _FAMILIES["session"]):
        raise Undecodable(f"{envelope.type}: not a session event")
    return cast("SessionEvent", payload)


def message_event_of(envelope: Envelope) -> MessageEvent:
    """Read an event of a message; raise Undecodable if it is none."""
    payload = payload_of(envelope)
    if not isinstance(payload, _FAMILIES["message"]):
        raise Undecodable(f"{envelope.type}: not a message event")
    return cast("MessageEvent", payload)


def answer(data: Json | list[JsonValue]) -> bytes:
    """Encode an answer to a question."""
    return asks.Answer(data=data).model_dump_json(exclude_none=True).encode()


def answer_error(reason: str, detail: str, status: int) -> bytes:
    """Encode a refusal of a question."""
    error = asks.AskError(reason=reason, detail=detail, status=status)
    return asks.Answer(error=error).model_dump_json(exclude_none=True).encode()
