"""What health found before: kept in Redis, so that a restart of the gateway forgets nothing.

The gateway writes it itself, under a key of its own: the projections are one of
the things that are looked at, and could not tell of their own failure. Each
gateway looks from where it stands, so each has a history.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from events.redis import AWAY, connect
from events.settings import Settings
from gateway.checks.finding import Status
from gateway.wire import Json

log = structlog.get_logger()

KEPT = 240
"""Reports that are kept: an hour at the default interval."""

SHOWN = 10

FORGOTTEN = timedelta(days=30)
"""After this the history of a gateway that is no more is dropped."""

DEADLINE = 1.0


class Past(BaseModel):
    """A report as it is remembered. `duration` in milliseconds, `ill` names what was not well."""

    model_config = ConfigDict(frozen=True)

    timestamp: str
    status: Status
    duration: float
    ill: tuple[str, ...] = ()

    @property
    def shown(self) -> Json:
        """The JSON of it in `history`."""
        return self.model_dump() | {"healthy": self.status != "unhealthy"}


class Chronicle(BaseModel):
    """The newest reports, oldest first, and what all reports ever add up to."""

    model_config = ConfigDict(frozen=True)

    total: int = 0
    failures: int = 0
    spent: float = 0.0
    reports: tuple[Past, ...] = ()

    def with_report(self, past: Past) -> Chronicle:
        """Add a report."""
        return Chronicle(
            total=self.total + 1,
            failures=self.failures + (past.status != "healthy"),
            spent=self.spent + past.duration,
            reports=(*self.reports, past)[-KEPT:],
        )

    def after(self, earlier: Chronicle) -> Chronicle:
        """Put what came before in front."""
        return Chronicle(
            total=self.total + earlier.total,
            failures=self.failures + earlier.failures,
            spent=self.spent + earlier.spent,
            reports=(*earlier.reports, *self.reports)[-KEPT:],
        )

    @property
    def statistics(self) -> Json:
        """The JSON of `statistics`; durations in milliseconds."""
        total = max(1, self.total)
        return {
            "healthyPercentage": round(100 * (1 - self.failures / total), 2),
            "averageDuration": round(self.spent / total, 2),
            "totalChecks": self.total,
            "failureCount": self.failures,
        }


class Shelf(Protocol):
    """Where a chronicle is kept. Both calls raise ShelfAway."""

    async def read(self) -> Chronicle:
        """Return what is kept; an empty one if there is nothing."""
        ...

    async def write(self, chronicle: Chronicle) -> None:
        """Keep this instead of what was there."""
        ...


class ShelfAway(Exception):
    """Redis does not take the history or does not give it."""


class RedisShelf:
    """One string in Redis: small, written whole, so that a FLUSHALL mends itself."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect(settings, timeout=DEADLINE)
        self._key = f"wa:health:{settings.node}:{settings.port}"

    async def read(self) -> Chronicle:
        """See Shelf.read."""
        try:
            async with asyncio.timeout(DEADLINE):
                held = await self._redis.get(self._key)
            return Chronicle.model_validate_json(held) if held else Chronicle()
        except ValidationError:
            return Chronicle()  # What an earlier version wrote is no reason to be blind.
        except AWAY as error:
            raise ShelfAway from error

    async def write(self, chronicle: Chronicle) -> None:
        """See Shelf.write."""
        try:
            async with asyncio.timeout(DEADLINE):
                await self._redis.set(self._key, chronicle.model_dump_json(), ex=FORGOTTEN)
        except AWAY as error:
            raise ShelfAway from error

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


class History:
    """Remembers reports; without its shelf it does so in memory, and shelves them later."""

    def __init__(self, shelf: Shelf | None) -> None:
        self._shelf = shelf
        self._read = False
        self._news = asyncio.Event()
        self.chronicle = Chronicle()

    @property
    def newest(self) -> Past | None:
        """The last report remembered, by this process or by the one before."""
        return self.chronicle.reports[-1] if self.chronicle.reports else None

    def remember(self, past: Past) -> None:
        """Add a report."""
        self.chronicle = self.chronicle.with_report(past)
        self._news.set()

    async def run(self) -> None:
        """Put away what is new, for ever. Ends by cancellation only."""
        # Apart from the looking: a Redis that hangs must not hold health up.
        while True:
            await self._news.wait()
            self._news.clear()
            if self._shelf is not None:
                await self._put_away(self._shelf)

    async def _put_away(self, shelf: Shelf) -> None:
        try:
            if not self._read:
                earlier = await shelf.read()
                self.chronicle = self.chronicle.after(earlier)
                self._read = True
            await shelf.write(self.chronicle)
        except ShelfAway:
            # All of it is in memory, and the next report tries again.
            log.debug("health.history_in_memory", reports=len(self.chronicle.reports))
