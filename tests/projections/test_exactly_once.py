"""Nothing is lost and nothing is doubled, whatever falls over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable

from redis.asyncio import Redis

from events import session_events as e
from projections.cancelling import cancel
from projections.rebuild import rebuild
from tests.projections.world import Author, world
from tests.services import RedisServer


async def test_nothing_is_lost_or_doubled_through_restarts_and_kills_of_redis(
    nats_url: str, own_redis: RedisServer
) -> None:
    """Random lives, a projector that is cut off anywhere, and Redis killed with SIGKILL."""
    dice = random.Random(7)
    async with world(nats_url, own_redis.port) as here:
        authors = [here.author(f"u{n % 3}", f"b-{n}", seed=n) for n in range(8)]
        writing = asyncio.create_task(_all(author.wander(330) for author in authors))

        restarts = kills = 0
        while not writing.done() or restarts < 20:
            projecting = asyncio.create_task(here.projector().run())
            await asyncio.sleep(dice.uniform(0.02, 0.25))
            await cancel(projecting)
            restarts += 1
            if restarts % 6 == 0 and kills < 4:
                own_redis.kill()
                own_redis.start()
                kills += 1
        await writing

        async with here.projecting():
            await here.caught_up()
        assert kills >= 3
        assert _written(authors) > 2_000
        for author in authors:
            await here.agrees_with(author)

        # The same again from nothing, and beside what is there: the same answers.
        answers = await here.everything()
        await here.redis.flushall()
        async with here.projecting():
            await here.caught_up()
        assert await here.everything() == answers
        await rebuild(here.log, here.redis, here.settings, lambda *_: None)
        assert await here.everything() == answers


async def test_two_projectors_at_once_do_no_harm(nats_url: str, redis_url: str) -> None:
    """They fold the same events; the guard in Redis lets each through once."""
    async with world(nats_url, redis_url) as here:
        authors = [here.author("u", f"b{n}", seed=n) for n in range(5)]

        async with here.projecting(2):
            await _all(author.wander(150) for author in authors)
            await here.caught_up()

        for author in authors:
            await here.agrees_with(author)


async def test_a_second_that_redis_lost_is_noticed_and_read_again(
    nats_url: str, redis_port: int
) -> None:
    """Redis comes back older than it was, as after a crash, while the projector runs on."""
    async with world(nats_url, redis_port) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await here.caught_up()
            raw = Redis(port=redis_port)
            older = {key: await raw.dump(key) for key in await raw.keys("wa:*")}
            for n in range(5):
                await author.receive(f"in-{n}")
            await here.caught_up()

            pipe = raw.pipeline(transaction=True)
            pipe.flushall()
            for key, value in older.items():
                pipe.restore(key, 0, value)
            await pipe.execute()
            await raw.aclose()
            await here.caught_up()

        await here.agrees_with(author)


async def test_a_flush_while_running_is_noticed_and_all_is_made_anew(
    nats_url: str, redis_url: str
) -> None:
    """No event comes after the flush: the projector must look by itself."""
    async with world(nats_url, redis_url) as here:
        authors = [here.author("u", f"b{n}", seed=n) for n in range(3)]
        async with here.projecting():
            await _all(author.wander(60) for author in authors)
            await here.caught_up()
            answers = await here.everything()

            await here.redis.flushall()
            await here.caught_up()

            assert await here.everything() == answers


async def test_events_that_come_right_after_a_flush_do_not_hide_the_older_ones(
    nats_url: str, redis_url: str
) -> None:
    """A message 51 after a flush is a gap, not the first message of a family."""
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            for n in range(50):
                await author.receive(f"in-{n}")
            await here.caught_up()

            await here.redis.flushall()
            await author.receive("in-50")
            await author.session(e.ProfileSaved(generation=1, bytes=1, totals=author.totals()))
            await here.caught_up()

            await here.agrees_with(author)


async def _all(doing: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*doing)


def _written(authors: Iterable[Author]) -> int:
    return sum(author.state.version + author.message_version for author in authors)
