"""Socket.IO: who gets in, what a room tells, and what a client cannot do to others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from events.clock import utc_now
from events.session_events import BackingOff, Crashed, Offline
from gateway import frames
from gateway import socketio as door
from tests.gateway.conftest import KEY, Running
from tests.gateway.node import IN_A_MINUTE, ScriptedNode, received
from tests.gateway.test_websocket import ONE, TWO

TRANSPORTS = ["websocket", "polling"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    # Until then a refused client's poll holds up the end of the gateway.
    monkeypatch.setattr(door, "NAMELESS", 1)


class Client:
    """A client that keeps what it is told, in order."""

    def __init__(self, **options: Any) -> None:
        self.io = socketio.AsyncClient(**({"reconnection": False} | options))
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.io.on("*", self._hear)
        self.io.on("disconnect", self._gone)

    async def _hear(self, event: str, payload: Any = None) -> None:
        await self.told.put((event, payload))

    async def _gone(self, *_: object) -> None:
        self.gone.set()

    async def next(self, timeout: float = 10) -> tuple[str, Any]:
        return await asyncio.wait_for(self.told.get(), timeout)

    async def until(self, event: str) -> Any:
        """Return the payload of the next event of a name."""
        while True:
            name, payload = await self.next()
            if name == event:
                return payload

    async def ask(self, event: str, *given: object) -> Any:
        """Emit, and return the acknowledgement."""
        return await self.io.call(event, given or None, timeout=10)


@contextlib.asynccontextmanager
async def connected(
    running: Running, transport: str = "websocket", **options: Any
) -> AsyncIterator[Client]:
    client = Client(**options)
    await client.io.connect(running.url, transports=[transport], auth={"token": KEY})
    try:
        yield client
    finally:
        await client.io.disconnect()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_room_tells_the_code_and_then_what_happens(
    running: Running, node: ScriptedNode, transport: str
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@now")

    async with connected(running, transport) as client:
        await client.io.emit("join-room", "qr-user:one")
        opening = [await client.next() for _ in range(3)]
        await node.ready(ONE)
        await node.message(ONE, received("hello"))
        ready = await client.until("session-ready")
        message = await client.until("message-received")

    (state, change), (code, shown), (also, same) = opening
    assert (state, change["state"]) == ("state-change", "waiting_qr")
    assert (code, also, shown == same) == ("qr-update", "qr", True)
    assert (shown["sessionId"], shown["qr"], shown["attempt"]) == ("user-one", "2@now", 1)
    assert shown["qrDataUrl"].startswith("data:image/png;base64,")
    assert shown["status"] == "waiting_qr"
    assert (ready["sessionId"], ready["status"]) == ("user-one", "ready")
    assert ready["phoneNumber"] == "491709999999"
    assert set(message["message"]) >= {"id", "body", "from", "timestamp"}
    assert message["message"]["body"] == "hello"


ASKS = {
    "a room of a pair": ("join-room", "qr-user:one"),
    "a room of a session": ("join-room", "qr-user-one"),
    "join-session": ("join-session", "user-one"),
    "subscribe:session": ("subscribe:session", "user-one"),
    "subscribe-qr": ("subscribe-qr", {"userId": "user", "plubotId": "one"}),
}


@pytest.mark.parametrize("asked", ASKS.values(), ids=ASKS)
async def test_every_way_to_ask_tells_that_session_and_no_other(
    running: Running, node: ScriptedNode, asked: tuple[str, object]
) -> None:
    await node.ready(ONE)
    await node.ready(TWO)

    async with connected(running) as client:
        answer = await client.ask(*asked)
        await client.until("session-ready")
        await node.message(TWO, received("not for one"))
        await node.message(ONE, received("for one"))
        message = await client.until("message-received")

    assert answer == {"success": True, "sessionId": "user-one"}
    assert (message["sessionId"], message["message"]["body"]) == ("user-one", "for one")


async def test_an_event_shows_all_its_faces_once_however_often_its_room_was_joined(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    async with connected(running) as client:
        for asked in ASKS.values():
            await client.ask(*asked)
            await client.until("session-ready")

        await node.event(ONE, Offline(reason="TIMEOUT", deadline=utc_now() + IN_A_MINUTE))
        await node.message(ONE, received("after"))
        names = [(await client.next())[0] for _ in range(4)]

    assert names == ["session-disconnected", "disconnected", "state-change", "message-received"]


async def test_reconnecting_says_which_attempt_it_is(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    async with connected(running) as client:
        await client.ask("subscribe:session", "user-one")

        until = utc_now() + IN_A_MINUTE
        await node.event(
            ONE,
            Crashed(reason="page_gone", detail="it closed"),
            BackingOff(attempt=2, max_attempts=5, delay=1.5, until=until),
        )
        told = await client.until("session-reconnecting")

    assert {"attempt": 2, "maxAttempts": 5, "delay": 1500}.items() <= told.items()


async def test_what_was_unsubscribed_is_told_no_more(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.ready(TWO)
    async with connected(running) as client:
        await client.ask("subscribe:session", "user-one")
        await client.ask("subscribe:session", "user-two")

        await client.ask("unsubscribe:session", "user-one")
        await node.message(ONE, received("not any more"))
        await node.message(TWO, received("still"))

        assert (await client.until("message-received"))["message"]["body"] == "still"


async def test_a_pair_whose_id_is_another_pairs_shows_nothing_of_it(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    other = type(ONE)("user-one", "two")
    await node.ready(other)

    async with connected(running) as client:
        await client.ask("subscribe-qr", {"userId": "user", "plubotId": "one-two"})
        state = await client.until("state-change")
        await client.ask("subscribe:session", "user-one")
        await node.message(other, received("of another user"))
        await node.message(ONE, received("mine"))

        assert state["state"] == "not_found"
        assert (await client.until("message-received"))["message"]["body"] == "mine"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("auth", [None, {"token": "wrong"}, {"token": 7}, {"key": KEY}])
async def test_a_bad_key_is_refused_with_the_reason(
    alone: Running, transport: str, auth: object
) -> None:
    client = Client()
    refusals: asyncio.Queue[Any] = asyncio.Queue()
    client.io.on("connect_error", refusals.put)

    with pytest.raises(Refused):
        await client.io.connect(alone.url, transports=[transport], auth=auth)

    refusal = await asyncio.wait_for(refusals.get(), 5)
    assert "API key" in refusal["message"]
    assert refusal["data"]["status"] == 401
    await client.io.disconnect()


@pytest.mark.parametrize(
    "given",
    [{"headers": {"x-api-key": KEY}, "auth": {"token": "the user's own"}}, {"query": KEY}],
    ids=["header", "query"],
)
async def test_a_key_may_come_with_the_request_as_well(
    alone: Running, given: dict[str, Any]
) -> None:
    query = f"?api_key={given.pop('query')}" if "query" in given else ""
    client = Client()

    await client.io.connect(alone.url + query, transports=["websocket"], **given)

    assert client.io.connected
    await client.io.disconnect()


BAD = {
    "a room of no kind": ("join-room", "everything"),
    "a dot in an id": ("join-room", "qr-a.b:c"),
    "no text": ("join-session", {"a": 1}),
    "a wildcard": ("subscribe:session", "*"),
    "half a pair": ("subscribe-qr", {"userId": "user"}),
    "nothing": ("subscribe:session",),
    "an event that is none": ("drop-tables", "now"),
}


@pytest.mark.parametrize("asked", BAD.values(), ids=BAD)
async def test_a_bad_payload_is_answered_and_nothing_breaks(
    alone: Running, asked: tuple[object, ...]
) -> None:
    async with connected(alone) as client:
        answer = await client.ask(*asked)
        told = await client.until("session-error")
        again = await client.ask("unsubscribe:session", "user-one")

    assert (answer["success"], answer["status"]) == (False, 400)
    assert told["error"] == answer["error"]
    assert again["success"] is True


UNREADABLE = {
    "not JSON": "2not json",
    "no event": "2[]",
    "a reserved event": '2["disconnect"]',
    "binary": '51-["a",{"_placeholder":true,"num":0}]',
    "a bottomless list": "2" + "[" * 60_000,
}


@pytest.mark.parametrize("packet", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_packet_that_cannot_be_read_ends_its_own_connection_only(
    alone: Running, packet: str
) -> None:
    async with connected(alone) as other, connected(alone) as client:
        await client.io.eio.send(packet)
        await asyncio.wait_for(client.gone.wait(), 10)

        assert (await other.ask("unsubscribe:session", "user-one"))["success"] is True


async def test_one_connection_watches_so_many_sessions_and_no_more(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SESSIONS", 1)
    async with connected(running) as client:
        first = await client.ask("subscribe:session", "user-one")
        again = await client.ask("subscribe:session", "user-one")
        second = await client.ask("subscribe:session", "user-two")

    assert (first["success"], again["success"]) == (True, True)
    assert (second["success"], second["status"]) == (False, 429)


async def test_a_client_that_does_not_keep_up_is_told_so_and_cut(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    feed = running.app.state.parts.feed
    monkeypatch.setattr(feed, "_waiting", 5)
    async with connected(running) as slow, connected(running) as quick:
        await slow.ask("subscribe:session", "user-one")
        line = next(iter(feed._lines["user-one"]))
        await quick.ask("subscribe:session", "user-one")

        for number in range(6):
            line.put(frames.gap("user-one", number, None, "made up"))
        told = await slow.until("dropped")
        await asyncio.wait_for(slow.gone.wait(), 10)
        await node.message(ONE, received("for the quick"))

        assert told["reason"] == "too_slow"
        assert (await quick.until("message-received"))["message"]["body"] == "for the quick"
        assert (feed.watching, feed.dropped) == (1, 1)


async def test_a_connection_that_shows_no_key_is_cut(
    alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "NAMELESS", 0)

    opened = await alone.http.get("/socket.io/?EIO=4&transport=polling")
    sid = opened.text.partition('"sid":"')[2].partition('"')[0]
    told = ""
    while "1" not in told and '"sid"' not in told:
        told = (await alone.http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")).text

    assert told == "1"
    gone = await alone.http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")
    assert gone.status_code == 400


async def test_a_client_that_goes_leaves_nothing_behind(
    running: Running, node: ScriptedNode
) -> None:
    async with connected(running) as client:
        await client.ask("subscribe:session", "user-one")
        assert running.app.state.parts.feed.watching == 1

    async with asyncio.timeout(10):
        while running.app.state.parts.feed.watching:
            await asyncio.sleep(0.01)


async def test_without_a_broker_a_subscription_is_answered_and_the_client_sent_to_come_back(
    alone: Running,
) -> None:
    async with connected(alone) as client:
        await client.io.emit("subscribe:session", "user-one")
        told = await client.until("session-error")
        await asyncio.wait_for(client.gone.wait(), 10)

    assert told["reason"] == "broker_away"
