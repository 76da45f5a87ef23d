"""The frames that wait for one reader."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.frames import Frame


class TooSlow(Exception):
    """The reader did not keep up; what waited for it is dropped."""


class Over(Exception):
    """The gateway ends; the reader may come back to another."""


class Line:
    """Frames in order; no more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[Frame] = deque()
        self._held: dict[str, list[Frame]] = {}
        self._news = asyncio.Event()
        self._over = False
        self.overflowed = False

    def put(self, frame: Frame) -> None:
        """Add a frame, unless the line is full."""
        if self.overflowed:
            return
        if len(self._frames) + sum(map(len, self._held.values())) >= self._limit:
            self.overflowed = True
            self._frames.clear()
            self._held.clear()
        else:
            self._held.get(frame.session, self._frames).append(frame)
        self._news.set()

    def hold(self, session: str) -> None:
        """Keep back what comes of a session, until `release` says what goes before it."""
        self._held.setdefault(session, [])

    def release(self, session: str, first: list[Frame]) -> None:
        """Let go what was kept back, after `first`."""
        self._frames.extend(first)
        self._frames.extend(self._held.pop(session, ()))
        self._news.set()

    def end(self) -> None:
        """Send the reader away."""
        self._over = True
        self._news.set()

    def reset(self) -> None:
        """Begin anew after an overflow."""
        self._frames.clear()
        self.overflowed = False

    async def next(self) -> Frame:
        """Return the next frame; raises TooSlow and Over."""
        while not self._frames or self._over:
            if self._over:
                raise Over
            if self.overflowed:
                raise TooSlow
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()
