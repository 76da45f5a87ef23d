"""What every shelf of the vault does: a folder on the disk, and Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as aioredis

from actors.vault.shelves import DiskShelf, RedisShelf, Shelf, ShelfAway, open_redis
from events.settings import Settings
from events.subjects import SessionId
from tests.services import RedisCluster, RedisServer

ANN, ANNA = SessionId("ann", "bot"), SessionId("ann", "bot2")


@pytest.fixture(
    params=["disk", *(pytest.param(n, marks=pytest.mark.services) for n in ("redis", "cluster"))]
)
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    if request.param == "disk":
        yield DiskShelf(tmp_path / "vault", keep=3)
        return
    if request.param == "redis":
        url = f"redis://127.0.0.1:{request.getfixturevalue('redis_port')}"
    else:
        cluster: RedisCluster = request.getfixturevalue("shared_redis_cluster")
        cluster.clear()
        url = cluster.url
    redis = open_redis(Settings.model_validate({"redis_url": url}))
    yield RedisShelf(redis, hours=24)
    await redis.aclose()


async def test_what_was_put_there_is_there_byte_for_byte(shelf: Shelf) -> None:
    sealed = os.urandom(3_000_000)

    await shelf.put(ANN, 7, sealed)

    assert await shelf.get(ANN, 7) == sealed
    assert await shelf.get(ANN, 8) is None
    assert await shelf.get(ANNA, 7) is None


async def test_generations_are_listed_by_number_the_newest_first(shelf: Shelf) -> None:
    for generation in (9, 100, 10):
        await shelf.put(ANN, generation, b"x")

    assert await shelf.generations(ANN) == [100, 10, 9]
    assert await shelf.generations(ANNA) == []


async def test_a_snapshot_of_the_same_generation_is_replaced(shelf: Shelf) -> None:
    await shelf.put(ANN, 1, b"before")
    await shelf.put(ANN, 1, b"after")

    assert await shelf.get(ANN, 1) == b"after"
    assert await shelf.generations(ANN) == [1]


async def test_what_is_dropped_is_gone_and_nothing_else(shelf: Shelf) -> None:
    await shelf.put(ANN, 1, b"x")
    await shelf.put(ANN, 2, b"x")

    await shelf.drop(ANN, 1)
    await shelf.drop(ANN, 1)

    assert await shelf.generations(ANN) == [2]


async def test_forgetting_a_session_leaves_that_of_others(shelf: Shelf) -> None:
    await shelf.put(ANN, 1, b"x")
    await shelf.put(ANNA, 1, b"x")

    await shelf.forget(ANN)
    await shelf.forget(ANN)

    assert await shelf.generations(ANN) == []
    assert await shelf.sessions() == [ANNA]


async def test_every_session_with_a_snapshot_is_listed(shelf: Shelf) -> None:
    assert await shelf.sessions() == []
    await shelf.put(ANNA, 1, b"x")
    await shelf.put(ANN, 1, b"x")

    assert await shelf.sessions() == [ANN, ANNA]


async def test_what_others_keep_under_a_like_name_is_not_taken_for_a_session(
    redis_port: int, tmp_path: Path
) -> None:
    (tmp_path / "no session").mkdir()
    async with aioredis.Redis(port=redis_port) as redis:
        await redis.set("wa:vault:{no session}", "x")

        assert await RedisShelf(redis, hours=24).sessions() == []
    assert await DiskShelf(tmp_path, keep=3).sessions() == []


async def test_each_snapshot_renews_the_time_to_live_in_redis(redis_port: int) -> None:
    async with aioredis.Redis(port=redis_port) as redis:
        shelf = RedisShelf(redis, hours=24)
        await shelf.put(ANN, 1, b"x")
        await redis.expire("wa:vault:{ann.bot}", 10)

        await shelf.put(ANN, 2, b"x")

        assert 86_000 < await redis.ttl("wa:vault:{ann.bot}") <= 86_400


async def test_a_redis_that_is_away_is_named(own_redis: RedisServer) -> None:
    async with aioredis.Redis(port=own_redis.port, socket_connect_timeout=1) as redis:
        own_redis.kill()

        with pytest.raises(ShelfAway, match=r"^Redis: "):
            await RedisShelf(redis, hours=24).put(ANN, 1, b"x")


async def test_a_disk_that_does_not_take_it_is_named_and_keeps_what_it_has(tmp_path: Path) -> None:
    shelf = DiskShelf(tmp_path, keep=3)
    await shelf.put(ANN, 1, b"x")
    # A folder where the draft would go: nobody may write there, root neither.
    (tmp_path / "ann.bot" / "00000002.draft").mkdir()

    with pytest.raises(ShelfAway, match=r"^disk: "):
        await shelf.put(ANN, 2, b"y")

    assert await shelf.generations(ANN) == [1]


async def test_snapshots_on_the_disk_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "vault"

    await DiskShelf(folder, keep=3).put(ANN, 1, b"x")

    assert (folder / "ann.bot").stat().st_mode & 0o077 == 0
    assert (folder / "ann.bot" / "00000001.snapshot").stat().st_mode & 0o077 == 0
