"""What every kind of Redis does that `REDIS_URL` may name: one server, a cluster, a pair."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.redis import AWAY, PartAway, Redis, connect, ping, primaries
from events.settings import Settings
from tests.services import redis_cluster, redis_pair, redis_server
from tests.simulator import certificate

SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"
KEYS = [f"wa:{{user.bot{n}}}" for n in range(20)]


@contextlib.asynccontextmanager
async def connected(url: str, retry: Retry | None = None, **said: object) -> AsyncIterator[Redis]:
    settings = Settings.model_validate({"redis_url": url, **said})
    client = connect(settings, retry=retry)
    try:
        yield client
    finally:
        await client.aclose()


async def works(client: Redis) -> None:
    """Do what the project does: scripts, pipelines over many keys, scans."""
    script = client.register_script(SCRIPT)
    assert [await script(keys=[key], args=["x"]) for key in KEYS] == ["x"] * len(KEYS)
    pipe = client.pipeline(transaction=False)
    for key in KEYS:
        pipe.get(key)
    assert await pipe.execute() == ["x"] * len(KEYS)
    found = [key async for key in client.scan_iter("wa:*", 5)]
    assert set(found) == set(KEYS)


async def test_scripts_pipelines_and_scans_reach_every_key(redis_url: str) -> None:
    async with connected(redis_url) as client:
        await works(client)

        assert len(await primaries(client)) == (3 if "cluster" in redis_url else 1)


async def test_many_who_ask_a_client_first_at_the_same_time_all_get_an_answer(
    redis_url: str,
) -> None:
    async with connected(redis_url) as client:
        answers = await asyncio.gather(*(client.set(f"{{{n}}}", "x") for n in range(90)))

    assert answers == [True] * 90


async def test_password_and_certificate_are_checked_on_both_sides(tmp_path: Path) -> None:
    signed, key = certificate.ensure(tmp_path)
    options = (
        *("--requirepass", "secret", "--tls-cert-file", str(signed)),
        *("--tls-key-file", str(key), "--tls-auth-clients", "no"),
    )
    with redis_server(tmp_path, options=options, tls=True) as server:
        said = {"redis_ca": signed}
        async with connected(f"rediss://:secret@localhost:{server.port}", **said) as client:
            await works(client)

        for url, more in (
            (f"rediss://:secret@localhost:{server.port}", {}),
            (f"rediss://:wrong@localhost:{server.port}", said),
            (f"redis://:secret@localhost:{server.port}", said),
        ):
            async with connected(url, Retry(NoBackoff(), 0), **more) as client:
                with pytest.raises(AWAY):
                    await client.ping()


async def test_a_cluster_that_is_away_says_which_slots_and_then_that_it_is_gone(
    tmp_path: Path,
) -> None:
    with redis_cluster(tmp_path) as cluster:
        async with connected(cluster.url) as client:
            await works(client)
            await ping(client)
            one, *others = cluster.masters

            one.pause()
            with pytest.raises(PartAway, match="1 of 3 servers of the cluster, slots 0-5460"):
                await ping(client, patience=0.3)
            one.kill()
            with pytest.raises(PartAway, match="slots 0-5460"):
                await ping(client)

            for server in others:
                server.kill()
            with pytest.raises(AWAY):
                await client.get("x")


async def test_the_master_that_a_sentinel_names_is_found_after_a_failover(tmp_path: Path) -> None:
    with redis_pair(tmp_path) as pair:
        async with connected(pair.url) as client:
            await works(client)
            before = await primaries(client)
            # Only then has the copy what it is to have: Redis acknowledges before.
            assert await client.execute_command("WAIT", 1, 30_000) == 1

            pair.master.kill()

            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(*AWAY):
                        await client.set("after", "x")
                        break
                    await asyncio.sleep(0.1)
            assert await client.get(KEYS[0]) == "x"
            assert await primaries(client) != before
