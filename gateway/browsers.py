"""What browsers take, as their nodes tell it now and then."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from events.clock import utc_now
from events.live import Usage
from events.settings import Settings
from events.subjects import SessionId
from gateway.outcomes import Heard, Outcomes

MB = 1_048_576

REMEMBERED = 180
"""Measurements of each browser that are kept: three hours at the default interval."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one browser takes: memory in bytes, CPU in cores; `mailbox` waits for its actor."""

    memory: int
    cpu: float
    mailbox: int
    seen: float
    at: datetime


class Browsers:
    """The newest word on each session's browser."""

    def __init__(self, settings: Settings, outcomes: Outcomes) -> None:
        # Twice missed and it is old news: the browser rests, or its node is gone.
        self._fresh = settings.memory_interval * 2.5
        self._limit = settings.max_sessions
        self._taken: dict[SessionId, Taken] = {}
        self._past: OrderedDict[SessionId, deque[Taken]] = OrderedDict()
        outcomes.watch_notices(self._heard)

    def _heard(self, heard: Heard) -> None:
        if isinstance(heard.payload, Usage):
            told = heard.payload
            memory = told.memory_mb * MB
            taken = Taken(memory, told.cpu, told.mailbox, time.monotonic(), utc_now())
            self._taken[heard.session] = taken
            self._remember(heard.session, taken)
            if len(self._taken) > 2 * self._limit:
                self._taken = self.now(None)

    def _remember(self, session: SessionId, taken: Taken) -> None:
        self._past.setdefault(session, deque(maxlen=REMEMBERED)).append(taken)
        self._past.move_to_end(session)
        if len(self._past) > self._limit:
            self._past.popitem(last=False)

    def past(self, session: SessionId) -> Sequence[Taken]:
        """Return what was told of a session's browser lately, the oldest first."""
        return tuple(self._past.get(session, ()))

    def now(self, running: Container[SessionId] | None) -> dict[SessionId, Taken]:
        """Return what is fresh, of these sessions or (None) of all; no more than the pool holds.

        The largest come first: a reader that shows each by name shows a bounded number.
        """
        oldest = time.monotonic() - self._fresh
        fresh = {
            session: taken
            for session, taken in self._taken.items()
            if taken.seen >= oldest and (running is None or session in running)
        }
        largest = sorted(fresh.items(), key=lambda item: -item[1].memory)
        return dict(largest[: self._limit])
