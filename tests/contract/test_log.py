"""What every log must do: the fake, one nats-server, and a cluster of three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events import codec, subjects
from events import session_events as e
from events.connection import connect
from events.envelope import Envelope, new_id
from events.jetstream_log import JetStreamLog
from events.log import Conflict, Guard, Hole, Log, LogAway, Stored, Unknown
from events.message import Received
from events.reader import BATCH
from events.samples import SAMPLES
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests.fakes.log import MemoryLog
from tests.services import NatsCluster, NatsServer, nats_cluster, nats_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with nats_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(params=["fake", "r1", "r3"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    if request.param == "fake":
        yield MemoryLog()
        return
    fixture = "own_nats" if request.param == "r1" else "shared_cluster"
    server = request.getfixturevalue(fixture)
    replicas = 1 if request.param == "r1" else 3
    async with jetstream(server.url, replicas) as made:
        yield made


@asynccontextmanager
async def jetstream(url: str, replicas: int) -> AsyncIterator[JetStreamLog]:
    settings = Settings(nats_url=url, replicas=replicas, _env_file=None)
    client = await connect(settings, "node", name="test", patience=30)
    js = client.jetstream()
    await declare(js, settings)
    try:
        yield JetStreamLog(js, dedupe_window=20, back=client.back)
    finally:
        await client.close()


def a_session() -> SessionId:
    return SessionId("user", new_id()[:12])


def ready(session: SessionId, version: int = 1) -> Envelope:
    payload = e.Ready(phone="15550001111@c.us")
    return codec.seal(payload, subject=session.dotted, source="wa/test", at=NOW, version=version)


def fence(session: SessionId, tail: int) -> Guard:
    return Guard(subjects.session_family(session), tail)


async def collect(log: Log, *filters: str, start: int = 1) -> list[Stored]:
    return [stored async for stored in log.read(filters, start)]


async def test_an_event_is_read_back_as_it_was_written(log: Log) -> None:
    session = a_session()
    event = ready(session)

    position = await log.append(subjects.session_event(session, "ready"), event, fence(session, 0))

    [stored] = await collect(log, subjects.session_family(session))
    assert stored.position == position
    assert stored.envelope == event


async def test_a_stale_owner_is_refused(log: Log) -> None:
    session = a_session()
    subject = subjects.session_event(session, "ready")
    await log.append(subject, ready(session), fence(session, 0))

    with pytest.raises(Conflict):
        await log.append(subject, ready(session), fence(session, 0))

    assert len(await collect(log, subjects.session_family(session))) == 1


async def test_the_same_event_asked_again_is_stored_once(log: Log) -> None:
    session = a_session()
    subject = subjects.session_event(session, "ready")
    event = ready(session)

    first = await log.append(subject, event, fence(session, 0))
    again = await log.append(subject, event, fence(session, 0))

    assert first == again
    assert len(await collect(log, subjects.session_family(session))) == 1


async def test_message_events_do_not_move_the_fence(log: Log) -> None:
    session = a_session()
    tail = await log.append(
        subjects.session_event(session, "ready"), ready(session), fence(session, 0)
    )

    for _ in range(3):
        await log.append(
            subjects.message_event(session, "received"), ready(session), fence(session, tail), 60
        )

    assert await log.tail(subjects.session_family(session)) == tail
    assert len(await collect(log, subjects.message_family(session))) == 3


async def test_a_session_event_fences_off_the_message_events_of_an_earlier_owner(log: Log) -> None:
    session = a_session()
    ready_subject = subjects.session_event(session, "ready")
    old = await log.append(ready_subject, ready(session), fence(session, 0))
    await log.append(
        subjects.session_event(session, "claimed"), ready(session, 2), fence(session, old)
    )

    with pytest.raises(Conflict):
        await log.append(
            subjects.message_event(session, "sending"), ready(session), fence(session, old)
        )


async def test_of_racing_writers_exactly_one_wins(log: Log) -> None:
    session = a_session()
    subject = subjects.session_event(session, "claimed")

    outcomes = await asyncio.gather(
        *(log.append(subject, ready(session), fence(session, 0)) for _ in range(20)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_a_guard_over_many_sessions_lets_one_of_them_in(log: Log) -> None:
    tail = await log.tail(subjects.ALL_REGISTERED)
    sessions = [a_session() for _ in range(10)]

    outcomes = await asyncio.gather(
        *(
            log.append(
                subjects.session_event(session, "registered"),
                ready(session),
                Guard(subjects.ALL_REGISTERED, tail),
            )
            for session in sessions
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1


async def test_reading_starts_at_a_position_or_a_time(log: Log) -> None:
    session, tail = a_session(), 0
    positions: list[int] = []
    for kind in ("registered", "claimed", "ready"):
        tail = await log.append(
            subjects.session_event(session, kind), ready(session), fence(session, tail)
        )
        positions.append(tail)
    family = subjects.session_family(session)

    from_second = await collect(log, family, start=positions[1])
    future = datetime.now(UTC) + timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(hours=1)

    assert [s.position for s in from_second] == positions[1:]
    assert [s async for s in log.read([family], since=future)] == []
    assert [s.position async for s in log.read([family], since=past)] == positions


async def test_reading_more_than_a_batch_keeps_the_order(log: Log) -> None:
    session = a_session()
    tail = await log.append(
        subjects.session_event(session, "ready"), ready(session), fence(session, 0)
    )
    subject = subjects.message_event(session, "received")
    for _ in range(BATCH + 50):
        await log.append(subject, ready(session), fence(session, tail))

    stored = await collect(log, subjects.message_family(session))

    assert len(stored) == BATCH + 50
    assert [s.position for s in stored] == sorted(s.position for s in stored)


async def test_following_goes_on_with_what_comes_later(log: Log) -> None:
    session, seen = a_session(), []
    family = subjects.session_family(session)
    first = await log.append(
        subjects.session_event(session, "ready"), ready(session), fence(session, 0)
    )

    async def follow() -> None:
        async for stored in log.follow([family], 1):
            seen.append(stored.position if stored else "caught up")
            if len([s for s in seen if s != "caught up"]) == 2:
                return

    following = asyncio.create_task(follow())
    while "caught up" not in seen:
        await asyncio.sleep(0.01)
    second = await log.append(
        subjects.session_event(session, "offline"), ready(session, 2), fence(session, first)
    )
    await asyncio.wait_for(following, 60)

    assert [s for s in seen if s != "caught up"] == [first, second]


async def test_a_follower_is_cut_as_soon_as_a_broker_that_was_restarted_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but the connection's return can end the wait.
    monkeypatch.setattr("events.jetstream_log.IDLE", 3_600)
    session = a_session()
    subject, family = subjects.session_event(session, "ready"), subjects.session_family(session)
    with nats_server(tmp_path) as server:
        async with jetstream(server.url, 1) as log:
            following = log.follow([family], 1)
            assert await anext(following) is None
            waiting = asyncio.ensure_future(anext(following))

            server.kill()
            server.start()

            with pytest.raises((Hole, LogAway)):
                await asyncio.wait_for(waiting, 60)
            position = await log.append(subject, ready(session), fence(session, 0))
            async with aclosing(log.follow([family], 1)) as again:
                stored = await anext(again)
            assert stored is not None
            assert stored.position == position


async def test_following_from_beyond_the_end_waits_until_the_log_gets_there(log: Log) -> None:
    session, seen = a_session(), []
    family = subjects.session_family(session)
    tail = await log.append(
        subjects.session_event(session, "ready"), ready(session), fence(session, 0)
    )
    caught_up = asyncio.Event()

    async def follow() -> None:
        async for stored in log.follow([family], tail + 3):
            if stored is None:
                caught_up.set()
            else:
                seen.append(stored.position)
                return

    following = asyncio.create_task(follow())
    await asyncio.wait_for(caught_up.wait(), 60)
    for version in range(2, 6):
        tail = await log.append(
            subjects.session_event(session, "offline"),
            ready(session, version),
            fence(session, tail),
        )
    await asyncio.wait_for(following, 60)

    assert seen == [tail - 1]


async def test_the_tail_of_nothing_is_zero(log: Log) -> None:
    assert await log.tail(subjects.session_family(a_session())) == 0


async def test_an_append_goes_through_when_the_broker_comes_back(own_nats: NatsServer) -> None:
    session = a_session()
    async with jetstream(own_nats.url, 1) as log:
        tail = await log.append(
            subjects.session_event(session, "ready"), ready(session), fence(session, 0)
        )
        own_nats.kill()
        later = asyncio.create_task(
            log.append(
                subjects.session_event(session, "offline"), ready(session, 2), fence(session, tail)
            )
        )
        await asyncio.sleep(0.3)
        own_nats.start()

        position = await asyncio.wait_for(later, 60)

        stored = await collect(log, subjects.session_family(session))
        assert [s.position for s in stored] == [tail, position]


async def test_an_append_that_nobody_answers_ends_unknown(own_nats: NatsServer) -> None:
    session = a_session()
    async with jetstream(own_nats.url, 1) as healthy:
        impatient = JetStreamLog(healthy._js, dedupe_window=1, publish_timeout=0.2)
        own_nats.pause()
        try:
            with pytest.raises(Unknown):
                await impatient.append(
                    subjects.session_event(session, "ready"), ready(session), fence(session, 0)
                )
        finally:
            own_nats.resume()


async def test_readers_of_much_do_not_have_their_connection_cut(tmp_path: Path) -> None:
    """The broker cuts a client for which more waits than `max_pending`, and all of its readers."""
    session = a_session()
    subject, raw = subjects.message_event(session, "received"), large(session)
    with nats_server(tmp_path, config="max_pending: 40MB") as server:
        settings = Settings(nats_url=server.url, _env_file=None)
        client = await connect(settings, "node", name="test", patience=30)
        js = client.jetstream()
        await declare(js, settings)
        for _ in range(20):
            await asyncio.gather(*(js.publish(subject, raw) for _ in range(20)))
        log = JetStreamLog(js, back=client.back)

        read = await asyncio.gather(*(count(log, subjects.ALL_MESSAGE_EVENTS) for _ in range(12)))

        assert read == [400] * 12
        assert client.stats["reconnects"] == 0
        await client.close()


async def count(log: Log, *filters: str) -> int:
    return sum([1 async for _ in log.read(filters, 1)])


def large(session: SessionId) -> bytes:
    """An event of 100 kB."""
    event = next(sample for sample in SAMPLES if isinstance(sample, Received))
    grown = event.model_copy(update={"body": "x" * 100_000})
    return codec.encode(codec.seal(grown, subject=session.dotted, source="x", at=NOW))
