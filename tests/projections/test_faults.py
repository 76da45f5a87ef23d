"""What stops a projection, what only holds it up, and what readers see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from events import message as m
from events import session_events as e
from events import streams, subjects
from projections import applier, models
from projections.cancelling import cancel
from projections.rebuild import RebuildFailed, rebuild
from projections.views import ProjectionHealth
from tests.conftest import redis_of_kind
from tests.projections.world import START, Author, World, eventually, world
from tests.services import NatsCluster, NatsServer, RedisServer


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier, "HEALING", (0.0, 0.05))


@pytest.fixture(params=["server", pytest.param("cluster", marks=pytest.mark.long)])
def redis_url(request: pytest.FixtureRequest) -> str:
    """The same as elsewhere, but here each test is long enough with one of them."""
    return redis_of_kind(request)


async def test_a_poison_message_stops_messages_with_its_lag_and_not_the_sessions(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        await author.live()
        await author.receive("in-1")
        poison = await _append_raw(here, "wa.evt.message.ada.shop.received", b'{"body": "secret"}')

        async with here.projecting():
            stopped = await _stopped(here, "messages")
            await author.session(e.Stopped(reason="command"))
            await eventually(lambda: _has_state(here, author, "stopped"))

            await eventually(lambda: _has_lag(here, "sessions", 0))
            health = await _health(here)
            assert stopped.position == poison - 1
            assert f"position {poison}" in (stopped.stopped or "")
            assert "secret" not in (stopped.stopped or "")
            assert health["messages"].lag == 2
            assert (health["sessions"].lag, health["sessions"].stopped) == (0, None)
            assert len(await here.read.history(author.id, 10)) == 1

        # A new process finds it again: nothing is skipped because somebody restarted.
        async with here.projecting():
            await _stopped(here, "messages")
            assert (await _health(here))["messages"].position == poison - 1


async def test_an_unknown_session_event_stops_both_because_messages_need_their_session(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author, other = here.author(), here.author("bob", "shop")
        await author.live()
        poison = await _append_raw(
            here, "wa.evt.session.ada.shop.levitated", b'{"type": "wa.session.levitated.v1"}'
        )
        await other.live()

        async with here.projecting():
            sessions = await _stopped(here, "sessions")
            messages = await _stopped(here, "messages")

        assert sessions.position == messages.position == poison - 1
        assert "waits for sessions" in (messages.stopped or "")
        assert sessions.lag == 8
        with pytest.raises(RebuildFailed, match=f"position {poison}"):
            await rebuild(here.log, here.redis, here.settings, lambda *_: None)


async def test_an_event_that_cannot_follow_stops_the_projection(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        await author.live()
        await author.forge(e.Registered(user="ada", bot="shop"), version=8)

        async with here.projecting():
            stopped = await _stopped(here, "sessions")

        assert "registered cannot follow ready" in (stopped.stopped or "")


@pytest.mark.parametrize("family", ["session", "message"])
async def test_a_hole_that_the_log_cannot_explain_stops_the_projection(
    nats_url: str, redis_url: str, family: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        await author.live()
        await author.receive("in-1")
        if family == "session":
            await author.forge(e.Stopped(reason="command"), version=9)
        else:
            await author.message(_received("in-3"), version=3)

        async with here.projecting():
            stopped = await _stopped(here, f"{family}s")

        assert "ada.shop" in (stopped.stopped or "")
        assert "missing" in (stopped.stopped or "") or "does not follow" in (stopped.stopped or "")


async def test_a_version_written_twice_is_not_swallowed(nats_url: str, redis_url: str) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        await author.live()
        await author.receive("in-1")
        await author.message(_received("in-2"), version=1)

        async with here.projecting():
            await _stopped(here, "messages")


async def test_a_row_that_vanished_is_healed_with_its_messages(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await author.send("one", until=3)
            await author.receive("in-1")
            await here.caught_up()

            async for key in here.redis.scan_iter("wa:v1:{ada.shop}*"):
                await here.redis.delete(key)
            await author.session(e.ProfileSaved(generation=1, bytes=1, totals=author.totals()))
            await here.caught_up()

            await here.agrees_with(author)


async def test_a_first_message_is_believed_only_if_the_log_begins_there(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await author.receive("in-1")
            await author.send("one")
            await here.caught_up()

            await here.redis.hdel(
                "wa:v1:{ada.shop}", "message_version", "message_position", "received", "sent"
            )
            await here.redis.delete("wa:v1:{ada.shop}:history")
            await author.receive("in-2")
            await here.caught_up()

            view = await here.read.session(author.id)
            assert view is not None
            assert (view.totals.received, view.totals.sent) == (2, 1)
            held = await here.read.history(author.id, 10)
            assert [each.message or each.wa_id for each in held] == ["in-2", "one", "in-1"]


async def test_messages_that_expired_begin_at_their_first_version_and_totals_do_not_shrink(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            for n in range(30):
                await author.receive(f"in-{n}")
            await author.session(e.ProfileSaved(generation=1, bytes=1, totals=author.totals()))
            await author.receive("in-30")
            await here.caught_up()
            totals = (await here.read.sessions())[0].totals

            kept = await here.client.jetstream().purge_stream(
                subjects.EVENTS, subject=subjects.message_family(author.id), keep=5
            )
            assert kept
            await here.redis.flushall()
            await here.caught_up()

            assert (await here.read.sessions())[0].totals == totals
            assert totals.received == 31
            names = [each.wa_id for each in await here.read.history(author.id, 100)]
            assert names == ["in-30", "in-29", "in-28", "in-27", "in-26"]


async def test_messages_that_expired_while_the_projector_was_away_are_no_hole(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        await author.live()
        async with here.projecting():
            await author.receive("in-1")
            await here.caught_up()
        for n in range(2, 10):
            await author.receive(f"in-{n}")
        await here.client.jetstream().purge_stream(
            subjects.EVENTS, subject=subjects.message_family(author.id), keep=2
        )

        async with here.projecting():
            await here.caught_up()

        health = await _health(here)
        assert health["messages"].stopped is None
        names = [each.wa_id for each in await here.read.history(author.id, 100)]
        assert names == ["in-9", "in-8", "in-1"]


async def test_removed_leaves_a_tombstone_and_the_versions_go_on(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await author.send("one")
            await author.receive("in-1")
            await author.session(e.Removed())
            await here.caught_up()

            keys = [key async for key in here.redis.scan_iter("wa:*{ada.shop}*")]
            held = await here.redis.hgetall("wa:v1:{ada.shop}")
            assert keys == ["wa:v1:{ada.shop}"]
            assert held.keys() == {"version", "position", "state", "born"}
            assert await here.read.session(author.id) is None
            assert await here.read.by_joined("ada-shop") is None
            assert await here.read.sessions() == []
            assert await here.read.message(author.id, "one") is None

            await author.live(phone="4930123456")
            await author.receive("in-2")
            await here.caught_up()
            await here.agrees_with(author)
            assert author.state.version == 15

        # Read from the start again, nothing of the earlier life comes back.
        await here.redis.flushall()
        async with here.projecting():
            await here.caught_up()
        await here.agrees_with(author)


async def test_redis_and_nats_may_go_and_come_back(
    own_nats: NatsServer, own_redis: RedisServer
) -> None:
    async with world(own_nats.url, own_redis.port) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await here.caught_up()

            own_redis.kill()
            await author.receive("in-1")
            own_redis.start()
            await here.caught_up()

            own_nats.kill()
            own_nats.start()
            await eventually(lambda: _writes(author.receive("in-2")))
            await here.caught_up()

            await here.agrees_with(author)


async def test_a_transaction_that_redis_kept_half_of_counts_nothing_twice(
    nats_url: str, own_redis: RedisServer
) -> None:
    """Redis 7 leaves the front of a cut transaction in its file, and a later start runs it."""
    async with world(nats_url, own_redis.port) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            for n in range(5):
                await author.receive(f"in-{n}")
            await author.send("out-1")
            await here.caught_up()

        own_redis.kill()
        _cut_before(own_redis, b"message_version")
        own_redis.start()
        async with here.projecting():
            await here.caught_up()
        own_redis.kill()
        own_redis.start()

        await here.agrees_with(author)


async def test_a_log_that_was_replaced_is_projected_anew(nats_url: str, redis_url: str) -> None:
    async with world(nats_url, redis_url) as here:
        js = here.client.jetstream()
        before = here.author("ada", "old")
        async with here.projecting():
            await before.live()
            for n in range(300):
                await before.receive(f"in-{n}")
            await here.caught_up()

        await js.delete_stream(subjects.EVENTS)
        await streams.declare(js, here.settings)
        here.born = "second"
        after = here.author("ada", "new")
        await after.live()

        async with here.projecting():
            await eventually(lambda: _has_state(here, after, "ready"))
            await here.agrees_with(after)
            assert await here.read.session(before.id) is None


async def test_a_rebuild_beside_a_running_projector_loses_nothing_and_hides_nothing(
    nats_url: str, redis_url: str
) -> None:
    async with world(nats_url, redis_url) as here:
        authors = [here.author("u", f"b{n}", seed=n) for n in range(4)]
        for author in authors:
            await author.live()
        told: list[tuple[int, int]] = []
        async with here.projecting():
            await here.caught_up()
            writing = asyncio.gather(*(_messages(author, 120) for author in authors))
            watching = asyncio.create_task(_always_there(here, len(authors)))

            count = await rebuild(
                here.log, here.redis, here.settings, lambda at, of: told.append((at, of))
            )
            await writing
            await here.caught_up()
            assert not watching.done(), watching.exception()
            # Not a bare cancel(): redis-py, too, may swallow one that meets its answer.
            await cancel(watching)

            assert count >= told[-1][0] > 0
            assert all(at <= of for at, of in told)
            for author in authors:
                await here.agrees_with(author)
            found = here.redis.scan_iter("wa:v*")
            left = [key async for key in found if not key.startswith("wa:v2:")]
            assert left == []
            assert await here.redis.get("wa:current") == "2"


async def test_a_projector_follows_the_generation_in_use(nats_url: str, redis_url: str) -> None:
    async with world(nats_url, redis_url) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await here.caught_up()

            await here.redis.set("wa:current", "7")
            await author.receive("in-1")
            await eventually(lambda: _exists(here, "wa:v7:{ada.shop}:history"))
            await eventually(lambda: _has_state(here, author, "ready"))

            await here.agrees_with(author)
            assert await here.redis.exists("wa:v1:{ada.shop}")


async def test_redis_may_be_emptied_just_as_the_generation_is_looked_up(
    nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(nats_url, redis_url) as here:
        written = here.redis.set
        emptied = list[object]()

        async def emptied_after(*args: Any, **more: Any) -> object:
            answer = await written(*args, **more)
            emptied.append(await here.redis.flushall())
            return answer

        monkeypatch.setattr(here.redis, "set", emptied_after)
        assert await models.current(here.redis) == 1
        assert emptied


async def test_a_rebuild_leaves_alone_what_is_not_its_own(nats_url: str, redis_url: str) -> None:
    async with world(nats_url, redis_url) as here:
        await here.redis.set("wa:vault:ada.shop:1", "a snapshot")
        await here.redis.set("wa:v0:left:behind", "by a crash")

        await rebuild(here.log, here.redis, here.settings, lambda *_: None)

        assert await here.redis.get("wa:vault:ada.shop:1") == "a snapshot"
        assert not await here.redis.exists("wa:v0:left:behind")


async def test_a_lost_server_of_a_cluster_costs_nothing(
    cluster: NatsCluster, redis_port: int
) -> None:
    async with world(cluster.urls, redis_port, replicas=3) as here:
        authors = [here.author("u", f"b{n}", seed=n) for n in range(3)]
        async with here.projecting():
            for author in authors:
                await author.wander(20)
            cluster.servers[1].kill()
            for author in authors:
                await author.wander(20)
            await here.caught_up(40)

        for author in authors:
            await here.agrees_with(author)


async def test_only_one_rebuild_at_a_time(nats_url: str, redis_port: int) -> None:
    async with world(nats_url, redis_port) as here:
        await here.redis.set("wa:rebuilding", "somebody")

        with pytest.raises(RebuildFailed, match="under way"):
            await rebuild(here.log, here.redis, here.settings, lambda *_: None)


async def test_health_says_nothing_of_lag_while_the_log_is_away(
    own_nats: NatsServer, redis_port: int
) -> None:
    async with world(own_nats.url, redis_port) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await here.caught_up()

        own_nats.kill()
        health = await here.read.health()

        assert [(each.projection, each.lag) for each in health] == [
            ("sessions", None),
            ("messages", None),
        ]


async def test_no_reader_is_left_on_the_broker(nats_url: str, redis_port: int) -> None:
    async with world(nats_url, redis_port) as here:
        author = here.author()
        await author.live()
        for n in range(3):
            async with here.projecting():
                await author.receive(f"in-{n}")
                await here.caught_up()

        held = await here.client.jetstream().consumers_info(subjects.EVENTS)

        assert held == []


# --- small words used above -----------------------------------------------------


async def _health(here: World) -> dict[str, ProjectionHealth]:
    return {each.projection: each for each in await here.read.health()}


async def _stopped(here: World, projection: str) -> ProjectionHealth:
    async def stopped() -> bool:
        return (await _health(here))[projection].stopped is not None

    await eventually(stopped)
    return (await _health(here))[projection]


async def _has_state(here: World, author: Author, state: str) -> bool:
    view = await here.read.session(author.id)
    return view is not None and view.state == state


async def _has_lag(here: World, projection: str, lag: int) -> bool:
    return (await _health(here))[projection].lag == lag


async def _exists(here: World, key: str) -> bool:
    return bool(await here.redis.exists(key))


async def _append_raw(here: World, subject: str, raw: bytes) -> int:
    return (await here.client.jetstream().publish(subject, raw)).seq


async def _writes(writing: Awaitable[None]) -> bool:
    await writing
    return True


async def _messages(author: Author, number: int) -> None:
    for n in range(number):
        await author.receive(f"in-{n}")
        await asyncio.sleep(0.01)


async def _always_there(here: World, number: int) -> None:
    while True:
        views = await here.read.sessions()
        assert [view.state for view in views] == ["ready"] * number
        await asyncio.sleep(0.01)


def _cut_before(server: RedisServer, words: bytes) -> None:
    """End the append-only file in the middle of the last command that has these words."""
    (file,) = server.home.rglob("*.incr.aof")
    held = file.read_bytes()
    file.write_bytes(held[: held.rindex(words)])


def _received(wa_id: str) -> m.Received:
    return m.Received(wa_id=wa_id, key=wa_id, chat="2@c.us", sender="2@c.us", body="hi", at=START)
