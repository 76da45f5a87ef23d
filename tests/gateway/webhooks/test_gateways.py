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

from events.subjects import SessionId
from tests.gateway.conftest import serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Receiver, receiving
from tests.gateway.webhooks.world import ONE, TWO, hook, scripted, write
from tests.services import NatsServer, free_port

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
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers={"x-api-key": KEY}
        )
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
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.http.get("/health/live")
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if b"lease.taken" in line:
                self.posts.set()
            if b"lease.lost" in line:
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
        await self.http.aclose()


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


async def write_both(node: ScriptedNode, first: int, end: int) -> None:
    for number in range(first, end):
        await write(node, ONE if number % 2 else TWO, number)


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
        scripted(own_nats.url, tmp_path, FakeReads()) as node,
        receiving() as receiver,
        two_gateways(own_nats.url, tmp_path) as (first, second),
    ):
        # Put at the one that does not post: it is seen by the one that does.
        await hook(second.http, receiver)
        await write_both(node, 0, 20)
        await receiver.until(20)
        assert len(receiver.taken) == 20, "both posted"
        assert not second.posts.is_set()

        writing = asyncio.create_task(write_both(node, 20, 60))
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
        scripted(own_nats.url, tmp_path, FakeReads()) as node,
        receiving() as receiver,
        two_gateways(own_nats.url, tmp_path) as (first, second),
    ):
        await hook(first.http, receiver)
        await write_both(node, 0, 4)
        await receiver.until(4)

        first.tell(signal.SIGSTOP)
        await asyncio.wait_for(second.posts.wait(), 60)
        first.tell(signal.SIGCONT)
        await write_both(node, 4, 24)
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
            await hook(first.http, receiver)
            await write_both(node, 0, 10)
            await receiver.until(10)

            await first_alone.aclose()
            await write_both(node, 10, 20)
            # With a lease of 22 s that has to run out, this would take too long.
            await receiver.until(20, seconds=15)

    assert len(receiver.taken) == 20, "what was recorded came again"
