"""The gateway as socket.io-client from npm sees it, which is what people use."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import KEY, Running
from tests.gateway.node import ScriptedNode, received
from tests.gateway.test_websocket import ONE

SCRIPT = Path(__file__).parent / "socketio_client.mjs"
TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"]}


class Heard:
    """What a client says that it heard."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> tuple[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        told = json.loads(line)
        return told["event"], told["value"]

    async def until(self, event: str) -> Any:
        while True:
            name, value = await self.next()
            if name == event:
                return value


@contextlib.asynccontextmanager
async def client(
    running: Running, asks: list[list[object]], **options: object
) -> AsyncIterator[Heard]:
    given = {"url": running.url, "options": {"auth": {"token": KEY}} | options, "asks": asks}
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", "--", "node", str(SCRIPT), json.dumps(given),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Heard(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS)
async def test_it_hears_its_room_and_comes_back_by_itself_when_it_is_cut(
    running: Running, node: ScriptedNode, transports: list[str]
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@now")

    async with client(running, [["join-room", "qr-user:one"]], transports=transports) as heard:
        name = await heard.until("connect")
        code = await heard.until("qr-update")
        await node.message(ONE, received("hällo 👋"))
        message = await heard.until("message-received")
        running.app.state.parts.feed.end()
        why = await heard.until("dropped")
        reason = await heard.until("disconnect")
        again = await heard.until("connect")

    assert (name, again) == (transports[0], transports[0])
    assert (code["sessionId"], code["qr"]) == ("user-one", "2@now")
    assert message["message"]["body"] == "hällo 👋"
    assert why["reason"] == "restart"
    # After "io server disconnect" it would have stayed away.
    assert reason in {"transport close", "transport error"}


async def test_it_upgrades_from_polling_and_misses_nothing_on_the_way(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    bodies = [str(number) for number in range(20)]

    async with client(running, [["subscribe:session", "user-one"]]) as heard:
        await heard.until("session-ready")
        for body in bodies:
            await node.message(ONE, received(body))
        told = [(await heard.until("message-received"))["message"]["body"] for _ in bodies]

    assert told == bodies


async def test_a_wrong_key_is_a_connect_error_that_says_why(alone: Running) -> None:
    async with client(alone, [], auth={"token": "wrong"}) as heard:
        name, error = await heard.next()

    assert name == "connect_error"
    assert error["message"] == "This API key is not known."
    assert (error["data"]["status"], error["data"]["success"]) == (401, False)
