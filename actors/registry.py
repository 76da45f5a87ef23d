"""The registry: who is registered by the log, and the write that adds to it.

Limits are exact under concurrency, because `registered` is guarded by the tail
of every `registered` there is: of two racing creates one is refused by the
broker, folds again, and decides anew.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from actors.parts import Parts
from actors.roster import Roster
from events import codec, subjects
from events import session as rules
from events import session_events as e
from events.log import Conflict, Guard, Stored
from events.pool import Create, CreateRefused
from events.session import Session, State
from events.subjects import SessionId

FAMILIES = (subjects.ALL_REGISTERED, subjects.ALL_REMOVED)


class Registry:
    """One node's view of all sessions there are. Blocks; one thread only."""

    def __init__(self, parts: Parts) -> None:
        settings = parts.settings
        self._parts = parts
        self._roster = Roster(settings.max_sessions, settings.max_sessions_per_user)
        self._log = structlog.get_logger()

    @property
    def sessions(self) -> Collection[SessionId]:
        """Who is registered, as of the last fold."""
        return self._roster.sessions.keys()

    def fold(self) -> bool:
        """Read on in the log; True if anything was new. Raises what the log raises."""
        before = self._roster.read_to

        async def read() -> None:
            async for stored in self._parts.log.read(FAMILIES, before + 1):
                parts = stored.subject.split(".")
                session = SessionId(parts[3], parts[4])
                self._roster.apply(session, parts[5], stored.position, _cause_of(stored))

        self._parts.loop.wait(read())
        return self._roster.read_to != before

    def made_by(self, session: SessionId, create: str) -> bool:
        """Whether this very create registered it: what is delivered twice is carried out once."""
        return self._roster.creates.get(session) == create

    def refusal(self, session: SessionId) -> CreateRefused | None:
        """Why a new session cannot be registered now, or None."""
        return self._roster.refusal(session)

    def register(self, session: SessionId, create: Create, cause: str) -> None:
        """Append `registered`. Raises Conflict if somebody else did, and what the log raises."""
        before = self._parts.loop.wait(self._left(session))
        event = e.Registered(user=session.user, bot=session.bot, start=create.start)
        now = self._parts.clock.now()
        after = rules.evolve(before, event, now)
        node = self._parts.settings.node
        envelope = codec.seal(
            event,
            subject=session.dotted,
            source=f"wa/node/{node}",
            at=now,
            causation=cause,
            node=node,
            version=after.version,
        )
        subject = subjects.session_event(session, event.kind)
        guard = Guard(subjects.ALL_REGISTERED, self._roster.tail)
        position = self._parts.loop.wait(self._parts.log.append(subject, envelope, guard))
        self._roster.apply(session, event.kind, position, cause)
        self._log.info("pool.registered", session=str(session))

    async def _left(self, session: SessionId) -> Session:
        """Fold what a removed session of this id left: its versions go on."""
        folded = Session()
        async for stored in self._parts.log.read([subjects.session_family(session)]):
            envelope = stored.envelope
            folded = rules.evolve(folded, codec.session_event_of(envelope), envelope.time)
        if folded.state not in {State.NOTHING, State.REMOVED}:
            raise Conflict(session.dotted, 0, folded.version)
        return folded


def _cause_of(stored: Stored) -> str | None:
    try:
        return stored.envelope.causationid
    except codec.Undecodable:
        return None  # Its subject says all that limits need.
