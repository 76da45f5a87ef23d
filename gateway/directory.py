"""Finding sessions: the read models, never older than what this process has seen itself."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from events.session import EXISTING, WORDS, State
from events.session_events import Totals
from events.subjects import SessionId
from gateway.callers import Caller
from gateway.outcomes import REMEMBERED, Head, Outcomes
from gateway.problems import Problem, not_found
from projections.read import ReadModels
from projections.views import BreakerView, SessionView

PATIENCE = 0.5
"""Seconds to wait for the read models to reach an event that was seen."""

SULK = 5.0
"""Seconds not to wait at all after that was in vain: the projection stands still."""


ANEW = 1_000
"""Events by which the read models may be behind and their no is still believed."""


def taken(session: SessionId) -> Problem:
    """Say that a pair cannot be used: both may hold dashes, and another joins to the same id."""
    detail = f"The id {session.joined} belongs to another session already."
    return Problem(409, "id_taken", detail)


class Directory:
    """Looks sessions up. Every call raises ReadModelsAway."""

    def __init__(self, reads: ReadModels, outcomes: Outcomes) -> None:
        self._reads = reads
        self._outcomes = outcomes
        self._no_waiting_before = 0.0
        self._pairs: OrderedDict[str, SessionId] = OrderedDict()

    async def pair(self, joined: str) -> SessionId | None:
        """Find which pair an outside id belongs to."""
        return self._outcomes.by_joined(joined) or await self._reads.by_joined(joined)

    async def by_id(self, joined: str, caller: Caller) -> SessionView:
        """Look a session up by its outside id; raises Problem 404, for another user's as well."""
        # An id keeps its pair while that session exists, and whether it does the
        # view tells: so one round trip to Redis does, where finding it takes three.
        known = self._pairs.get(joined)
        view = None if known is None else await self.view(known)
        if view is None:
            pair = await self.pair(joined)
            view = None if pair is None else await self.view(pair)
        if view is None:
            self._pairs.pop(joined, None)
            raise await self._missing(joined)
        if not caller.sees(view.user):
            # Word for word what an id gets that there is not.
            raise await self._missing(joined)
        self._pairs[joined] = SessionId(view.user, view.bot)
        self._pairs.move_to_end(joined)
        if len(self._pairs) > REMEMBERED:
            self._pairs.popitem(last=False)
        return view

    async def existing(self, session: SessionId) -> SessionView:
        """Look a session up by its two halves; raises Problem 404, and 409 for a taken id."""
        view = await self.view(session)
        if view is None:
            owner = await self.pair(session.joined)
            if owner is not None and owner != session and await self.view(owner) is not None:
                raise taken(session)
            raise await self._missing(session.joined)
        return view

    async def _missing(self, joined: str) -> Problem:
        """Say that there is no such session, unless that cannot be told right now."""
        for health in await self._reads.health():
            # After a FLUSHALL there is nothing yet; a no would be believed for good.
            begun = health.position > 0
            if health.lag and (not begun or health.lag > ANEW):
                detail = "The read models are being built anew; try again."
                return Problem(503, "rebuilding", detail, retry_after=1)
        return not_found(joined)

    async def view(self, session: SessionId) -> SessionView | None:
        """Look a session up; None if there is none, or none any more."""
        head = self._outcomes.head(session)
        view = await self._reads.session(session)
        if head is not None and _behind(view, head):
            view = await self._caught_up(session, view, head)
        exists = view is not None and State(view.state) in EXISTING
        return view if exists else None

    async def every(self, user: str | None = None) -> list[SessionView]:
        """List sessions, oldest first."""
        views = [self._overlaid(view) for view in await self._reads.sessions(user)]
        return [view for view in views if State(view.state) in EXISTING]

    def _overlaid(self, view: SessionView) -> SessionView:
        session = SessionId(view.user, view.bot)
        head = self._outcomes.head(session)
        if head is None or not _behind(view, head):
            return view
        return _overlay(view, session, head) or view

    async def _caught_up(
        self, session: SessionId, view: SessionView | None, head: Head
    ) -> SessionView | None:
        if head.state is State.REMOVED:
            return None
        started = time.monotonic()
        if started < self._no_waiting_before:
            return _overlay(view, session, head)
        pause = 0.005
        while time.monotonic() < started + PATIENCE:
            await asyncio.sleep(pause)
            pause = min(0.05, pause * 2)
            view = await self._reads.session(session)
            if not _behind(view, head):
                return view
        self._no_waiting_before = time.monotonic() + SULK
        return _overlay(view, session, head)


def _behind(view: SessionView | None, head: Head) -> bool:
    if view is None:
        return head.state is not State.REMOVED
    return view.version < head.version


def _overlay(view: SessionView | None, session: SessionId, head: Head) -> SessionView | None:
    """Say at least the state that was seen, where the projection stands still."""
    if head.state is None:
        return view
    seen = {"state": head.state.value, "word": WORDS[head.state], "version": head.version}
    if view is not None:
        return view.model_copy(update=seen | {"updated": head.at})
    return placeholder(session, head)


def placeholder(session: SessionId, head: Head) -> SessionView:
    """Describe a session that the read models do not show yet."""
    state = head.state or State.REGISTERED
    return SessionView(
        user=session.user,
        bot=session.bot,
        session=session.joined,
        state=state.value,
        word=WORDS[state],
        wanted=True,
        linked=False,
        starts=BreakerView(),
        page=BreakerView(),
        phone=None,
        lid=None,
        push_name=None,
        reason=None,
        error=None,
        attempt=0,
        deadline=None,
        percent=-1,
        node=None,
        created=head.at,
        updated=head.at,
        since=head.at,
        last_activity=head.at,
        ready_since=None,
        totals=Totals(),
        version=head.version,
        position=0,
    )
