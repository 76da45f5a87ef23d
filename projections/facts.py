"""Events as the projections take them: decoded, placed, and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from events import codec
from events.envelope import Envelope
from events.log import Stored
from events.message import MessageEvent
from events.session_events import SessionEvent
from events.subjects import BadToken, SessionId

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
    return _decode(stored, codec.session_event_of)


def message_fact(stored: Stored) -> Fact[MessageEvent]:
    """Decode an event of the message family; raise Stuck if it is none."""
    return _decode(stored, codec.message_event_of)


def _decode(stored: Stored, event_of: Callable[[Envelope], E]) -> Fact[E]:
    # The broker's subject says whose event it is; it fenced the writer by it.
    parts = stored.subject.split(".")
    try:
        if len(parts) != 6:
            raise Stuck(stored.position, f"{stored.subject}: not a session's subject")
        session = SessionId(parts[3], parts[4])
        envelope = stored.envelope
        event = event_of(envelope)
    except (codec.Undecodable, BadToken) as error:
        raise Stuck(stored.position, f"{stored.subject}: {error}") from error
    version = envelope.version
    if version is None or version < 1:
        raise Stuck(stored.position, f"{stored.subject}: no version")
    return Fact(
        session, stored.position, version, envelope.time, stored.stored_at, envelope.node, event
    )


def by_session(facts: Sequence[Fact[E]]) -> dict[SessionId, list[Fact[E]]]:
    """Part facts by session, each in the log's order."""
    parted: dict[SessionId, list[Fact[E]]] = {}
    for fact in facts:
        parted.setdefault(fact.session, []).append(fact)
    return parted
