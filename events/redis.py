"""The one way to connect to Redis, whichever kind `REDIS_URL` names, and to ask how it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypedDict, cast

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import ConnectionError, RedisClusterException, RedisError  # noqa: A004 - redis-py's, as its callers expect
from redis.typing import EncodableT

from events.redis_url import Cluster, Sentinels, Server
from events.settings import Settings

AWAY = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a command raises when Redis cannot be asked; a cluster's client has an error of its own."""

Redis = aioredis.Redis
"""What `connect` returns. For a cluster it is `RedisCluster`, which has the same commands: by
its key each goes where the key lies, so the keys of a script have one hash tag. What must be
one step is a script and no transaction: in a cluster's client each command that is put into one
starts a thread and an event loop, and waits for both."""


def connect(
    settings: Settings,
    *,
    decode: bool = True,
    timeout: float = 5,
    retry: Retry | None = None,
) -> Redis:
    """Open a pool to Redis; nothing is sent before the first command.

    `timeout` is how many seconds one answer may take. `retry` replaces what redis-py does
    by itself after a lost connection, which is to ask ten times within some seconds.
    """
    address = settings.redis
    options = _options(settings, decode, timeout, retry)
    match address.where:
        case Server((host, port), database):
            return aioredis.Redis(host=host, port=port, db=database, **options)
        case Cluster(hosts):
            nodes = [ClusterNode(host, port) for host, port in hosts]
            # Any one server of the list will do, so that one that is away is no trouble.
            return cast("Redis", _Cluster(startup_nodes=nodes, **options))
        case Sentinels(hosts, service):
            asked = _asked(settings, options)
            sentinel = Sentinel(list(hosts), sentinel_kwargs=asked, **options)
            return sentinel.master_for(service, connection_pool_class=_MasterPool)


class _Options(TypedDict, total=False):
    username: str | None
    password: str | None
    decode_responses: bool
    socket_timeout: float
    socket_connect_timeout: float
    health_check_interval: int
    ssl: bool
    ssl_ca_certs: str | None
    retry: Retry


def _options(settings: Settings, decode: bool, timeout: float, retry: Retry | None) -> _Options:
    address = settings.redis
    options: _Options = {
        "username": address.user,
        "password": address.password,
        "decode_responses": decode,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(2.0, timeout),
        "health_check_interval": 15,
    }
    if retry is not None:
        options["retry"] = retry
    if address.tls:
        options["ssl"] = True
        options["ssl_ca_certs"] = str(settings.redis_ca) if settings.redis_ca else None
    return options


def _asked(settings: Settings, options: _Options) -> Mapping[str, object]:
    """Say how to get into the Sentinels themselves: they have a password of their own, or none."""
    secret = settings.redis_sentinel_password
    kept = ("socket_timeout", "socket_connect_timeout", "ssl", "ssl_ca_certs")
    return {
        **{name: value for name, value in options.items() if name in kept},
        "password": secret.get_secret_value() if secret else None,
        # A Sentinel that is away is passed over for the next one.
        "retry": None,
    }


class _Pipeline(ClusterPipeline):
    async def execute(
        self, raise_on_error: bool = True, allow_redirections: bool = True
    ) -> list[Any]:
        with _closed_is_an_error():
            return await super().execute(raise_on_error, allow_redirections)


class _Cluster(RedisCluster):
    """redis-py's client, without two of its traps, both met by many who ask at once."""

    async def execute_command(self, *args: EncodableT, **kwargs: Any) -> Any:
        # A client that does not know the cluster yet asks any server. The fifth answer that
        # names another one has it close all connections, those included that are in use.
        await self.initialize()
        with _closed_is_an_error():
            return await super().execute_command(*args, **kwargs)

    def pipeline(
        self, transaction: bool | None = None, shard_hint: str | None = None
    ) -> ClusterPipeline:
        return _Pipeline(self, transaction)  # pyright: ignore[reportAbstractUsage] - like theirs


@contextlib.contextmanager
def _closed_is_an_error() -> Generator[None]:
    """Say of a connection that was closed under somebody's hands that it is lost.

    redis-py closes all when it asks anew who serves what, as it does after a failover; what
    others meet who were waiting for an answer is an attribute of None.
    """
    try:
        yield
    except AttributeError as error:
        raise ConnectionError("the connection was closed while it was in use") from error


class _MasterPool(SentinelConnectionPool):
    """Connections to whichever server is the master, and with them those to the Sentinels."""

    async def aclose(self) -> None:
        """Close both; redis-py leaves the Sentinels' open."""
        await super().aclose()
        await cast("Sentinel", self.sentinel_manager).aclose()


class NotAPrimary(RedisError):
    """A server that was known to take writes is a copy of another now."""


class PartAway(RedisError):
    """Some of the servers that take writes do not answer. The message says which, by no address."""


async def primaries(redis: Redis) -> frozenset[str]:
    """Ask every server that takes writes for the id of its memory; raises RedisError.

    Redis draws the id of its replication anew at each start and when a copy takes over.
    While the id is the same it is the same memory, and nothing that it took is lost; with
    another one, what the copy had not been told, or the file did not hold, is gone.
    """
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        asking = [redis.info("replication", target_nodes=node) for node in redis.get_primaries()]
        told = cast("list[Mapping[str, str]]", await asyncio.gather(*asking))
    else:
        told = [cast("Mapping[str, str]", await redis.info("replication"))]
    if any(each["role"] != "master" for each in told):
        # The next command asks anew who is who.
        await redis.aclose()
        raise NotAPrimary("a server that took writes has become a copy of another")
    return frozenset(each["master_replid"] for each in told)


async def ping(redis: Redis, patience: float = 1) -> None:
    """Ask every server that takes writes whether it is there; raises AWAY, or PartAway.

    `patience` is how many seconds each of them has.
    """
    if not isinstance(redis, RedisCluster):
        async with asyncio.timeout(patience):
            await redis.ping()
        return
    await redis.initialize()
    nodes = redis.get_primaries()
    there = await asyncio.gather(*(_answers(redis, node, patience) for node in nodes))
    away = [node for node, answers in zip(nodes, there, strict=True) if not answers]
    if away:
        held = redis.nodes_manager.slots_cache
        slots = [slot for slot in sorted(held) if held[slot][0] in away]
        raise PartAway(f"{len(away)} of {len(nodes)} servers of the cluster, slots {_runs(slots)}")


async def _answers(redis: RedisCluster, node: ClusterNode, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            await redis.ping(target_nodes=node)
    except AWAY:
        return False
    return True


def _runs(slots: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as 1-3, 7."""
    held = frozenset(slots)
    ends = [n for n in slots if n + 1 not in held]
    begins = [n for n in slots if n - 1 not in held]
    pairs = zip(begins, ends, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)
