"""Following the log into Redis, for ever: restarts itself from the position Redis has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import structlog

from events import subjects
from events.backoff import Backoff
from events.log import Log, LogError, Stored
from events.redis import AWAY, Redis
from events.settings import Settings
from projections import keys, models
from projections.applier import Applier
from projections.cancelling import cancel
from projections.models import Lost, Models

log = structlog.get_logger()

BATCH = 500
BATCH_BYTES = 4_000_000
OVERLAP = 200
"""Events read again at each start. Rewinding is free: what was applied is seen."""

PAUSE = 0.025
"""Seconds between two batches once the end was reached: the first event goes through at once,
what comes right after it goes together. Batch by batch, a trickle cost six times as much."""

WATCH = 0.5
"""Seconds between looks at what can change under us: the generation, the positions."""

RETRY = Backoff(first=0.1, most=5.0)


class Moved(Exception):
    """Another generation is in use now."""


class Projector:
    """Keeps the current generation of read models in step with the log.

    Several may run at once and do no harm. `identity` names the log: if it is
    another one than the models were made from, they are made anew.
    """

    def __init__(
        self,
        log: Log,
        redis: Redis,
        settings: Settings,
        identity: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._log = log
        self._redis = redis
        self._keep = timedelta(days=settings.message_days)
        self._identity = identity
        self._attempt = 0

    async def run(self) -> None:
        """Project until cancelled. Whatever is away is waited for."""
        while True:
            try:
                await self._once()
            except (Lost, Moved) as change:
                log.warning("projector.restarted", reason=type(change).__name__.lower())
            except (*AWAY, LogError) as error:
                log.warning("projector.waiting", error=type(error).__name__)
            self._attempt += 1
            await asyncio.sleep(RETRY.delay(self._attempt, seed="projector"))

    async def _once(self) -> None:
        generation = await models.current(self._redis)
        applier = Applier(self._log, await self._models(generation))
        await applier.open()
        following = asyncio.create_task(self._follow(applier))
        watching = asyncio.create_task(self._watch(applier, generation))
        try:
            done, _ = await asyncio.wait({following, watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel(following, watching)

    async def _models(self, generation: int) -> Models:
        made = Models(self._redis, generation, self._keep)
        if self._identity is not None:
            name = await self._identity()
            if not await made.read_from(name):
                # Positions of another log mean nothing here, and its events are gone.
                log.warning("projector.other_log", generation=generation)
                await models.wipe(self._redis, keys.everything(generation))
                await made.read_from(name)
        return made

    async def _follow(self, applier: Applier) -> None:
        start = min((track.position for track in applier.running), default=0)
        feed = self._log.follow([subjects.ALL_EVENTS], max(1, start + 1 - OVERLAP))
        batch, size = list[Stored](), 0
        async with _closing(feed):
            async for stored in feed:
                if stored is not None:
                    batch.append(stored)
                    size += len(stored.raw)
                full = len(batch) >= BATCH or size >= BATCH_BYTES
                if batch and (stored is None or full):
                    await applier.apply(batch)
                    batch, size = [], 0
                    if not full:
                        await asyncio.sleep(PAUSE)
                self._attempt = 0

    async def _watch(self, applier: Applier, generation: int) -> None:
        while True:
            await asyncio.sleep(WATCH)
            if await models.current(self._redis) != generation:
                raise Moved
            await applier.confirm()


@contextlib.asynccontextmanager
async def _closing(feed: object) -> AsyncGenerator[None]:
    """Close a feed that can be closed: the broker then drops its reader at once."""
    try:
        yield
    finally:
        close = getattr(feed, "aclose", None)
        if close is not None:
            await close()
