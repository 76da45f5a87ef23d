"""A key that is revoked or expires: what it opened is cut at every door, and says why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from events.clock import utc_now
from events.subjects import SessionId
from gateway import keyring
from gateway import socketio as door
from gateway.wire import instant
from tests.gateway.conftest import Running, key_for, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.sockets import Closed, Rejected, connect
from tests.gateway.streams import watching
from tests.gateway.test_socketio import Client

ANN = SessionId("ann", "shop")
REVOKED = "this API key was revoked; come back with another one"
EXPIRED = "this API key has expired; come back with another one"

End = Callable[[], Awaitable[str]]
"""Wait until the connection is cut; the reason that was given."""

Door = Callable[[Running, str], AbstractAsyncContextManager[End]]


@asynccontextmanager
async def websocket(running: Running, key: str) -> AsyncIterator[End]:
    socket = await connect(running, {"x-api-key": key}, session=ANN.joined)
    await socket.frame()

    async def end() -> str:
        # The state, which comes first, was read; nothing else happens.
        with pytest.raises(Closed) as closed:
            await socket.frame()
        assert closed.value.code == 1008
        return closed.value.reason

    yield end
    await socket.close()


@asynccontextmanager
async def sse(running: Running, key: str) -> AsyncIterator[End]:
    async with watching(running, {"x-api-key": key}, session=ANN.joined) as stream:
        await stream.event()

        async def end() -> str:
            told = await stream.event(30)
            with pytest.raises(StopAsyncIteration):
                await stream.event(30)
            assert told.name == "dropped"
            return str(told.data["payload"]["detail"])

        yield end


@asynccontextmanager
async def rooms(running: Running, key: str) -> AsyncIterator[End]:
    client = Client()
    await client.io.connect(running.url, transports=["websocket"], auth={"token": key})
    await client.ask("join-session", ANN.joined)

    async def end() -> str:
        told = await client.until("dropped")
        await asyncio.wait_for(client.gone.wait(), 30)
        return str(told["detail"])

    yield end
    await client.io.disconnect()


DOORS = {
    "websocket": websocket,
    "sse": sse,
    "socket.io": rooms,
}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    # Until then a refused client's poll holds up the end of the gateway.
    monkeypatch.setattr(door, "NAMELESS", 1)


async def revoke(running: Running, key: str) -> None:
    answer = await running.http.delete(f"/api/keys/{key.split('_')[1]}")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("through", DOORS.values(), ids=DOORS)
async def test_a_revoked_key_is_cut_and_others_are_not(
    running: Running, node: ScriptedNode, through: Door
) -> None:
    await node.ready(ANN)
    mine, other = await key_for(running.http, "ann"), await key_for(running.http, "ann")
    spared = await connect(running, {"x-api-key": other}, session=ANN.joined)
    first = await connect(running, session=ANN.joined)

    async with through(running, mine) as end:
        await revoke(running, mine)
        said = await end()
    await node.message(ANN, received("still here"))

    assert said == REVOKED
    assert [(await open_.until("message-received"))["session"] for open_ in (spared, first)]
    with pytest.raises(Rejected) as rejected:
        await connect(running, {"x-api-key": mine}, session=ANN.joined)
    assert rejected.value.status == 401
    for socket in (spared, first):
        await socket.close()


@pytest.mark.parametrize("through", DOORS.values(), ids=DOORS)
async def test_a_key_that_expires_is_cut_when_its_time_comes(
    running: Running, node: ScriptedNode, through: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ANN)
    body = {"name": "short", "expiresAt": instant(utc_now() + timedelta(hours=1))}
    key = (await running.http.post("/api/keys", json=body)).json()["key"]

    async with through(running, key) as end:
        soon = timedelta(hours=1) - timedelta(milliseconds=200)
        monkeypatch.setattr(keyring, "utc_now", lambda: utc_now() + soon)
        # Whoever waits for the time of a key looks at the clock again.
        await key_for(running.http, None)
        said = await end()

    assert said == EXPIRED


async def test_a_key_revoked_at_another_gateway_is_cut_here(
    running: Running, node: ScriptedNode, nats_url: str, reads: FakeReads, tmp_path: Path
) -> None:
    await node.ready(ANN)
    key = await key_for(running.http, "ann")
    async with serving(settings_for(nats_url, tmp_path), reads) as there:
        await until_ready(there)

        async with websocket(running, key) as end:
            await revoke(there, key)
            said = await end()

    assert said == REVOKED


async def test_a_key_revoked_while_its_connection_opens_is_cut(
    running: Running, node: ScriptedNode
) -> None:
    key = await key_for(running.http, "ann")
    ring: keyring.Keyring = running.app.state.parts.keyring
    caller = await ring.caller(key)
    await revoke(running, key)

    with pytest.raises(keyring.KeyLost):
        await asyncio.wait_for(ring.lost(caller), 10)


async def test_a_key_that_is_revoked_between_two_polls_is_cut_and_told_why(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "NEXT_POLL", 20)
    [server] = [r.app for r in running.app.routes if getattr(r, "path", "") == "/socket.io"]
    key = await key_for(running.http, "ann")
    async with httpx.AsyncClient(base_url=running.url, timeout=30) as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        sid = json.loads(opened.text[1:])["sid"]
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        await http.post(path, content="40" + json.dumps({"token": key}))
        joined = await http.get(path)

        await revoke(running, key)
        async with asyncio.timeout(20):
            while not server._engine.sockets[sid].queue.qsize():
                await asyncio.sleep(0.01)
        told = ""
        while (answer := await http.get(path)).is_success:
            told += answer.text

    assert joined.text.startswith("40")
    assert '42["dropped",{"reason":"key_revoked"' in told
    assert answer.status_code == 400
