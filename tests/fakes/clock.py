"""A clock that stands still until it is told to move."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from events.clock import Cancel

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class _Timer:
    __slots__ = ("call", "cancelled", "due", "order")

    def __init__(self, due: float, order: int, call: Callable[[], None]) -> None:
        self.due = due
        self.order = order
        self.call = call
        self.cancelled = False

    def __lt__(self, other: _Timer) -> bool:
        return (self.due, self.order) < (other.due, other.order)


class VirtualClock:
    """Fulfils `events.clock.Clock`; timers fire inside `advance`, on the thread that advances."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._timers: list[_Timer] = []
        self._order = 0
        # Actors set timers from threads of their own; calls run outside the lock,
        # since they may set or cancel further timers.
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def after(self, delay: float, call: Callable[[], None]) -> Cancel:
        """Run `call` once `delay` seconds were advanced; 0 and less wait for the next `advance`."""
        with self._lock:
            self._order += 1
            timer = _Timer(self._elapsed + max(0.0, delay), self._order, call)
            heapq.heappush(self._timers, timer)

        def cancel() -> None:
            timer.cancelled = True

        return cancel

    @property
    def pending(self) -> int:
        """How many calls are still to come."""
        with self._lock:
            return sum(not timer.cancelled for timer in self._timers)

    @property
    def next_due(self) -> float | None:
        """Seconds until the next call, or None if there is none."""
        with self._lock:
            due = [timer.due for timer in self._timers if not timer.cancelled]
            return min(due) - self._elapsed if due else None

    def advance(self, seconds: float) -> None:
        """Move on, firing what falls due in order; each call sees the time it asked for.

        Calls set while advancing fire too, if they fall inside the span. If a
        call raises, the clock stays at that call's time and the rest is kept.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards")
        end = self._elapsed + seconds
        while (timer := self._due_by(end)) is not None:
            timer.call()
        with self._lock:
            self._elapsed = max(self._elapsed, end)

    def _due_by(self, end: float) -> _Timer | None:
        with self._lock:
            while self._timers and self._timers[0].due <= end:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    self._elapsed = max(self._elapsed, timer.due)
                    return timer
            return None
