"""The right to launch a browser: a session holds it from the pool's word until it is past that."""

from __future__ import annotations

from actors import pool_messages as to_pool
from actors.session_parts import SessionParts
from actors.sightings import OUTDATED
from events.session import State

S = State

STARTED = frozenset({S.PAIRING, S.AUTHENTICATED, S.READY, S.LOGGED_OUT})
"""States that prove that a browser could be started."""


class Slot:
    """One session's place among the launches of its node. Used on the session's own thread only."""

    def __init__(self, own: SessionParts) -> None:
        self._own = own
        self._held = False

    def want(self) -> None:
        """Ask the pool for a place."""
        self._own.tell_pool(to_pool.WantSlot(self._own.identity))

    def take(self) -> None:
        """Hold the place that the pool gives."""
        self._held = True

    def give_back(self) -> None:
        """Return the place, if one is held, with what the state says of launches."""
        if self._held:
            self._held = False
            state = self._own.state
            started = None
            if state.state in STARTED:
                started = True
            elif state.state in {S.BACKING_OFF, S.SUSPENDED}:
                started = False
            self._own.tell_pool(to_pool.SlotDone(self._own.identity, started, state.reason))

    def give_back_unless_starting(self) -> None:
        """Return the place once the launch is over."""
        if self._own.state.state is not S.STARTING:
            self.give_back()

    def crashed(self, reason: str) -> None:
        """Tell the pool of a page that was refused as outdated long after its launch.

        While the place is held, its return says the same.
        """
        if reason == OUTDATED and not self._held:
            self._own.tell_pool(to_pool.Outdated())
