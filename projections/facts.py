"""Events as the projections take them: decoded, placed, and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, cast, get_args

from events import codec, message, session_events
from events.log import Stored
from events.message import MessageEvent
from events.session_events import SessionEvent
from events.subjects import BadToken, SessionId

_SESSION_EVENTS: tuple[type, ...] = get_args(session_events.SessionEvent)
_MESSAGE_EVENTS: tuple[type, ...] = get_args(message.MessageEvent)

E = TypeVar("E", SessionEvent, MessageEvent)


class Stuck(Exception):
    """A projection cannot go past this position without skipping something."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fact(Generic[E]):
    """One event of a session with its place in the log."""

    session: SessionId
    position: int
    version: int
    at: datetime
    stored_at: datetime
    node: str | None
    event: E


def family_of(stored: Stored) -> str:
    """Return `session`, `message` or `pool`, as the subject tells it."""
    return stored.subject.split(".", 3)[2]


def session_fact(stored: Stored) -> Fact[SessionEvent]:
    """Decode an event of the session family; raise Stuck if it is none."""
    session, version, at, node, event = _decode(stored)
    if not isinstance(event, _SESSION_EVENTS):
        raise Stuck(stored.position, f"{stored.subject}: not a session event")
    checked = cast("SessionEvent", event)
    return Fact(session, stored.position, version, at, stored.stored_at, node, checked)


def message_fact(stored: Stored) -> Fact[MessageEvent]:
    """Decode an event of the message family; raise Stuck if it is none."""
    session, version, at, node, event = _decode(stored)
    if not isinstance(event, _MESSAGE_EVENTS):
        raise Stuck(stored.position, f"{stored.subject}: not a message event")
    checked = cast("MessageEvent", event)
    return Fact(session, stored.position, version, at, stored.stored_at, node, checked)


def _decode(
    stored: Stored,
) -> tuple[SessionId, int, datetime, str | None, codec.AnyPayload]:
    # The broker's subject says whose event it is; it fenced the writer by it.
    parts = stored.subject.split(".")
    try:
        if len(parts) != 6:
            raise Stuck(stored.position, f"{stored.subject}: not a session's subject")
        session = SessionId(parts[3], parts[4])
        envelope = stored.envelope
        event = codec.payload_of(envelope)
    except (codec.Undecodable, BadToken) as error:
        raise Stuck(stored.position, f"{stored.subject}: {error}") from error
    if envelope.version is None or envelope.version < 1:
        raise Stuck(stored.position, f"{stored.subject}: no version")
    return session, envelope.version, envelope.time, envelope.node, event


def by_session(facts: Sequence[Fact[E]]) -> dict[SessionId, list[Fact[E]]]:
    """Part facts by session, each in the log's order."""
    parted: dict[SessionId, list[Fact[E]]] = {}
    for fact in facts:
        parted.setdefault(fact.session, []).append(fact)
    return parted
