"""What browsers take, as their nodes tell it now and then."""

from __future__ import annotations

import time
from collections.abc import Container
from dataclasses import dataclass

from events.live import Usage
from events.settings import Settings
from events.subjects import SessionId
from gateway.outcomes import Heard, Outcomes

MB = 1_048_576


@dataclass(frozen=True, slots=True)
class Taken:
    """What one browser takes: memory in bytes, CPU in cores; `mailbox` waits for its actor."""

    memory: int
    cpu: float
    mailbox: int
    seen: float


class Browsers:
    """The newest word on each session's browser."""

    def __init__(self, settings: Settings, outcomes: Outcomes) -> None:
        # Twice missed and it is old news: the browser rests, or its node is gone.
        self._fresh = settings.memory_interval * 2.5
        self._limit = settings.max_sessions
        self._taken: dict[SessionId, Taken] = {}
        outcomes.watch_notices(self._heard)

    def _heard(self, heard: Heard) -> None:
        if isinstance(heard.payload, Usage):
            told = heard.payload
            memory = told.memory_mb * MB
            self._taken[heard.session] = Taken(memory, told.cpu, told.mailbox, time.monotonic())
            if len(self._taken) > 2 * self._limit:
                self._taken = self.now(None)

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
