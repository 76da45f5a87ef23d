"""A copy takes over, or a server of a cluster comes back with less: what is missing is redone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import redis as blocking

from events.log import Stored
from events.redis import Redis, connect
from events.settings import Settings
from projections import projector
from projections.applier import Applier
from projections.models import Lost, Models, Track
from tests.projections.world import World, eventually, world
from tests.services import (
    RedisPair,
    RedisServer,
    redis_cluster,
    redis_pair,
)

DAY = timedelta(days=1)


class Overtaken(Models):
    """Models whose Redis is another one from the rows of a batch to its positions."""

    then: Redis | None = None

    async def commit(self, tracks: Sequence[Track], reached: Mapping[str, int]) -> None:
        if self.then is not None:
            self.redis = self.then
        await super().commit(tracks, reached)


async def test_positions_are_not_written_to_a_copy_that_missed_the_rows(
    nats_url: str, tmp_path: Path
) -> None:
    """It has the last position, so nothing but the server itself tells that it is another."""
    with redis_pair(tmp_path) as pair:
        copy = pair.copy
        pair.sentinel.kill()  # Who takes over is this test's to say.
        async with (
            world(nats_url, pair.master.port) as here,
            contextlib.aclosing(connect(_settings(copy))) as then,
        ):
            author = here.author()
            models = Overtaken(here.redis, 1, DAY)
            applier = Applier(here.log, models)
            await applier.open()
            await author.live()
            await applier.apply(await _written(here, 0))
            await _told(copy, position := author.tail)
            _ask(copy, "REPLICAOF", "NO", "ONE")
            await author.receive("in-1")

            models.then = then
            with pytest.raises(Lost):
                await applier.apply(await _written(here, position))

            assert _position(copy) == position


async def test_a_server_of_a_cluster_that_lost_its_rows_has_all_of_it_read_again(
    nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positions are on another server, and no event comes after that would show the hole."""
    monkeypatch.setattr(projector, "OVERLAP", 0)
    with redis_cluster(tmp_path) as cluster:
        async with world(nats_url, cluster.url) as here:
            authors = [here.author("u", f"b{n}", seed=n) for n in range(9)]
            async with here.projecting():
                for author in authors:
                    await author.wander(12)
                await here.caught_up()
                slot = int(_ask(cluster.masters[0], "CLUSTER", "KEYSLOT", "{projections}"))
                others = [each for n, each in enumerate(cluster.masters) if slot // 5_462 != n]
                loses = others[0]

                loses.kill()
                for file in (loses.home / "appendonlydir").iterdir():
                    file.unlink()
                (loses.home / "appendonlydir").rmdir()
                loses.start()

                async def all_there() -> bool:
                    try:
                        for author in authors:
                            await here.agrees_with(author)
                    except AssertionError:
                        return False
                    return True

                await eventually(all_there)


@pytest.mark.long
async def test_a_master_that_dies_again_and_again_loses_and_doubles_nothing(
    nats_url: str, tmp_path: Path
) -> None:
    with redis_pair(tmp_path) as pair:
        async with world(nats_url, pair.url) as here:
            authors = [here.author("u", f"b{n}", seed=n) for n in range(5)]
            async with here.projecting():
                for _ in range(3):
                    writing = asyncio.gather(*(author.wander(80) for author in authors))
                    await asyncio.sleep(0.5)
                    await _overtake(pair)
                    await writing
                    await here.caught_up(120)
                    for author in authors:
                        await here.agrees_with(author)


@pytest.mark.long
async def test_a_server_of_a_cluster_that_dies_is_followed_by_its_copy(
    nats_url: str, tmp_path: Path
) -> None:
    with redis_cluster(tmp_path, copies=1, timeout=2_000) as cluster:
        async with world(nats_url, cluster.url) as here:
            authors = [here.author("u", f"b{n}", seed=n) for n in range(12)]
            async with here.projecting():
                writing = asyncio.gather(*(author.wander(80) for author in authors))
                await asyncio.sleep(0.5)
                cluster.masters[0].kill()
                await writing
                await here.caught_up(120)
                for author in authors:
                    await here.agrees_with(author)

    assert all(author.state.version > 10 for author in authors)


async def _overtake(pair: RedisPair) -> None:
    """Kill the master and start it again as the copy of the one that took over."""
    port = _ask_master(pair)
    master = pair.master if port == pair.master.port else pair.copy
    master.kill()
    async with asyncio.timeout(60):
        while _ask_master(pair) == port:
            await asyncio.sleep(0.1)
    master.start()
    async with asyncio.timeout(60):
        while _role(master) != "slave":
            await asyncio.sleep(0.1)


def _ask_master(pair: RedisPair) -> int:
    with blocking.Redis(port=pair.sentinel.port) as client:
        return int(client.sentinel_master("wa")["port"])


def _role(server: RedisServer) -> str:
    with blocking.Redis(port=server.port) as client:
        told = client.info("replication")
        return told["role"] if told.get("master_link_status") == "up" else "alone"


def _ask(server: RedisServer, *command: str) -> str:
    with blocking.Redis(port=server.port, decode_responses=True) as client:
        return str(client.execute_command(*command))


def _position(server: RedisServer) -> int:
    return int(_ask(server, "HGET", "wa:v1:{projections}:messages", "position"))


async def _told(copy: RedisServer, position: int) -> None:
    async with asyncio.timeout(30):
        while _ask(copy, "HGET", "wa:v1:{projections}:messages", "position") != str(position):
            await asyncio.sleep(0.02)


async def _written(here: World, after: int) -> list[Stored]:
    return [stored async for stored in here.log.read(["wa.evt.>"], after + 1)]


def _settings(server: RedisServer) -> Settings:
    return Settings.model_validate({"redis_url": f"redis://127.0.0.1:{server.port}"})
