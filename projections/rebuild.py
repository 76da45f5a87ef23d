"""Building the next generation of read models beside the current one, and changing over.

It is safe while the projector runs. Until the flip nobody reads or writes the
new generation but we. It has positions of its own, so a projector that sees
`wa:current` change opens it there and reads all that came meanwhile: nothing
can fall between the two, only be a moment late. Whatever a projector still
writes to the old generation after the flip is lost with it, and is not missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import cast

from events import subjects
from events.bar import Advance
from events.envelope import new_id
from events.log import Log, Stored
from events.redis import Redis
from events.settings import Settings
from projections import keys, models
from projections.applier import Applier
from projections.cancelling import cancel
from projections.models import Lost, Models

BATCH = 500
BATCH_BYTES = 4_000_000
GRACE = 2.0
"""Seconds in which readers and the projector notice the flip: both look every half second."""

LOCK = 30
PASSES = 10


class RebuildFailed(Exception):
    """The new generation cannot take over; the current one stays as it is."""


async def rebuild(log: Log, redis: Redis, settings: Settings, progress: Advance) -> int:
    """Rebuild everything from the log and change over; return how many events were read.

    `progress` is told the position reached and the log's tail. Raises
    RebuildFailed, and what Redis and the log raise; the current generation is
    then still in use, and the next rebuild clears what was left behind.
    """
    async with _alone(redis):
        old = await models.current(redis)
        new = old + 1
        await models.wipe(redis, keys.everything(new))
        applier = Applier(
            log, Models(redis, new, timedelta(days=settings.message_days)), live=False
        )
        await applier.open()
        count = 0
        # The log grows while we read. The last passes are short, so the new
        # generation is a moment behind at the flip and no more.
        for _ in range(PASSES):
            read = await _pass(log, applier, progress)
            count += read
            if read == 0:
                break
        await _flip(redis, old, new)
        await asyncio.sleep(GRACE)
        # All others, since a projector that died may have left older ones.
        await models.wipe(redis, keys.ALL_GENERATIONS, but=keys.everything(new).removesuffix("*"))
        return count


async def _pass(log: Log, applier: Applier, progress: Advance) -> int:
    tail = await log.tail(subjects.ALL_EVENTS)
    start = min(track.position for track in applier.tracks.values()) + 1
    if start > tail:
        return 0
    count, batch, size = 0, list[Stored](), 0
    async for stored in log.read([subjects.ALL_EVENTS], start):
        batch.append(stored)
        size += len(stored.raw)
        count += 1
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            await _apply(applier, batch)
            progress(stored.position, max(tail, stored.position))
            batch, size = [], 0
    if batch:
        await _apply(applier, batch)
        progress(batch[-1].position, max(tail, batch[-1].position))
    return count


async def _apply(applier: Applier, batch: list[Stored]) -> None:
    try:
        await applier.apply(batch)
    except Lost:
        raise RebuildFailed("Redis lost what was written meanwhile: try again") from None
    for track in applier.tracks.values():
        if track.stopped is not None:
            raise RebuildFailed(f"{track.name} stopped at {track.stopped}")


_FLIP = """
if (redis.call('GET', KEYS[1]) or '1') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


async def _flip(redis: Redis, old: int, new: int) -> None:
    flipped = cast("int", await redis.register_script(_FLIP)(keys=[keys.CURRENT], args=[old, new]))
    if not flipped:
        raise RebuildFailed("another generation came into use meanwhile")


@contextlib.asynccontextmanager
async def _alone(redis: Redis) -> AsyncGenerator[None]:
    """Hold the rebuild's lock, renewed while we work and gone soon after a crash."""
    token = new_id()
    if not await redis.set(keys.REBUILDING, token, nx=True, ex=LOCK):
        raise RebuildFailed("a rebuild is under way already")

    async def renew() -> None:
        while True:
            await asyncio.sleep(LOCK / 3)
            await redis.expire(keys.REBUILDING, LOCK)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        await cancel(renewing)
        await redis.register_script(_UNLOCK)(keys=[keys.REBUILDING], args=[token])
