"""Who watches what, and the frames that wait for one reader."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from gateway.frames import Frame


class TooSlow(Exception):
    """The reader did not keep up; what waited for it is dropped."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody wants to see: a session or all, some events or all, a user's or anyone's."""

    session: str | None = None
    names: frozenset[str] | None = None
    user: str | None = None

    def wants(self, frame: Frame) -> bool:
        """Tell whether a frame is for this watch, whatever it is called."""
        if self.user is not None and frame.user != self.user:
            return False
        return self.session is None or frame.session == self.session


class Line:
    """The frames that wait for one reader, in order; no more than `limit`."""

    def __init__(self, watch: Watch, limit: int) -> None:
        self.watch = watch
        self._limit = limit
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()
        self.overflowed = False

    def put(self, frame: Frame) -> None:
        """Add a frame that is wanted, unless the line is full."""
        if self.overflowed or not self.watch.wants(frame):
            return
        if len(self._frames) >= self._limit:
            self.overflowed = True
            self._frames.clear()
        else:
            self._frames.append(frame)
        self._news.set()

    def reset(self) -> None:
        """Begin anew after an overflow."""
        self._frames.clear()
        self.overflowed = False

    async def next(self) -> Frame:
        """Return the next frame; raises TooSlow."""
        while not self._frames:
            if self.overflowed:
                raise TooSlow
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()
