"""A session's life as clients steer it: create, start again, rest, unlink, delete."""

from __future__ import annotations

from dataclasses import dataclass

from events.breaker import BreakerState
from events.clock import utc_now
from events.envelope import Payload
from events.live import Settled
from events.session import AT_REST, WORDS, State
from events.session_events import (
    Delete,
    LoggedOut,
    Logout,
    Queued,
    Registered,
    Removed,
    Reset,
    Restart,
    SessionCommand,
    Stop,
    Stopped,
)
from events.subjects import SessionId
from gateway.commands import Commands, Published, refusal
from gateway.directory import Directory, placeholder, taken
from gateway.outcomes import Head, Heard, Listener, Outcomes
from gateway.problems import Problem
from projections.views import SessionView

RESERVED = frozenset({"chats", "groups", "screenshot", "status", "timeline", "usage"})
"""Names that no new bot gets: GET /api/sessions/{userId}/{plubotId} would show something else."""

CREATE_WAIT = 2.0
"""Seconds until a create is answered without an answer from the pool."""

TELL_WAIT = 10.0
"""Seconds until another command is; a page that logs out takes some."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command went. Not `settled`: it is accepted, and the outcome follows."""

    word: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A session after a create."""

    view: SessionView
    settled: bool


class Lifecycle:
    """Raises Problem, BrokerAway and ReadModelsAway."""

    def __init__(self, directory: Directory, commands: Commands, outcomes: Outcomes) -> None:
        self._directory = directory
        self._commands = commands
        self._outcomes = outcomes

    async def create(self, session: SessionId, fresh: bool = False) -> Created:
        """Have a session run. For one that is up already this is no error and does nothing."""
        owner = await self._directory.pair(session.joined)
        view = await self._directory.view(session)
        if session.bot in RESERVED and view is None:
            rule = f"must be none of {', '.join(sorted(RESERVED))}: they are parts of addresses"
            raise Problem(
                400,
                "bad_input",
                f"plubotId {rule}.",
                errors=[{"field": "plubotId", "rule": rule}],
            )
        if owner is not None and owner != session and view is None:
            raise taken(session)
        if view is not None and not fresh and State(view.state) not in AT_REST:
            return Created(view, settled=True)
        with self._outcomes.listen(session) as listener:
            command = await self._commands.create(session, fresh)
            settled = await _settled(listener, command, (Registered, Queued), CREATE_WAIT)
        view = await self._directory.view(session)
        if view is None:
            view = placeholder(session, Head(0, None, utc_now()))
        return Created(view, settled)

    async def reconnect(self, session: SessionId) -> Done:
        """Close the browser if there is one, and start."""
        return await self._tell(session, Restart(), Queued)

    async def reset(self, session: SessionId) -> Done:
        """Close a session's breakers: forget what failed and start anew. Closed, it is let be."""
        view = await self._directory.existing(session)
        closed = view.starts.state is view.page.state is BreakerState.CLOSED
        if closed and not view.starts.failures:
            return Done(view.word, settled=True)
        return await self._tell(session, Reset(), Queued)

    async def disconnect(self, session: SessionId) -> Done:
        """Rest the browser and keep the link."""
        return await self._tell(session, Stop(), Stopped)

    async def logout(self, session: SessionId) -> Done:
        """Unlink from the phone and delete the profile."""
        return await self._tell(session, Logout(), LoggedOut)

    async def delete(self, session: SessionId) -> Done:
        """Log out where linked, and forget the session."""
        return await self._tell(session, Delete(), Removed)

    async def _tell(self, session: SessionId, command: SessionCommand, goal: type[Payload]) -> Done:
        with self._outcomes.listen(session) as listener:
            published = await self._commands.tell(session, command)
            settled = await _settled(listener, published, (goal,), TELL_WAIT)
        view = await self._directory.view(session)
        word = view.word if view is not None else WORDS[State.REMOVED]
        return Done(word, settled)


async def _settled(
    listener: Listener, command: Published, goals: tuple[type[Payload], ...], seconds: float
) -> bool:
    """Wait until a command is carried out; raises the Problem of a refusal."""

    def outcome(heard: Heard) -> bool | Problem | None:
        if not command.led_to(heard):
            return None
        if isinstance(heard.payload, (Settled, *goals)):
            return True
        return refusal(heard, command)

    found = await listener.until(outcome, seconds)
    if isinstance(found, Problem):
        raise found
    return found is True
