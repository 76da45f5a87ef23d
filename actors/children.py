"""The actors of a node's sessions: which are alive, and when a dead one comes back."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pykka

from actors.mailbox import tell
from actors.parts import Parts
from actors.pool_messages import PoolMessage, Revive
from actors.session import SessionActor
from actors.session_messages import Halt, Message
from events.backoff import Backoff
from events.subjects import SessionId

STOP = 20.0
"""Seconds in which an actor that is told to must have ended."""


class Children:
    """Supervised one for one. Used on the pool's own thread only."""

    def __init__(
        self,
        parts: Parts,
        *,
        tell_pool: Callable[[PoolMessage], None],
        later: Callable[[float, PoolMessage], None],
    ) -> None:
        """`later` puts a message into the pool's mailbox after so many seconds."""
        self._parts, self._tell_pool, self._later = parts, tell_pool, later
        self._actors: dict[SessionId, pykka.ActorRef[SessionActor]] = {}
        self._deaths: dict[SessionId, int] = {}
        self._reviving: set[SessionId] = set()
        settings = parts.settings
        self._backoff = Backoff(settings.backoff_first, settings.backoff_max)

    @property
    def alive(self) -> Collection[SessionId]:
        """The sessions whose actor runs."""
        return [session for session in self._actors if self.is_alive(session)]

    @property
    def dead(self) -> Collection[SessionId]:
        """The sessions whose actor ended without a word."""
        return [session for session in self._actors if not self.is_alive(session)]

    def is_alive(self, session: SessionId) -> bool:
        """Whether its actor runs."""
        held = self._actors.get(session)
        return held is not None and held.is_alive()

    def start(self, session: SessionId) -> None:
        """Begin its actor, which reads the log for itself."""
        self._actors[session] = SessionActor.start(session, self._parts, self._tell_pool)

    def tell(self, session: SessionId, message: Message) -> None:
        """Put a message into its mailbox; nothing happens if it has no actor here."""
        held = self._actors.get(session)
        if held is not None:
            tell(held, message)

    def drop(self, session: SessionId) -> None:
        """Forget its actor, which ended or is about to."""
        self._actors.pop(session, None)

    def revive_later(self, session: SessionId) -> None:
        """Ask for a new life after a pause that grows with every death."""
        if session not in self._reviving:
            self._reviving.add(session)
            deaths = self._deaths[session] = self._deaths.get(session, 0) + 1
            self._later(self._backoff.delay(deaths, session.dotted), Revive(session))

    def revived(self, session: SessionId) -> None:
        """Note that the pause is over."""
        self._reviving.discard(session)

    def forget(self, session: SessionId) -> None:
        """Forget how often it died."""
        self._deaths.pop(session, None)

    def halt(self) -> None:
        """Stop all of them in parallel and wait for all."""
        running = [held for held in self._actors.values() if held.is_alive()]
        for held in running:
            tell(held, Halt())
        for held in running:
            held.actor_stopped.wait(STOP)
