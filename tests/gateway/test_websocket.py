"""The plain WebSocket: what comes, in which order, and what a position is good for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events import live
from events.clock import utc_now
from events.connection import connect as nats_connect
from events.log import LogAway
from events.session_events import Claimed, Offline, QrExhausted, Recovered
from events.streams import declare
from events.subjects import SessionId
from gateway import frames, server
from tests.gateway.conftest import KEY, Running, serving, settings_for, until_ready
from tests.gateway.node import IN_A_MINUTE, ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.sockets import Closed, Rejected, connect
from tests.services import NatsServer

ONE = SessionId("user", "one")
TWO = SessionId("user", "two")


async def test_the_current_state_comes_first(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)

    socket = await connect(running, session="user-one")
    first = await socket.frame()

    assert first["event"] == "state-change"
    assert first["position"] is None
    assert first["session"] == "user-one"
    assert first["payload"]["state"] == "ready"
    assert first["payload"]["sessionId"] == "user-one"


async def test_the_code_follows_the_state(running: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@now")

    socket = await connect(running, session="user-one")
    state, code = await socket.frames(2)

    assert state["payload"]["state"] == "waiting_qr"
    assert (code["event"], code["position"]) == ("qr-update", None)
    assert code["payload"]["qr"] == "2@now"
    assert code["payload"]["qrDataUrl"].startswith("data:image/png;base64,")
    assert (code["payload"]["status"], code["payload"]["attempt"]) == ("waiting_qr", 1)


async def test_a_session_that_is_not_there_yet_can_be_watched(
    running: Running, node: ScriptedNode
) -> None:
    socket = await connect(running, session="user-one")
    first = await socket.frame()
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)

    assert first["payload"]["state"] == "not_found"
    assert (await socket.until("qr-update"))["payload"]["qr"] == "2@code-1"


async def test_events_carry_their_place_in_the_log(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()

    position = await node.message(ONE, received("hello"))
    frame = await socket.frame()

    assert frame["event"] == "message-received"
    assert frame["position"] == position
    assert frame["payload"]["message"]["body"] == "hello"
    assert frame["payload"]["message"]["from"] == "491701111111@c.us"
    assert set(frame) == {"id", "position", "timestamp", "event", "session", "payload"}


async def test_other_sessions_are_not_told(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.ready(TWO)
    socket = await connect(running, session="user-one")
    await socket.frame()

    await node.message(TWO, received("not for one"))
    await node.message(ONE, received("for one"))

    assert (await socket.frame())["payload"]["message"]["body"] == "for one"


async def test_a_star_sees_every_session(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.ready(TWO)

    socket = await connect(running, session="*")
    states = await socket.frames(2)
    await node.message(TWO, received())

    assert {frame["session"] for frame in states} == {"user-one", "user-two"}
    assert (await socket.frame())["session"] == "user-two"


async def test_only_what_was_asked_for_comes(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one", events="message-received")

    await node.event(ONE, Offline(reason="TIMEOUT", deadline=utc_now() + IN_A_MINUTE))
    await node.message(ONE, received("hello"))

    assert (await socket.frame())["event"] == "message-received"


async def test_an_event_answers_to_its_other_names(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one", events="session-ready,disconnected")
    first = await socket.frame()

    await node.event(ONE, Offline(reason="TIMEOUT", deadline=utc_now() + IN_A_MINUTE))
    second = await socket.frame()

    assert (first["event"], second["event"]) == ("session-ready", "disconnected")
    assert second["payload"]["reason"] == "TIMEOUT"


async def test_coming_back_with_a_position_misses_nothing_and_sees_nothing_twice(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one", events="message-received")
    await node.message(ONE, received("1"))
    seen = [await socket.frame()]
    await socket.close()
    for number in range(2, 30):
        await node.message(ONE, received(str(number)))

    again = await connect(
        running, session="user-one", events="message-received", since=seen[0]["position"]
    )
    for number in range(30, 40):
        await node.message(ONE, received(str(number)))
    seen += await again.frames(38)

    assert [frame["payload"]["message"]["body"] for frame in seen] == [
        str(number) for number in range(1, 40)
    ]
    assert await again.quiet()


async def test_what_happens_while_catching_up_comes_once(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    for number in range(20):
        await node.message(ONE, received(str(number)))

    writing = asyncio.create_task(_write(node, 20, 60))
    await asyncio.sleep(0.02)
    socket = await connect(running, session="user-one", events="message-received", since=1)
    bodies = [frame["payload"]["message"]["body"] for frame in await socket.frames(60)]
    await writing

    assert bodies == [str(number) for number in range(60)]


async def _write(node: ScriptedNode, first: int, end: int) -> None:
    for number in range(first, end):
        await node.message(ONE, received(str(number)))


async def test_a_position_older_than_the_log_gets_one_gap_frame(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    for number in range(3):
        await node.message(ONE, received(str(number)))
    await node.client.jetstream().purge_stream("WA_EVT", seq=4)

    socket = await connect(running, session="user-one", since=1)
    state, gap, *rest = await socket.frames(7)

    assert state["event"] == "state-change"
    assert (gap["event"], gap["position"]) == ("gap", None)
    assert gap["payload"]["since"] == 1
    assert [frame["event"] for frame in rest].count("gap") == 0
    assert rest[-1]["payload"]["message"]["body"] == "2"


async def test_a_gap_is_told_whatever_was_asked_for(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.client.jetstream().purge_stream("WA_EVT", seq=3)

    socket = await connect(running, session="user-one", events="message-received", since=1)

    assert (await socket.frame())["event"] == "gap"


async def test_a_position_of_another_log_is_a_gap_and_then_goes_on(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    socket = await connect(running, session="user-one", since=10**9)
    _, gap = await socket.frames(2)
    await node.message(ONE, received("now"))

    assert gap["event"] == "gap"
    assert (await socket.frame())["payload"]["message"]["body"] == "now"


async def test_a_position_at_the_end_is_no_gap(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    position = await node.message(ONE, received())

    socket = await connect(running, session="user-one", since=position)
    await socket.frame()

    assert await socket.quiet()


async def test_a_code_has_no_position(running: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()

    await node.pairing(ONE)
    frame = await socket.until("qr-update")

    assert frame["position"] is None


async def test_a_queued_start_hears_its_place(running: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()

    await node.notice(ONE, live.QueuePosition(position=3))

    frame = await socket.until("queue-position")
    assert frame["payload"] == {"sessionId": "user-one", "position": 3}


async def test_inner_affairs_are_not_told(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()

    await node.event(ONE, Recovered(failures=0))

    assert await socket.quiet()


async def test_a_restart_of_the_owner_shows_no_frame_of_its_own(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()

    await node.event(ONE, Claimed(life="another"))

    assert await socket.quiet()


async def test_used_up_codes_are_told(running: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)
    socket = await connect(running, session="user-one", events="qr-limit-reached")

    await node.event(ONE, QrExhausted(attempts=6))

    assert "6 codes" in (await socket.frame())["payload"]["message"]


async def test_a_reader_that_does_not_keep_up_is_dropped_with_a_reason(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    monkeypatch.setattr(running.app.state.parts.feed, "_waiting", 5)
    slow = await connect(running, session="user-one")
    line = next(iter(running.app.state.parts.feed._lines["user-one"]))

    for number in range(6):
        line.put(frames.gap("user-one", number, None, "made up"))
    with pytest.raises(Closed) as closed:
        await slow.frames(10)

    assert closed.value.code == 1013
    assert "too slow; come back with since=" in closed.value.reason
    assert running.app.state.parts.feed.watching == 0


async def test_a_slow_reader_does_not_hold_up_others(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    monkeypatch.setattr(running.app.state.parts.feed, "_waiting", 5)
    await connect(running, session="user-one")
    quick = await connect(running, session="user-one", events="message-received")

    for number in range(30):
        await node.message(ONE, received(str(number) * 1_000))
        frame = await quick.frame()
        assert frame["payload"]["message"]["body"].startswith(str(number))


async def test_a_client_that_goes_is_forgotten(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    socket = await connect(running, session="user-one")
    await socket.frame()
    assert running.app.state.parts.feed.watching == 1

    await socket.close()

    for _ in range(100):
        if not running.app.state.parts.feed.watching:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still watching")


async def _said(node: ScriptedNode) -> bool:
    try:
        await node.message(ONE, received("after"))
    except LogAway:
        return False
    return True


BAD = {
    "a dot in the session": {"session": "a.b"},
    "a wildcard in the session": {"session": "user-*"},
    "no position": {"since": "yesterday"},
    "a negative position": {"since": "-1"},
    "an event that is none": {"events": "a.b"},
    "a name that is not known": {"sesion": "user-one"},
}


@pytest.mark.parametrize("query", BAD.values(), ids=BAD)
async def test_a_bad_question_is_refused_before_the_socket_opens(
    alone: Running, query: dict[str, str]
) -> None:
    with pytest.raises(Rejected) as rejected:
        await connect(alone, **query)

    assert rejected.value.status == 400


async def test_nobody_watches_without_a_key(alone: Running) -> None:
    for headers, query in (({}, {}), ({"x-api-key": "wrong"}, {}), ({}, {"api_key": "wrong"})):
        with pytest.raises(Rejected) as rejected:
            await connect(alone, headers=headers, **query)
        assert rejected.value.status == 401


async def test_a_browser_gives_its_key_in_the_address(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)

    socket = await connect(running, headers={}, api_key=KEY, session="user-one")

    assert (await socket.frame())["event"] == "state-change"


async def test_without_redis_a_socket_is_refused_as_away(
    running: Running, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.ready(ONE)
    reads.away = True

    with pytest.raises(Rejected) as rejected:
        await connect(running, session="user-one")

    assert rejected.value.status == 503


async def test_without_a_broker_a_socket_is_refused_as_away(tmp_path: Path) -> None:
    async with serving(settings_for("nats://127.0.0.1:9", tmp_path), FakeReads()) as running:
        with pytest.raises(Rejected) as rejected:
            await connect(running, session="user-one")

    assert rejected.value.status == 503


async def test_an_open_socket_outlives_the_broker(
    own_nats: NatsServer, reads: FakeReads, tmp_path: Path
) -> None:
    settings = settings_for(own_nats.url, tmp_path)
    client = await nats_connect(settings, "node", name="scripted-node", patience=30)
    await declare(client.jetstream(), settings)
    node = ScriptedNode(client, reads)
    async with serving(settings, reads) as running:
        await until_ready(running)
        await node.ready(ONE)
        socket = await connect(running, session="user-one")
        await socket.frame()

        own_nats.kill()
        own_nats.start()
        async with asyncio.timeout(60):
            while not await _said(node):
                await asyncio.sleep(0.05)

        frame = await socket.until("message-received", timeout=60)
        assert frame["payload"]["message"]["body"] == "after"
    await client.close()


async def test_a_deleted_session_leaves_no_gap_for_others(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    position = await node.message(ONE, received("kept"))
    await node.ready(TWO)
    await node.message(TWO, received("deleted"))
    await node.client.jetstream().purge_stream("WA_EVT", subject="wa.evt.*.user.two.>")
    await node.message(ONE, received("also kept"))

    socket = await connect(running, session="user-one", since=position)
    _, frame = await socket.frames(2)

    assert frame["payload"]["message"]["body"] == "also kept"


async def test_coming_back_after_the_line_ran_over_reads_on_from_the_log(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    monkeypatch.setattr(running.app.state.parts.feed, "_waiting", 3)
    for number in range(40):
        await node.message(ONE, received(str(number)))

    writing = asyncio.create_task(_write(node, 40, 80))
    socket = await connect(running, session="user-one", events="message-received", since=1)
    bodies: list[str] = []
    while len(bodies) < 80:
        try:
            bodies.append((await socket.frame())["payload"]["message"]["body"])
            position = len(bodies)
        except Closed as closed:
            # Too slow for a line of three: what a client does then is come back.
            position = int(closed.reason.rpartition("=")[2])
            socket = await connect(
                running, session="user-one", events="message-received", since=position
            )
    await writing

    assert bodies == [str(number) for number in range(80)]


async def test_a_frame_that_is_too_large_closes_its_socket(
    running: Running, node: ScriptedNode
) -> None:
    socket = await connect(running, session="user-one")
    await socket.frame()

    await socket.say("x" * (server.LARGEST_FRAME + 1))
    with pytest.raises(Closed) as closed:
        await socket.frame()

    assert closed.value.code == 1009


async def test_a_gateway_that_ends_says_that_it_restarts(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    async with serving(settings_for(nats_url, tmp_path), reads) as running:
        await until_ready(running)
        socket = await connect(running, session="user-one")
        await socket.frame()

    with pytest.raises(Closed) as closed:
        await socket.frame()
    assert closed.value.code == 1012


async def test_a_peer_that_answers_no_ping_is_given_up(
    node: ScriptedNode,
    reads: FakeReads,
    nats_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "PING", 0.05)
    async with serving(settings_for(nats_url, tmp_path), reads) as running:
        await until_ready(running)

        # It answers when it is read from, and nobody does.
        await connect(running, session="user-one")

        async with asyncio.timeout(10):
            while running.app.state.parts.feed.watching:
                await asyncio.sleep(0.01)
