"""Tenure: which sessions are this node's, and which it takes because nobody has them.

A session goes back to the node that had it last, where its profile lies; another
takes it when it was handed over, when the lease of its node ran out, or when that node
has not come back after a while. What is free is shared among the nodes that live, and
a node without room leaves it to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from actors.leases import LeaseAway, NodeWord
from actors.loop import LoopStopped
from actors.parts import Parts
from events import codec, subjects
from events.log import LogError
from events.subjects import SessionId

AWAY_NODE = 2.0
"""How many times the life of a lease a session waits for its node, before others take it."""


LEAVE = 5.0
"""Seconds in which all leases are given up, or run out."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Who has a lease now, and which node had each of the free ones last (None: nobody)."""

    held: frozenset[SessionId]
    homes: dict[SessionId, str | None]


@dataclass(frozen=True, slots=True)
class Leased:
    """What came of asking for a lease; None if nobody could tell."""

    session: SessionId
    took: bool | None


class Tenure:
    """One node's hold on sessions. Used on the pool's own thread only."""

    def __init__(
        self,
        parts: Parts,
        *,
        registered: Callable[[], Collection[SessionId]],
        tell: Callable[[Looked | Leased], None],
    ) -> None:
        """`registered` gives the sessions there are; `tell` puts answers into the mailbox."""
        self._parts, self._registered, self._tell = parts, registered, tell
        self._mine: set[SessionId] = set()
        self._asking: set[SessionId] = set()
        self._free_since: dict[SessionId, float] = {}
        self._had_holder: set[SessionId] = set()
        self._leaving = self._has_looked = False
        self._log = structlog.get_logger()

    @property
    def mine(self) -> Collection[SessionId]:
        """The sessions whose lease is held."""
        return self._mine

    @property
    def leaving(self) -> bool:
        """Whether the node hands over what it has, and takes nothing."""
        return self._leaving

    def leave(self) -> None:
        """Take nothing any more."""
        self._leaving = True
        self.say()

    def leave_all(self) -> None:
        """Give every lease up, so that nobody need wait for it to run out. Blocks."""
        self.leave()

        async def release() -> None:
            hand_over = [
                self._parts.leases.release(session, hand_over=True) for session in self._mine
            ]
            await asyncio.gather(*hand_over)

        with contextlib.suppress(TimeoutError, LoopStopped):
            self._parts.loop.wait(release(), LEAVE)
        self._mine.clear()

    # --- room -------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether one more session fits here, by number and by memory."""
        settings = self._parts.settings
        if self._leaving or (settings.node_sessions and self._used >= settings.node_sessions):
            return False
        return self._parts.machine.available_mb() >= settings.memory_reserve_mb

    @property
    def takes_creates(self) -> bool:
        """Whether new sessions land here: it has room, or nobody has and one must queue them."""
        if self._leaving:
            return False
        return self.has_room or not any(word.has_room for word in self._parts.leases.others())

    def say(self) -> None:
        """Tell the other nodes how this one does."""
        settings = self._parts.settings
        word = NodeWord(settings.node, len(self._mine), self.has_room, self._leaving)
        self._parts.loop.run(self._parts.leases.say(word), then=_nothing, failed=_nothing)

    @property
    def _used(self) -> int:
        return len(self._mine | self._asking)

    # --- taking -----------------------------------------------------------------

    def holds(self, session: SessionId) -> bool:
        """Whether this node has the lease."""
        return session in self._mine

    def want(self, session: SessionId) -> None:
        """Ask for a lease, unless it is here or asked for already."""
        if session in self._mine or session in self._asking or self._leaving:
            return
        self._asking.add(session)
        self._parts.loop.run(
            self._parts.leases.take(session),
            then=lambda took: self._tell(Leased(session, took)),
            failed=lambda _: self._tell(Leased(session, None)),
        )

    def leased(self, answer: Leased) -> bool:
        """Note what came of asking; True if the session is this node's now."""
        self._asking.discard(answer.session)
        self._free_since.pop(answer.session, None)
        if answer.took is False:
            self._had_holder.add(answer.session)
        if not answer.took:
            return False
        if self._leaving:
            self.give_up(answer.session, hand_over=True)
            return False
        self._mine.add(answer.session)
        return True

    def lost(self, session: SessionId) -> None:
        """Note that a lease is somebody else's."""
        self._mine.discard(session)

    def give_up(self, session: SessionId, *, hand_over: bool) -> None:
        """Let go of a session that does not run here any more."""
        self._mine.discard(session)
        self._parts.loop.run(
            self._parts.leases.release(session, hand_over=hand_over),
            then=_nothing,
            failed=_nothing,
        )

    def freed(self, session: SessionId) -> None:
        """Take what another node handed over, if there is room."""
        if self.has_room:
            self.want(session)

    # --- looking ----------------------------------------------------------------

    def look(self) -> None:
        """Find out in the background who has what; `looked` takes the answer."""
        registered = [s for s in self._registered() if s not in self._mine]
        known = set(self._had_holder)

        async def look() -> Looked:
            held = await self._parts.leases.held()
            homes: dict[SessionId, str | None] = {}
            for session in registered:
                if session not in held and session not in known:
                    homes[session] = await self._home(session)
            return Looked(held, homes)

        self._parts.loop.run(look(), then=self._tell, failed=self._not_looked)

    def looked(self, seen: Looked) -> None:
        """Take a fair share of what nobody has."""
        now, settings = self._parts.clock.monotonic(), self._parts.settings
        registered = set(self._registered())
        if not self._has_looked:
            self._has_looked = True
            # Some of these may be of an earlier life of this node, whose leases still run.
            for session in registered & seen.held:
                self.want(session)
        self._had_holder = (self._had_holder | seen.held) & registered
        free = sorted(registered - seen.held - self._mine - self._asking)
        self._free_since = {session: self._free_since.get(session, now) for session in free}
        patience = AWAY_NODE * settings.lease_ttl
        mine = [session for session in free if seen.homes.get(session) == settings.node]
        others = [
            session
            for session in free
            if session not in mine
            and (session in self._had_holder or now - self._free_since[session] >= patience)
        ]
        takers = 1 + sum(word.has_room for word in self._parts.leases.others())
        for session in mine:
            self.want(session)
        for session in others[: math.ceil(len(others) / takers)]:
            if not self.has_room:
                break
            self.want(session)

    async def _home(self, session: SessionId) -> str | None:
        try:
            claimed = await self._parts.log.last(subjects.session_claims(session))
        except codec.Undecodable:
            return None
        return None if claimed is None else claimed.node

    def _not_looked(self, error: Exception) -> None:
        if isinstance(error, LeaseAway | LogError):
            self._log.debug("pool.leases_away", error=str(error))
        else:
            self._log.error("pool.look_failed", error=repr(error))


def _nothing(_: object) -> None:
    """Nobody waits for it; what was not said is said again."""
