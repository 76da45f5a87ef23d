"""Time: the only module that knows what time it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

Cancel = Callable[[], None]


class Clock(Protocol):
    """The time, and calls at a later time."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for durations."""
        ...

    def after(self, delay: float, call: Callable[[], None]) -> Cancel:
        """Run `call` in `delay` seconds, unless the answer is called first. Any thread."""
        ...


class SystemClock:
    """The machine's clock; timers run on an asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return utc_now()

    def monotonic(self) -> float:
        return stopwatch()

    def after(self, delay: float, call: Callable[[], None]) -> Cancel:
        handle: list[asyncio.TimerHandle] = []
        cancelled = False

        def arm() -> None:
            if not cancelled:
                handle.append(self._loop.call_later(max(0.0, delay), call))

        def cancel() -> None:
            nonlocal cancelled
            cancelled = True
            for timer in handle:
                timer.cancel()

        def cancel_on_loop() -> None:
            # A loop that was closed holds no timer that could still fire.
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(cancel)

        self._loop.call_soon_threadsafe(arm)
        return cancel_on_loop


def utc_now() -> datetime:
    """Return the time of day, for parts that own no timers."""
    return datetime.now(UTC)


def stopwatch() -> float:
    """Return seconds that never run backwards, for parts that own no timers."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Block this thread for a while. For programs of a terminal only, never in an actor."""
    time.sleep(seconds)


def epoch(seconds: float) -> datetime:
    """Turn seconds since 1970 into an aware time."""
    return datetime.fromtimestamp(seconds, UTC)
