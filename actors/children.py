"""The actors of a node's sessions: which are alive, and when a dead one comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pykka

from actors.mailbox import tell
from actors.parts import Parts
from actors.pool_messages import Leaving, OfSession, PoolMessage, Revive, Told
from actors.session import SessionActor
from actors.session_messages import Halt, Message
from events.backoff import Backoff
from events.subjects import SessionId

STOP = 20.0
"""Seconds in which the actors that are told to must have ended, all of them."""


@dataclass(slots=True)
class _Life:
    """One life of a session here, until the pool let go of it. `over`: what its clean-up sets."""

    number: int
    actor: pykka.ActorRef[SessionActor] | None = None
    over: threading.Event | None = None

    @property
    def is_alive(self) -> bool:
        return self.actor is not None and self.actor.is_alive()


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
        self._lives: dict[SessionId, _Life] = {}
        self._begun = 0
        self._deaths: dict[SessionId, int] = {}
        self._reviving: set[SessionId] = set()
        settings = parts.settings
        self._backoff = Backoff(settings.backoff_first, settings.backoff_max)

    @property
    def alive(self) -> Collection[SessionId]:
        """The sessions whose actor runs."""
        return [session for session in self._lives if self.is_alive(session)]

    @property
    def dead(self) -> Collection[SessionId]:
        """The sessions whose actor ended without a word, or fell."""
        return [s for s in self._lives if not self.is_alive(s) and not self.is_leaving(s)]

    @property
    def leaving(self) -> Collection[SessionId]:
        """The sessions that were removed, and whose leftovers are being cleaned up."""
        return [session for session in self._lives if self.is_leaving(session)]

    def is_alive(self, session: SessionId) -> bool:
        """Whether its actor runs."""
        life = self._lives.get(session)
        return life is not None and life.is_alive

    def is_leaving(self, session: SessionId) -> bool:
        """Whether it was removed, and its leftovers are not cleaned up yet."""
        life = self._lives.get(session)
        return life is not None and life.over is not None

    def is_news(self, told: Told) -> bool:
        """Whether an actor that tells something is the one this node has of its session."""
        life = self._lives.get(told.session)
        return life is not None and life.number == told.life

    def start(self, session: SessionId) -> None:
        """Begin its actor, which reads the log for itself."""
        self._begun += 1
        life = _Life(self._begun)

        def tell_pool(word: OfSession) -> None:
            if isinstance(word, Leaving):
                # Before its actor ends, and though the pool may read no mailbox any more.
                life.over = word.over
            self._tell_pool(Told(session, life.number, word))

        life.actor = SessionActor.start(session, self._parts, tell_pool)
        self._lives[session] = life

    def tell(self, session: SessionId, message: Message) -> None:
        """Put a message into its mailbox; nothing happens if it has no actor here."""
        life = self._lives.get(session)
        if life is not None and life.actor is not None:
            tell(life.actor, message)

    def drop(self, session: SessionId) -> None:
        """Forget its actor, which ended or is about to."""
        self._lives.pop(session, None)

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
        give_up = self._parts.clock.monotonic() + STOP
        running = [life.actor for life in self._lives.values() if life.actor and life.is_alive]
        for actor in running:
            tell(actor, Halt())
        for actor in running:
            actor.actor_stopped.wait(max(0.0, give_up - self._parts.clock.monotonic()))
        for life in self._lives.values():
            # Credentials of a session that was removed must not outlive the node.
            if life.over is not None:
                life.over.wait(max(0.0, give_up - self._parts.clock.monotonic()))
