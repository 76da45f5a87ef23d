"""A broker of three servers: copies come and go, leaders too, and the log stays what it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError, ServiceUnavailableError

from events import codec, subjects
from events import session_events as e
from events.connection import Connection, connect
from events.envelope import Envelope
from events.jetstream_log import JetStreamLog
from events.log import Guard, Hole, LogAway, Stored, Unknown
from events.media import JetStreamMedia, outgoing
from events.settings import Settings
from events.streams import BUCKETS, TooFewServers, declare
from events.subjects import SessionId
from tests.services import NatsCluster, NatsServer, nats_cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = (
    *(subjects.EVENTS, subjects.COMMANDS, subjects.DEAD, f"OBJ_{subjects.MEDIA}"),
    *(f"KV_{bucket}" for bucket in BUCKETS),
)
SESSION = SessionId("ada", "shop")
PICTURE = b"a picture" * 1_000
FAMILY = subjects.session_family(SESSION)
READY = subjects.session_event(SESSION, "ready")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """Three servers; a test that kills one starts it again."""
    with nats_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def settings_for(url: str, replicas: int) -> Settings:
    return Settings(nats_url=url, replicas=replicas, _env_file=None)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    client = await connect(settings_for(url, 1), "node", name="test", patience=30)
    try:
        yield client
    finally:
        await client.close()


async def gone_for_good(js: JetStreamContext, stream: str) -> None:
    """Delete a stream; after a server was killed the cluster may still choose who leads."""
    while True:
        try:
            await js.delete_stream(stream)
        except NotFoundError:
            return
        except ServiceUnavailableError:
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def empty(cluster: NatsCluster, replicas: int) -> AsyncIterator[Connection]:
    """Connect to a cluster that has the streams of a new service."""
    async with connected(cluster.url) as client:
        js = client.jetstream(timeout=10)
        for name in OURS:
            await gone_for_good(js, name)
        await declare(js, settings_for(cluster.url, replicas))
        yield client


class Writer:
    """Appends to one session as its owner does, each event guarded by the one before."""

    def __init__(self, client: Connection) -> None:
        self._client = client
        self._asked: Envelope | None = None
        self.ids: list[str] = []
        self.tail = 0

    async def write(self, count: int = 1, window: float = 60) -> None:
        """Append; what ended unknown before is asked again first, under the same id."""
        log = JetStreamLog(self._client.jetstream(), dedupe_window=window, back=self._client.back)
        for _ in range(count):
            self._asked = self._asked or codec.seal(
                e.Ready(phone="15550001111@c.us"),
                subject=SESSION.dotted,
                source="wa/test",
                at=NOW,
                version=len(self.ids) + 1,
            )
            self.tail = await log.append(READY, self._asked, Guard(FAMILY, self.tail))
            self.ids.append(self._asked.id)
            self._asked = None

    async def read(self) -> list[Stored]:
        return await whole_family(self._client)


async def whole_family(client: Connection) -> list[Stored]:
    """Read all there is of the session."""
    log = JetStreamLog(client.jetstream(), back=client.back)
    while True:
        try:
            return [stored async for stored in log.read([FAMILY])]
        except (Hole, LogAway):  # The cluster still chooses who leads what.
            await asyncio.sleep(0.1)


async def leader(js: JetStreamContext, cluster: NatsCluster, stream: str) -> NatsServer:
    """Wait until a stream has a leader, and return its server."""
    while True:
        held = (await js.stream_info(stream)).cluster
        found = [each for each in cluster.servers if held and each.name == held.leader]
        if found:
            return found[0]
        await asyncio.sleep(0.05)


async def copied(js: JetStreamContext, replicas: int) -> None:
    """Wait until every stream and bucket has its copies, and all of them are as new as the rest."""
    for name in OURS:
        while True:
            held = await js.stream_info(name)
            others = (held.cluster.replicas if held.cluster else None) or []
            assert held.config.num_replicas == replicas
            if len(others) == replicas - 1 and all(each.current for each in others):
                break
            await asyncio.sleep(0.05)


async def copies_of(client: Connection, consumer: str) -> int:
    """Ask the broker itself: nats-py does not tell where the copies of a consumer are."""
    subject = f"$JS.API.CONSUMER.INFO.{subjects.COMMANDS}.{consumer}"
    told = json.loads((await client.request(subject, timeout=10)).data)
    # While it is moved there is nobody to ask.
    return 1 + len(told["cluster"].get("replicas", [])) if "cluster" in told else 0


async def test_every_stream_and_bucket_is_changed_in_place_when_replicas_changes(
    servers: NatsCluster,
) -> None:
    async with empty(servers, replicas=1) as client:
        js = client.jetstream(timeout=10)
        before = {name: (await js.stream_info(name)).created for name in OURS}

        for replicas in (3, 1):
            await declare(js, settings_for(servers.url, replicas))

            told = json.loads((await client.request("$JS.API.STREAM.NAMES", timeout=10)).data)
            assert set(told["streams"]) == set(OURS), "one is made that no test looks at"
            for name in OURS:
                held = await js.stream_info(name)
                assert (held.config.num_replicas, held.created) == (replicas, before[name])


@pytest.mark.long
async def test_copies_come_and_go_under_a_running_log_and_nothing_is_lost(
    servers: NatsCluster,
) -> None:
    async with empty(servers, replicas=1) as client:
        js = client.jetstream(timeout=10)
        media, keys = JetStreamMedia(lambda: js), await js.key_value(subjects.KEYS)
        await js.add_consumer(
            subjects.COMMANDS,
            ConsumerConfig(durable_name="owner", ack_policy=AckPolicy.EXPLICIT, ack_wait=60),
        )
        for number in range(4):
            await js.publish(f"wa.cmd.session.ada.shop{number}.start", b"{}")
        inbox = await js.pull_subscribe_bind(consumer="owner", stream=subjects.COMMANDS)
        done, in_hand = await inbox.fetch(2)
        await done.ack_sync()
        await keys.put("one", b"hashed")
        await media.put(outgoing(SESSION, "file"), PICTURE, "image/png", None)
        writer = Writer(client)
        writing = asyncio.create_task(writer.write(400))

        for replicas in (3, 1):
            await declare(js, settings_for(servers.url, replicas))
            await copied(js, replicas)
            while await copies_of(client, "owner") != replicas:
                await asyncio.sleep(0.05)

        await writing
        assert [stored.envelope.id for stored in await writer.read()] == writer.ids
        owner = await js.consumer_info(subjects.COMMANDS, "owner")
        assert (owner.num_pending, owner.num_ack_pending) == (2, 1)
        assert len(await inbox.fetch(2)) == 2
        assert (await keys.get("one")).value == b"hashed"
        assert await (await media.get(outgoing(SESSION, "file"))).whole() == PICTURE
        await in_hand.ack_sync()


@pytest.mark.parametrize("way", ["kill", pytest.param("pause", marks=pytest.mark.long)])
async def test_a_leader_that_goes_away_during_appends_loses_and_doubles_nothing(
    servers: NatsCluster, way: str
) -> None:
    async with empty(servers, replicas=3) as client:
        js = client.jetstream(timeout=10)
        await copied(js, 3)
        writer = Writer(client)
        await writer.write(20)
        gone = await leader(js, servers, subjects.EVENTS)

        writing = asyncio.create_task(writer.write(200))
        while len(writer.ids) < 50:
            await asyncio.sleep(0.01)
        gone.kill() if way == "kill" else gone.pause()
        await writing
        gone.start() if way == "kill" else gone.resume()

        stored = await writer.read()
        assert [each.envelope.id for each in stored] == writer.ids
        assert [each.envelope.version for each in stored] == list(range(1, 221))


async def test_a_server_that_is_behind_does_not_end_a_read_early(servers: NatsCluster) -> None:
    count, large = 500, bytes(20_000)
    async with empty(servers, replicas=3) as client:
        js = client.jetstream(timeout=10)
        await copied(js, 3)
        needed = {(await leader(js, servers, subjects.EVENTS)).url, client.connected_url.geturl()}
        behind = next(each for each in servers.servers if each.url not in needed)
        behind.pause()
        for _ in range(count // 50):
            await asyncio.gather(*(js.publish(READY, large) for _ in range(50)))
        behind.resume()

        # Which server a reader is put on is the cluster's to choose: often this one.
        counts = [len(await whole_family(client)) for _ in range(8)]

        assert counts == [count] * 8


@pytest.mark.long
async def test_without_most_servers_an_append_ends_unknown_and_its_id_can_be_asked_again(
    servers: NatsCluster,
) -> None:
    async with empty(servers, replicas=3) as client:
        js = client.jetstream(timeout=10)
        await copied(js, 3)
        writer = Writer(client)
        await writer.write()
        gone = servers.servers[1:]
        for each in gone:
            each.kill()

        with pytest.raises(Unknown):
            await writer.write(window=4)

        for each in gone:
            each.spawn()
        for each in gone:
            await asyncio.to_thread(each.wait_until_up)
        await writer.write(2)
        assert [stored.envelope.id for stored in await writer.read()] == writer.ids


@pytest.mark.long
async def test_a_client_finds_another_server_when_its_own_is_gone_and_at_its_start(
    servers: NatsCluster,
) -> None:
    async with empty(servers, replicas=3) as client:
        await copied(client.jetstream(timeout=10), 3)
        writer = Writer(client)
        await writer.write()
        mine = next(s for s in servers.servers if s.url == client.connected_url.geturl())
        back = client.back()

        mine.kill()
        await asyncio.wait_for(back.wait(), 30)
        await writer.write()

        # Whoever starts now is told of all three, and the one that is gone may stand first.
        others = [each.url for each in servers.servers if each is not mine]
        async with connected(",".join([mine.url, *others])) as late:
            seen = await whole_family(late)
        mine.start()
        assert [each.envelope.id for each in seen] == writer.ids


async def test_more_copies_than_servers_are_refused_with_what_to_do(own_nats: NatsServer) -> None:
    async with connected(own_nats.url) as client:
        with pytest.raises(TooFewServers, match=r"REPLICAS is 3.*start them, or set REPLICAS"):
            await declare(client.jetstream(), settings_for(own_nats.url, 3))
