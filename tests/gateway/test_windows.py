"""Moving windows: several taken at once or none, in Redis and in memory alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from events.redis import connect
from events.settings import Settings
from gateway.windows import PREFIX, LocalWindows, SharedWindows, Window, Windows, WindowsAway
from tests.services import RedisCluster, RedisServer

MINUTE = Window("messages", 60, 60)
BURST = Window("messages-burst", 10, 60)
SHORT = Window("short", 1, 1)


def settings_of(redis: int | str) -> Settings:
    url = redis if isinstance(redis, str) else f"redis://127.0.0.1:{redis}"
    return Settings.model_validate({"redis_url": url})


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Redis however busy the machine is."""
    monkeypatch.setattr("gateway.windows.DEADLINE", 30.0)


@pytest.fixture(params=["redis", "cluster", "memory"])
async def windows(request: pytest.FixtureRequest) -> AsyncIterator[Windows]:
    if request.param == "redis":
        made: Windows = SharedWindows(settings_of(request.getfixturevalue("redis_port")))
    elif request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("shared_redis_cluster")
        cluster.clear()
        made = SharedWindows(settings_of(cluster.url))
    else:
        made = LocalWindows()
    yield made
    await made.close()


async def test_a_window_gives_its_places_and_no_more(windows: Windows) -> None:
    verdicts = [await windows.take("ann", [BURST]) for _ in range(12)]

    assert [verdict.allowed for verdict in verdicts] == [True] * 10 + [False] * 2
    assert [v.levels[0].remaining for v in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert 0 < verdicts[-1].wait <= 60


async def test_fifty_at_once_get_exactly_the_places_there_are(windows: Windows) -> None:
    verdicts = await asyncio.gather(*(windows.take("ann", [MINUTE, BURST]) for _ in range(50)))

    allowed = [verdict for verdict in verdicts if verdict.allowed]
    assert len(allowed) == 10
    assert sorted(v.levels[0].remaining for v in allowed) == list(range(50, 60))


async def test_what_one_window_refuses_costs_no_place_in_another(windows: Windows) -> None:
    for _ in range(30):
        await windows.take("ann", [MINUTE, BURST])

    minute, burst = (await windows.take("ann", [MINUTE, BURST], 0)).levels

    assert (minute.taken, burst.taken) == (10, 10)


async def test_looking_costs_nothing(windows: Windows) -> None:
    for _ in range(5):
        looked = await windows.take("ann", [MINUTE], 0)

    assert looked.allowed
    assert (looked.levels[0].taken, looked.levels[0].free) == (0, 0.0)


async def test_each_user_has_a_window_of_their_own(windows: Windows) -> None:
    await windows.take("ann", [SHORT])

    assert (await windows.take("bob", [SHORT])).allowed


async def test_a_place_is_free_again_when_it_leaves_the_window(windows: Windows) -> None:
    first = await windows.take("ann", [SHORT])
    at_once = await windows.take("ann", [SHORT])

    while not (again := await windows.take("ann", [SHORT])).allowed:
        assert again.wait <= 1
        await asyncio.sleep(0.02)

    assert (first.allowed, at_once.allowed) == (True, False)
    assert again.levels[0].taken == 1


async def test_two_gateways_share_a_window_in_redis(redis_url: str) -> None:
    one, two = SharedWindows(settings_of(redis_url)), SharedWindows(settings_of(redis_url))

    verdicts = await asyncio.gather(
        *(each.take("ann", [MINUTE, BURST]) for _ in range(25) for each in (one, two))
    )

    assert sum(verdict.allowed for verdict in verdicts) == 10
    await one.close()
    await two.close()


async def test_windows_in_redis_expire_by_themselves_and_read_as_those_of_limits(
    redis_port: int,
) -> None:
    windows = SharedWindows(settings_of(redis_port))
    for _ in range(3):
        await windows.take("ann", [MINUTE])

    redis = connect(settings_of(redis_port))
    (key,) = await redis.keys("*")
    storage = RedisStorage(
        f"async+redis://127.0.0.1:{redis_port}", implementation="redispy", key_prefix=PREFIX
    )
    stats = await MovingWindowRateLimiter(storage).get_window_stats(MINUTE.item, "{ann}")

    assert 0 < await redis.ttl(key) <= 60
    assert stats.remaining == 57
    await redis.aclose()
    await windows.close()


async def test_a_redis_that_hangs_is_away(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.windows.DEADLINE", 0.2)
    windows = SharedWindows(settings_of(own_redis.port))
    await windows.take("ann", [MINUTE])
    own_redis.pause()

    with pytest.raises(WindowsAway):
        await windows.take("ann", [MINUTE])

    own_redis.resume()
    await windows.close()
