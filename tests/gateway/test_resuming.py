"""A client that is cut again and again, and one that stops reading: what each door promises."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from gateway import reader
from gateway.replay import READERS
from gateway.watch import Watch
from tests.gateway.conftest import KEY, Running
from tests.gateway.node import ScriptedNode
from tests.gateway.sockets import connect
from tests.gateway.streams import watching
from tests.gateway.test_websocket import ONE

CUTS = 20
WANTED = {"session": "user-one", "events": "message-received"}

Told = tuple[int, str]
"""A position and what was said there."""


async def by_websocket(running: Running, since: int) -> AsyncIterator[Told]:
    client = await connect(running, since=since, **WANTED)
    try:
        while True:
            frame = await client.frame(30)
            yield frame["position"], frame["payload"]["message"]["body"]
    finally:
        client.cut()


async def by_stream(running: Running, since: int) -> AsyncIterator[Told]:
    async with watching(running, headers={"Last-Event-ID": str(since)}, **WANTED) as stream:
        while True:
            event = await stream.event(30)
            yield int(event.last_id), event.data["payload"]["message"]["body"]


Door = Callable[[Running, int], AsyncIterator[Told]]
DOORS: dict[str, Door] = {"websocket": by_websocket, "sse": by_stream}


@pytest.mark.parametrize(
    "count", [500, pytest.param(5_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_a_reader_that_is_cut_at_random_sees_every_event_once_and_in_order(
    running: Running, node: ScriptedNode, door: Door, count: int
) -> None:
    await node.ready(ONE)
    bodies = [str(number) for number in range(count)]
    cuts = sorted(random.Random(count).sample(range(1, count), CUTS))
    since, seen = running.app.state.parts.feed.position, list[str]()

    pouring = asyncio.create_task(node.pour(ONE, bodies))
    for cut in [*cuts, count]:
        told = door(running, since)
        while len(seen) < cut:
            since, body = await anext(told)
            seen.append(body)
        await told.aclose()  # type: ignore[attr-defined]
    await pouring

    assert seen == bodies


async def test_a_reader_that_stops_reading_is_dropped_and_others_are_not_held_up(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PATIENCE", 0.3)
    await node.ready(ONE)
    feed = running.app.state.parts.feed
    deaf = _deaf(running)
    while feed.watching < 1:
        await asyncio.sleep(0.01)
    quick = await connect(running, since=feed.position, **WANTED)
    bodies = [f"{number}:".ljust(60_000, "x") for number in range(200)]

    pouring = asyncio.create_task(node.pour(ONE, bodies))
    heard = [(await quick.frame(30))["payload"]["message"]["body"] for _ in bodies]
    await pouring
    async with asyncio.timeout(30):
        while feed.watching > 1:
            await asyncio.sleep(0.01)

    assert heard == bodies
    assert feed.dropped == 1
    deaf.close()


def _deaf(running: Running) -> socket.socket:
    """Ask for a stream, and never read a byte of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", running.port))
    request = f"GET /api/events?session=user-one HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\n\r\n"
    client.sendall(request.encode())
    return client


async def test_readers_that_take_nothing_keep_nobody_from_resuming(
    running: Running, node: ScriptedNode
) -> None:
    feed = running.app.state.parts.feed
    await node.ready(ONE)
    await node.pour(ONE, ["old news"] * 700)
    idle = [await feed.open(Watch(session=ONE.joined), since=0) for _ in range(READERS)]
    stopped = [view.frames() for view in idle]
    for frames in stopped:
        # What is there now, and then the first of the past.
        await anext(frames)
        await anext(frames)

    resumed = await feed.open(Watch(session=ONE.joined), since=0)
    seen = 0
    async with asyncio.timeout(20), aclosing(resumed.frames()) as frames:
        async for frame in frames:
            seen += frame.position is not None and frame.faces[0][0] == "message-received"
            if seen == 700:
                break

    assert seen == 700
    for frames in stopped:
        await frames.aclose()
