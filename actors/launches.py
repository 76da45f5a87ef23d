"""Launches of browsers: a few at a time, and only one when every start fails.

Sessions wait in a queue for a place. A place is held from the pool's word
until the session says how its start ended, which the node's breaker learns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from actors.parts import Parts
from actors.pool_recorder import PoolRecorder
from actors.sightings import OUTDATED
from events.breaker import Breaker, BreakerState, Try
from events.pool import LaunchesPaused, LaunchesProbed, LaunchesResumed
from events.subjects import SessionId

NO_MEMORY = 5.0
"""Seconds until the machine's memory is looked at again."""


class Launches:
    """The places of one node, and its launch breaker. Used on the pool's own thread only."""

    def __init__(
        self,
        parts: Parts,
        recorder: PoolRecorder,
        *,
        is_alive: Callable[[SessionId], bool],
        let: Callable[[SessionId], None],
        tell_place: Callable[[SessionId, int], None],
        again_in: Callable[[float], None],
    ) -> None:
        """`let` lets a session launch; `again_in` has `grant` called after some seconds."""
        settings = parts.settings
        self._parts, self._recorder = parts, recorder
        self._is_alive, self._let = is_alive, let
        self._tell_place, self._again_in = tell_place, again_in
        self._queue: deque[SessionId] = deque()
        self._holding: dict[SessionId, Try] = {}
        self._breaker: Breaker = Breaker(
            settings.node_breaker_failures, settings.node_breaker_reset
        )
        self._failing: set[SessionId] = set()
        self._outdated = False
        self._log = structlog.get_logger()

    @property
    def paused_for(self) -> float:
        """Seconds until a probe may be launched; 0 where nothing is paused."""
        return self._breaker.retry_in(self._parts.clock.now())

    @property
    def under_way(self) -> int:
        """How many sessions hold a place: they launch now, or their start has not ended."""
        return len(self._holding)

    def reject(self) -> None:
        """Count a create that was refused because launches are paused."""
        self._breaker = replace(self._breaker, rejected=self._breaker.rejected + 1)

    def want(self, session: SessionId) -> None:
        """Take a session into the queue."""
        if session not in self._queue and session not in self._holding:
            self._queue.append(session)
        self.grant()

    def give_back(self, session: SessionId) -> None:
        """Free the place of a session that is past its launch, or gone."""
        tried = self._holding.pop(session, None)
        if tried is not None:
            # Where its outcome was told before, the breaker has gone on and this changes nothing.
            self._breaker = self._breaker.abandoned(tried)
        if session in self._queue and not self._is_alive(session):
            self._queue.remove(session)
        self.grant()

    def grant(self) -> None:
        """Let as many launch as may, first come first served."""
        while self._queue and len(self._holding) < self._parts.settings.start_concurrency:
            session = self._queue[0]
            if not self._is_alive(session):
                self._queue.popleft()
                continue
            granted = self._admit(session) if self._has_memory() else None
            if granted is None:
                break
            self._queue.popleft()
            self._holding[session] = granted
            self._let(session)
        for place, session in enumerate(self._queue, 1):
            self._tell_place(session, place)

    def _has_memory(self) -> bool:
        """Whether the machine can carry one more browser; looked at again after a while."""
        if self._parts.machine.available_mb() >= self._parts.settings.memory_reserve_mb:
            return True
        self._log.warning("pool.no_memory", waiting=len(self._queue))
        self._again_in(NO_MEMORY)
        return False

    def _admit(self, session: SessionId) -> Try | None:
        """Ask the breaker: when every start fails, only one probe is made at a time."""
        before = self._breaker
        granted, after = before.admit(self._parts.clock.now())
        self._breaker = after
        if after.state is BreakerState.HALF_OPEN and before.state is BreakerState.OPEN:
            probed = LaunchesProbed(
                session=str(session), rejected=after.rejected, failures=after.failures
            )
            self._recorder.record(probed)
        return granted

    def outdated(self) -> None:
        """Note that WhatsApp refused the version of a page that was long up."""
        self._outdated = True

    def ended(self, session: SessionId, started: bool | None, reason: str | None) -> None:
        """Learn from how a start ended. One session that fails again and again is its own."""
        tried, before = self._holding.get(session), self._breaker
        if tried is None or started is None or not before.counts(tried):
            return
        if started:
            self._failing.clear()
            self._outdated = False
            self._breaker = before.succeeded(tried)
        else:
            rejected = reason == OUTDATED
            if session in self._failing and before.state is BreakerState.CLOSED and not rejected:
                return
            self._failing.add(session)
            counted = before
            if rejected and self._outdated:
                # Every session gets the same page, so one reload is all the proof it takes.
                enough = max(before.failures, before.threshold - 1)
                counted = replace(before, failures=enough)
            self._outdated = self._outdated or rejected
            self._breaker = counted.failed(tried, self._parts.clock.now())
        self._tell(before, reason)

    def _tell(self, before: Breaker, reason: str | None) -> None:
        after = self._breaker
        if after.state is BreakerState.OPEN and after.until != before.until:
            self._log.error("pool.launches_paused", reason=reason, failures=after.failures)
            paused = LaunchesPaused(
                reason=reason or "unknown",
                failures=after.failures,
                retry_in=after.reset,
                rejected=after.rejected,
            )
            self._recorder.record(paused)
            self._again_in(after.reset + 0.01)
        elif after.state is BreakerState.CLOSED and before.state is not BreakerState.CLOSED:
            self._log.info("pool.launches_resumed")
            self._recorder.record(LaunchesResumed(rejected=after.rejected))
