"""Moving windows, in Redis for all gateways together or in the memory of this one.

They are those of the library `limits`, under its names and in its format. But
its strategies take one window at a time: asked for two in a row, the first has
given a place away when the second refuses, and refused requests use up the
quota. So both stores here take several windows in one step, all or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from events.clock import utc_now
from events.redis import AWAY, connect
from events.settings import Settings

PREFIX = "wa:limit"
DEADLINE = 2.0
"""Seconds until Redis has not answered; many connections are opened when many ask at once."""


class WindowsAway(Exception):
    """Redis cannot be reached or does not answer in time."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `amount` within any `seconds`."""

    name: str
    amount: int
    seconds: int

    @property
    def item(self) -> RateLimitItem:
        """The same in the words of `limits`."""
        return RateLimitItemPerSecond(self.amount, self.seconds, self.name)


@dataclass(frozen=True, slots=True)
class Level:
    """How full a window is. `free`: seconds until its oldest place is free again."""

    window: Window
    taken: int = 0
    free: float = 0.0

    @property
    def remaining(self) -> int:
        """How many places are left."""
        return max(0, self.window.amount - self.taken)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether there was room in every window, and how full they are now."""

    allowed: bool
    levels: tuple[Level, ...]

    @property
    def wait(self) -> float:
        """Seconds until there is room in every window."""
        return max((level.free for level in self.levels if not level.remaining), default=0.0)


class Windows(Protocol):
    """Where windows are kept. Every call raises WindowsAway."""

    async def take(self, user: str, windows: Sequence[Window], cost: int = 1) -> Verdict:
        """Take a place in each window, or in none; with a cost of 0, only look."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class SharedWindows:
    """Windows in Redis. They expire there by themselves."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect(settings)
        script = Path(__file__).with_suffix(".lua").read_text()
        self._script = self._redis.register_script(script)

    async def take(self, user: str, windows: Sequence[Window], cost: int = 1) -> Verdict:
        """See Windows.take."""
        # One hash tag for all windows of a user: a script stays in one slot of a cluster.
        keys = [f"{PREFIX}:{window.item.key_for(f'{{{user}}}')}" for window in windows]
        figures = [figure for window in windows for figure in (window.amount, window.seconds)]
        try:
            async with asyncio.timeout(DEADLINE):
                told = cast("list[int | str]", await self._script(keys, [cost, *figures]))
        except AWAY as error:
            raise WindowsAway(f"Redis: {type(error).__name__}") from error
        levels = zip(windows, told[1::2], told[2::2], strict=True)
        return Verdict(
            bool(told[0]),
            tuple(Level(window, int(taken), float(free)) for window, taken, free in levels),
        )

    async def close(self) -> None:
        """See Windows.close."""
        await self._redis.aclose()


class LocalWindows:
    """Windows in memory. What has left a window is dropped by `limits` as it goes."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        # Between looking and taking nobody else may take.
        self._one_at_a_time = asyncio.Lock()

    async def take(self, user: str, windows: Sequence[Window], cost: int = 1) -> Verdict:
        """See Windows.take."""
        async with self._one_at_a_time:
            levels = [await self._level(user, window) for window in windows]
            allowed = all(level.remaining >= cost for level in levels)
            if allowed and cost:
                for window in windows:
                    await self._limiter.hit(window.item, user, cost=cost)
                levels = [await self._level(user, window) for window in windows]
        return Verdict(allowed, tuple(levels))

    async def _level(self, user: str, window: Window) -> Level:
        stats = await self._limiter.get_window_stats(window.item, user)
        taken = window.amount - stats.remaining
        return Level(
            window, taken, max(0.0, stats.reset_time - utc_now().timestamp()) if taken else 0.0
        )

    async def close(self) -> None:
        """See Windows.close."""
