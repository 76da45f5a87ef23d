"""What readers get: history by pages, sessions by user, QR codes, deadlines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from events import codec, live, pool, subjects
from events import message as m
from events import session_events as e
from events.clock import utc_now
from events.content import Kept, Media
from events.log import Guard
from events.subjects import SessionId
from projections import models
from projections.read import ReadModelsAway, RedisReadModels
from tests.projections.world import START, World, eventually, world
from tests.services import RedisServer


@pytest.fixture
async def here(nats_url: str, redis_url: str) -> AsyncIterator[World]:
    async with world(nats_url, redis_url) as made:
        yield made


async def test_a_session_reads_as_its_events_tell(here: World) -> None:
    author = here.author()
    async with here.projecting():
        await author.live()
        await author.session(e.Offline(reason="TIMEOUT", deadline=START))
        await author.session(e.Crashed(reason="page", detail="the page went away"))
        await here.caught_up()

    view = await here.read.session(author.id)

    assert view is not None
    assert (view.user, view.bot, view.session) == ("ada", "shop", "ada-shop")
    assert (view.state, view.word, view.starts.state) == ("backing_off", "reconnecting", "closed")
    assert (view.wanted, view.linked, view.attempt) == (True, True, 1)
    assert (view.phone, view.push_name) == ("491701234567", "Ada")
    assert (view.reason, view.error, view.node) == ("page", "the page went away", "node-1")
    assert view.created == START + timedelta(minutes=1)
    assert view.updated == view.since == view.last_activity == START + timedelta(minutes=9)
    assert view.ready_since is None


async def test_breakers_read_as_the_events_tell(here: World) -> None:
    author, until = here.author(), START + timedelta(hours=1)
    async with here.projecting():
        await author.live()
        await author.session(e.OperationsPaused(failures=3, rejected=2, until=until))
        await here.caught_up()
        paused = await here.read.session(author.id)
        await author.session(e.Crashed(reason="page", detail="the page went away"))
        await author.session(e.Suspended(failures=6, until=until))
        await here.caught_up()
        suspended = await here.read.session(author.id)

    assert paused is not None
    assert (paused.page.state, paused.page.failures, paused.page.rejected) == ("open", 3, 2)
    assert (paused.page.next_attempt, paused.starts.state) == (until, "closed")
    assert suspended is not None
    assert (suspended.page.state, suspended.starts.state) == ("closed", "open")
    assert suspended.starts.next_attempt == until
    assert suspended.starts.since == START + timedelta(minutes=10)


async def test_a_node_reads_as_its_last_event_tells_however_often_it_is_read(here: World) -> None:
    async with here.projecting(2):
        for number in range(2):
            await _pool(here, f"n{number}", 1, NODE)
        await _pool(
            here,
            "n1",
            2,
            pool.LaunchesPaused(reason="unreachable", failures=5, retry_in=30, rejected=4),
        )
        await here.caught_up()
        paused = await here.read.nodes()
        await _pool(here, "n0", 2, pool.NodeStopped(reason="asked"))
        await _pool(here, "n1", 3, pool.LaunchesResumed(rejected=7))
        await here.caught_up()
    async with here.projecting():
        await here.caught_up()

    assert [(each.node, each.launches and each.launches.state) for each in paused] == [
        ("n0", "closed"),
        ("n1", "open"),
    ]
    launches = paused[1].launches
    assert launches is not None
    assert (launches.failures, launches.rejected) == (5, 4)
    assert launches.next_attempt == START + timedelta(seconds=30)
    stopped, resumed = await here.read.nodes()
    assert stopped.launches is None
    assert resumed.launches is not None
    assert (resumed.launches.state, resumed.launches.rejected) == ("closed", 7)


NODE = pool.NodeStarted(sessions=0, max_sessions=100, max_per_user=5, software="1")


async def _pool(here: World, node: str, version: int, event: pool.PoolEvent) -> None:
    family = subjects.pool_family(node)
    sealed = codec.seal(event, subject=node, source="test", at=START, node=node, version=version)
    subject = subjects.pool_event(node, event.kind)
    await here.log.append(subject, sealed, Guard(family, await here.log.tail(family)))


async def test_a_message_counts_as_activity(here: World) -> None:
    author = here.author()
    async with here.projecting():
        await author.live()
        await author.receive("in-1")
        await here.caught_up()

    view = await here.read.session(author.id)

    assert view is not None
    assert view.last_activity == START + timedelta(minutes=8)
    assert view.updated == view.ready_since == START + timedelta(minutes=7)
    assert (view.totals.received, view.totals.message_version) == (1, 1)


async def test_the_outside_id_finds_the_pair_that_has_it_now(here: World) -> None:
    first, second = here.author("a", "b-c"), here.author("a-b", "c")
    async with here.projecting():
        await first.live()
        await here.caught_up()
        assert await here.read.by_joined("a-b-c") == SessionId("a", "b-c")

        await first.session(e.Removed())
        await second.live()
        await here.caught_up()

    assert await here.read.by_joined("a-b-c") == SessionId("a-b", "c")
    assert await here.read.by_joined("a-b") is None
    assert await here.read.by_joined("a-b-c*") is None


async def test_sessions_come_oldest_first_and_by_user(here: World) -> None:
    async with here.projecting():
        for minutes, (user, bot) in enumerate([("bob", "x"), ("ada", "z"), ("ada", "a")]):
            author = here.author(user, bot)
            author.minutes = minutes * 100
            await author.live()
        await here.caught_up()

    assert [view.session for view in await here.read.sessions()] == ["bob-x", "ada-z", "ada-a"]
    assert [view.session for view in await here.read.sessions("ada")] == ["ada-z", "ada-a"]
    assert await here.read.sessions("nobody") == []


async def test_history_is_newest_first_in_pages(here: World) -> None:
    author = here.author()
    async with here.projecting():
        await author.live()
        for n in range(7):
            await author.receive(f"in-{n}")
        await author.send("mine", until=3, body="to you\x00 ü 🙂")
        await here.caught_up()

    first = await here.read.history(author.id, 3)
    second = await here.read.history(author.id, 3, before=first[-1].position)
    rest = await here.read.history(author.id, 100, before=second[-1].position)

    names = [each.message or each.wa_id for each in (*first, *second, *rest)]
    assert names == ["mine", "in-6", "in-5", "in-4", "in-3", "in-2", "in-1", "in-0"]
    mine = first[0]
    assert (mine.direction, mine.status, mine.ack) == ("out", "read", 3)
    assert (mine.body, mine.chat, mine.at) == ("to you\x00 ü 🙂", "1@c.us", START)
    assert mine == await here.read.message(author.id, "mine")
    assert await here.read.message(author.id, "yours") is None
    assert await here.read.history(SessionId("no", "body"), 10) == []


async def test_a_file_is_told_with_its_message_in_both_directions(here: World) -> None:
    author = here.author()
    came = Kept(mime="image/png", object="ada.shop/in/W1", size=3, sha256="0" * 64, name="ä.png")
    goes = Media(kind="voice", object="ada.shop/out/1", mime="audio/ogg", size=4, sha256="1" * 64)
    async with here.projecting():
        await author.live()
        await author.message(
            m.Received(
                wa_id="W1", key="k", chat="1@c.us", sender="1@c.us", body="look", at=START,
                type="image", media=came,
            )
        )  # fmt: skip
        await author.message(
            m.Sending(message="mine", wa_id="W2", to="1@c.us", body="", content=goes)
        )
        await author.receive("text")
        await here.caught_up()

    text, sent, received = await here.read.history(author.id, 3)

    assert (received.type, received.body, received.media) == ("image", "look", came)
    assert received.media_at
    assert abs(received.media_at - utc_now()) < timedelta(minutes=5)
    assert (sent.type, sent.media) == ("ptt", Kept(**goes.model_dump(exclude={"type", "kind"})))
    assert (text.type, text.media, text.media_at) == ("chat", None, None)


async def test_a_tick_never_goes_back(here: World) -> None:
    author = here.author()
    async with here.projecting():
        await author.live()
        await author.send("mine", until=3)
        await author.message(m.Delivered(wa_id="WA-ada.shop-mine", chat="1@lid", message="mine"))
        await author.message(m.Played(wa_id="unknown", chat="1@lid", message="forgotten"))
        await here.caught_up()

    held = await here.read.message(author.id, "mine")
    assert held is not None
    assert (held.status, held.ack) == ("read", 3)
    assert len(await here.read.history(author.id, 10)) == 1


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (m.Sending(message="x", wa_id="W", to="1@c.us", body="b"), "queued", None),
        (m.Failed(message="x", to="1@c.us", reason="no_such_chat"), "failed", "no_such_chat"),
        (m.Expired(message="x", to="1@c.us", deadline=START), "expired", "deadline"),
        (m.Unresolved(message="x", to="1@c.us", wa_id="W", reason="gone"), "unresolved", "gone"),
    ],
    ids=["queued", "failed", "expired", "unresolved"],
)
async def test_each_outcome_has_its_word(
    here: World, event: m.MessageEvent, status: str, reason: str | None
) -> None:
    author = here.author()
    async with here.projecting():
        await author.live()
        await author.message(event)
        await here.caught_up()

        held = await here.read.message(author.id, "x")
        assert held is not None
        assert (held.status, held.reason, held.chat) == (status, reason, "1@c.us")

        # An echo that comes after all makes it sent, whatever was told before.
        await author.message(m.Sent(message="x", wa_id="W", key="k", chat="1@lid", ack=1, at=START))
        await here.caught_up()
        held = await here.read.message(author.id, "x")
        assert held is not None
        assert (held.status, held.reason) == ("sent", None)


async def test_history_is_bounded(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "HISTORY", 3)
    author = here.author()
    async with here.projecting():
        await author.live()
        for n in range(8):
            await author.receive(f"in-{n}")
        await here.caught_up()

    names = [each.wa_id for each in await here.read.history(author.id, 100)]
    assert names == ["in-7", "in-6", "in-5"]
    found = here.redis.scan_iter("wa:v1:{ada.shop}:m:*")
    assert len([key async for key in found]) == 3
    assert (await here.read.sessions())[0].totals.received == 8


async def test_messages_expire_from_history_as_from_the_log(nats_url: str, redis_url: str) -> None:
    async with world(nats_url, redis_url, message_days=1.5 / 86_400) as here:
        author = here.author()
        async with here.projecting():
            await author.live()
            await author.receive("in-1")
            await here.caught_up()
            assert len(await here.read.history(author.id, 10)) == 1

            async def expired() -> bool:
                return await here.read.history(author.id, 10) == []

            await eventually(expired)
            await author.receive("in-2")
            await here.caught_up()
            names = [each.wa_id for each in await here.read.history(author.id, 10)]
            assert names == ["in-2"]
            assert (await here.read.sessions())[0].totals.received == 2


async def test_a_qr_code_is_read_until_it_expires_or_pairing_ends(here: World) -> None:
    author = here.author()
    async with here.projecting(), here.listening_for_codes():
        await author.session(e.Registered(user="ada", bot="shop"))
        await author.session(e.Queued(reason="create"))
        await author.session(e.Starting(attempt=1, deadline=START))
        await _tell(here, author.id, "2@one", attempt=1, lasts=60)
        await author.session(e.Pairing(attempt=1, expires=START))
        await here.caught_up()

        async def there() -> bool:
            return await here.read.qr(author.id) is not None

        await eventually(there)
        held = await here.read.qr(author.id)
        assert held is not None
        assert (held.code, held.attempt) == ("2@one", 1)
        assert 0 < await here.redis.pttl("wa:qr:{ada.shop}") <= 60_000

        author.minutes += 60 * 24 * 365 * 10  # The session goes on later than the code was told.
        await author.session(e.Authenticated(deadline=START))
        await here.caught_up()
        assert await here.read.qr(author.id) is None

        await _tell(here, author.id, "2@two", attempt=2, lasts=0.3)
        await eventually(there)

        async def gone() -> bool:
            return await here.read.qr(author.id) is None

        await eventually(gone)


async def test_a_code_of_a_later_pairing_outlives_news_of_the_earlier_one(here: World) -> None:
    """A projector that lags clears the codes told up to the event, and no later ones."""
    author = here.author()
    await author.session(e.Registered(user="ada", bot="shop"))
    await author.session(e.Queued(reason="create"))
    await author.session(e.Starting(attempt=1, deadline=START))
    await author.session(e.Pairing(attempt=1, expires=START))
    await author.session(e.Crashed(reason="page", detail=""))
    async with here.listening_for_codes():
        await _tell(here, author.id, "2@new", attempt=1, lasts=60)

        async def there() -> bool:
            return await here.read.qr(author.id) is not None

        await eventually(there)
        async with here.projecting():
            await here.caught_up()

        assert await there()


async def test_what_is_no_code_is_not_written(here: World) -> None:
    async with here.listening_for_codes():
        await here.client.publish("wa.live.ada.shop.qr", b"not json")
        await _tell(here, SessionId("ada", "late"), "2@x", attempt=1, lasts=-1)
        await _tell(here, SessionId("ada", "good"), "2@y", attempt=1, lasts=60)

        async def there() -> bool:
            return await here.read.qr(SessionId("ada", "good")) is not None

        await eventually(there)
        assert [key async for key in here.redis.scan_iter("wa:qr:*")] == ["wa:qr:{ada.good}"]


async def test_a_redis_that_is_gone_or_silent_is_told_within_the_deadline(
    own_redis: RedisServer,
) -> None:
    read = RedisReadModels(Redis(port=own_redis.port, decode_responses=True), deadline=1.5)
    assert 0 < await read.ping() < 1.5
    assert await read.sessions() == []
    assert [each.position for each in await read.health()] == [0, 0]

    own_redis.pause()
    with pytest.raises(ReadModelsAway, match="TimeoutError"):
        await read.sessions()
    own_redis.resume()
    assert await read.sessions() == []

    own_redis.kill()
    for asking in (read.ping(), read.health(), read.by_joined("x"), read.qr(SessionId("a", "b"))):
        with pytest.raises(ReadModelsAway):
            await asking
    own_redis.start()
    assert await read.sessions() == []
    await read.close()


async def _tell(here: World, session: SessionId, code: str, attempt: int, lasts: float) -> None:
    now = utc_now()
    notice = live.Qr(code=code, attempt=attempt, expires=now + timedelta(seconds=lasts))
    sealed = codec.seal(notice, subject=session.dotted, source="test", at=now)
    await here.client.publish(subjects.live(session, "qr"), codec.encode(sealed))
