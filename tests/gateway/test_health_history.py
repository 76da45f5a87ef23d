"""What health found before: over restarts, without Redis, and after Redis forgot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from gateway.health_history import KEPT, Chronicle, History, Past, RedisShelf
from tests import services
from tests.gateway.conftest import serving, settings_for

KEY = "wa:health:here:3001"


def past(word: str, status: str = "healthy") -> Past:
    return Past.model_validate({"timestamp": word, "status": status, "duration": 2.0})


def shelf_on(port: int) -> RedisShelf:
    settings = settings_for("nats://127.0.0.1:9", Path(), redis_port=port, node="here")
    return RedisShelf(settings)


@contextlib.asynccontextmanager
async def a_history(port: int) -> AsyncIterator[History]:
    """A history as a gateway has it from start to end."""
    shelf = shelf_on(port)
    history = History(shelf)
    task = asyncio.create_task(history.run())
    yield history
    task.cancel()
    await asyncio.wait({task})
    await shelf.close()


def words(chronicle: Chronicle) -> list[str]:
    return [each.timestamp for each in chronicle.reports]


async def kept(port: int, wanted: Callable[[Chronicle], bool]) -> Chronicle:
    """Wait until what is on the shelf is as wanted."""
    shelf = shelf_on(port)
    async with asyncio.timeout(10):
        while True:
            held = await shelf.read()
            if wanted(held):
                await shelf.close()
                return held
            await asyncio.sleep(0.01)


async def test_a_restart_of_the_gateway_forgets_nothing(redis_port: int) -> None:
    async with a_history(redis_port) as before:
        before.remember(past("one", "unhealthy"))
        await kept(redis_port, lambda held: held.total == 1)

    async with a_history(redis_port) as after:
        after.remember(past("two"))
        held = await kept(redis_port, lambda held: held.total == 2)

        assert words(held) == words(after.chronicle) == ["one", "two"]
        assert after.chronicle.statistics == {
            "healthyPercentage": 50.0,
            "averageDuration": 2.0,
            "totalChecks": 2,
            "failureCount": 1,
        }


async def test_an_outage_of_redis_is_remembered_and_told_to_it_afterwards(
    own_redis: services.RedisServer,
) -> None:
    async with a_history(own_redis.port) as history:
        history.remember(past("before"))
        await kept(own_redis.port, lambda held: held.total == 1)
        own_redis.kill()
        history.remember(past("meanwhile", "unhealthy"))
        assert words(history.chronicle) == ["before", "meanwhile"]
        own_redis.start()
        history.remember(past("after"))

        # The connection of before is found broken once, so one more may be needed.
        async with asyncio.timeout(10):
            while words(await kept(own_redis.port, lambda _: True)) != words(history.chronicle):
                history.remember(past("again"))
                await asyncio.sleep(0.05)

    assert words(history.chronicle)[:3] == ["before", "meanwhile", "after"]


async def test_what_redis_forgot_is_there_again_with_the_next_report(redis_port: int) -> None:
    async with a_history(redis_port) as history:
        history.remember(past("one"))
        await kept(redis_port, lambda held: held.total == 1)
        with redis.Redis(port=redis_port) as client:
            client.flushall()
        history.remember(past("two"))

        held = await kept(redis_port, lambda held: held.total == 2)

    assert words(held) == ["one", "two"]


async def test_what_nobody_can_read_is_begun_anew(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client:
        client.set(KEY, '{"reports": "of another version"}')

    async with a_history(redis_port) as history:
        history.remember(past("one"))
        held = await kept(redis_port, lambda held: held.total == 1)

    assert words(held) == ["one"]


def test_the_oldest_reports_are_dropped_and_still_counted() -> None:
    chronicle = Chronicle()

    for number in range(KEPT + 5):
        chronicle = chronicle.with_report(past(str(number)))

    assert words(chronicle)[0] == "5"
    assert len(chronicle.reports) == KEPT
    assert chronicle.total == KEPT + 5


async def test_details_tell_of_the_time_before_the_restart(
    redis_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.health.FRESH", -1)
    settings = settings_for(
        "nats://127.0.0.1:9", tmp_path, redis_host="127.0.0.1", redis_port=redis_port, node="here"
    )
    async with serving(settings, None) as first:
        before = (await first.http.get("/health?detailed=true")).json()
        await kept(redis_port, lambda held: held.total == 1)

    async with serving(settings, None) as second, asyncio.timeout(10):
        while True:
            after = (await second.http.get("/health?detailed=true")).json()
            if before["timestamp"] in [each["timestamp"] for each in after["history"]]:
                break
            await asyncio.sleep(0.05)

    assert after["statistics"]["totalChecks"] == 2
