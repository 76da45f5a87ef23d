"""Turns at what there is little of: so many at once, and only some of them one user's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    """So many turns, of which each user gets a few, so that nobody's slowness is all others'."""

    def __init__(self, turns: int, each: int) -> None:
        self._all = asyncio.Semaphore(turns)
        self._each = each
        self._own: dict[str, asyncio.Semaphore] = {}
        self._there: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, user: str, patience: float) -> AsyncGenerator[None]:
        """Have a turn, and wait for it. Raises TimeoutError after so many seconds."""
        own = self._own.setdefault(user, asyncio.Semaphore(self._each))
        self._there[user] += 1
        try:
            async with asyncio.timeout(patience):
                await own.acquire()
            try:
                async with asyncio.timeout(patience):
                    await self._all.acquire()
                try:
                    yield
                finally:
                    self._all.release()
            finally:
                own.release()
        finally:
            self._there[user] -= 1
            if not self._there[user]:
                del self._own[user], self._there[user]
