"""Several gateways on one log: one of them posts, and another when that one is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from events.connection import connect
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests.gateway.conftest import serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.receiver import Receiver, receiving
from tests.services import NatsServer, free_port

ONE = SessionId("user", "one")
TWO = SessionId("user", "two")
KEY = "k"


class Gateway:
    """A gateway process."""

    def __init__(self, nats_url: str, home: Path) -> None:
        self.port = free_port()
        self._environment = os.environ | {
            "NATS_URL": nats_url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": "9",
            "DATA_DIR": str(home),
            "PORT": str(self.port),
            "API_KEY": KEY,
            "WEBHOOK_ALLOW_PRIVATE": "127.0.0.1/32",
            # Whoever posts keeps the lease through a machine that is busy for seconds.
            "WEBHOOK_TIMEOUT": "2",
            "WEBHOOK_BACKOFF_FIRST": "0.05",
        }
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.posts = asyncio.Event()
        self.lost = asyncio.Event()

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())
        async with httpx.AsyncClient() as http, asyncio.timeout(30):
            while True:
                try:
                    await http.get(f"http://127.0.0.1:{self.port}/health/live")
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if b"webhooks.lease_taken" in line:
                self.posts.set()
            if b"webhooks.lease_lost" in line:
                self.lost.set()

    def tell(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        assert self._reading is not None
        if self.process.returncode is None:
            self.tell(signal.SIGCONT)
            self.tell(number)
        await self.process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def two_gateways(nats_url: str, home: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Start two; the first one posts."""
    first, second = Gateway(nats_url, home), Gateway(nats_url, home)
    try:
        await first.start()
        await asyncio.wait_for(first.posts.wait(), 20)
        await second.start()
        yield first, second
    finally:
        for gateway in (first, second):
            if gateway.process is not None:
                await gateway.end()


@contextlib.asynccontextmanager
async def scripted(nats_url: str, home: Path) -> AsyncIterator[ScriptedNode]:
    settings = Settings(nats_url=nats_url, data_dir=home)
    client = await connect(settings, "node", name="scripted-node", patience=5)
    await declare(client.jetstream(), settings)
    try:
        yield ScriptedNode(client, FakeReads())
    finally:
        await client.close()


async def hook(gateway: Gateway, receiver: Receiver) -> None:
    async with httpx.AsyncClient(headers={"x-api-key": KEY}) as http:
        body = {"url": receiver.url, "events": ["message-received"]}
        answer = await http.put(f"http://127.0.0.1:{gateway.port}/api/webhooks/crm", json=body)
        assert answer.status_code == 200, answer.text


async def write(node: ScriptedNode, first: int, end: int) -> None:
    for number in range(first, end):
        await node.message(ONE if number % 2 else TWO, received(str(number)))


def in_order(receiver: Receiver, session: SessionId) -> list[int]:
    return [
        int(text)
        for text in dict.fromkeys(
            got.text for got in receiver.taken if got.frame["session"] == session.joined
        )
    ]


async def test_one_that_is_killed_is_followed_by_another_and_nothing_is_lost(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        scripted(own_nats.url, tmp_path) as node,
        receiving() as receiver,
        two_gateways(own_nats.url, tmp_path) as (first, second),
    ):
        # Put at the one that does not post: it is seen by the one that does.
        await hook(second, receiver)
        await write(node, 0, 20)
        await receiver.until(20)
        assert len(receiver.taken) == 20, "both posted"
        assert not second.posts.is_set()

        writing = asyncio.create_task(write(node, 20, 60))
        await receiver.until(30)
        await first.end(signal.SIGKILL)
        await writing
        await receiver.until(60, seconds=60)

    assert second.posts.is_set()
    assert in_order(receiver, TWO) == list(range(0, 60, 2))
    assert in_order(receiver, ONE) == list(range(1, 60, 2))
    assert len({got.id for got in receiver.taken}) == 60, "an id changed"


@pytest.mark.long
async def test_one_that_froze_and_wakes_up_posts_no_more(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        scripted(own_nats.url, tmp_path) as node,
        receiving() as receiver,
        two_gateways(own_nats.url, tmp_path) as (first, second),
    ):
        await hook(first, receiver)
        await write(node, 0, 4)
        await receiver.until(4)

        first.tell(signal.SIGSTOP)
        await asyncio.wait_for(second.posts.wait(), 60)
        first.tell(signal.SIGCONT)
        await write(node, 4, 24)
        await receiver.until(24, seconds=60)
        await asyncio.wait_for(first.lost.wait(), 60)

    late = [got.text for got in receiver.taken if int(got.text) >= 4]
    assert len(late) == 20, "both posted"
    assert in_order(receiver, TWO) == list(range(0, 24, 2))


async def test_one_that_ends_hands_over_at_once(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_url, tmp_path, webhook_allow_private="127.0.0.1/32")
    async with receiving() as receiver, contextlib.AsyncExitStack() as first_alone:
        first = await first_alone.enter_async_context(serving(settings, reads))
        await until_ready(first)
        async with serving(settings, reads) as second:
            await until_ready(second)
            body = {"url": receiver.url, "events": ["message-received"]}
            await first.http.put("/api/webhooks/crm", json=body)
            await write(node, 0, 10)
            await receiver.until(10)

            await first_alone.aclose()
            await write(node, 10, 20)
            # With a lease of 22 s that has to run out, this would take too long.
            await receiver.until(20, seconds=15)

    assert len(receiver.taken) == 20, "what was recorded came again"
