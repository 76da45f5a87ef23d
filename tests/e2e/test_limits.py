"""The limits on a real broker: a whole node, only its browsers are fake."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.node import Node
from events import codec, live, subjects
from events.clock import utc_now
from events.connection import connect
from events.pool import Create
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests.fakes.browser import FakeLauncher

pytestmark = pytest.mark.services


@asynccontextmanager
async def outcomes(
    nats_url: str, home: Path, wanted: list[SessionId]
) -> AsyncIterator[Counter[str]]:
    """Create all at once; count registrations and refusals until each create has its answer."""
    settings = Settings(nats_url=nats_url, data_dir=home, node="n1", _env_file=None)
    client = await connect(settings, "node", name="test", patience=30)
    js = client.jetstream()
    await declare(js, settings)
    heard: Counter[str] = Counter()
    told = asyncio.Event()

    async def hear(message: object) -> None:
        payload = codec.payload_of(codec.decode(message.data))  # type: ignore[attr-defined]
        if isinstance(payload, live.Refused):
            heard[payload.reason] += 1
        elif codec.kind_of(payload) == "registered":
            heard["registered"] += 1
        if sum(heard.values()) == len(wanted):
            told.set()

    await client.subscribe(subjects.ALL_LIVE, cb=hear)
    await client.subscribe(subjects.ALL_REGISTERED, cb=hear)
    node = Node(settings, FakeLauncher())
    node.start()
    try:
        await asyncio.gather(
            *(
                js.publish(
                    subjects.create_command(session.user),
                    codec.encode(
                        codec.seal(
                            Create(bot=session.bot),
                            subject=session.dotted,
                            source="wa/test",
                            at=utc_now(),
                        )
                    ),
                )
                for session in wanted
            )
        )
        await asyncio.wait_for(told.wait(), 60)
        yield heard
    finally:
        await asyncio.to_thread(node.stop)
        await client.close()


async def test_twenty_creates_at_once_give_five_sessions_and_fifteen_clear_refusals(
    nats_url: str, tmp_path: Path
) -> None:
    wanted = [SessionId("ann", f"bot{number}") for number in range(20)]

    async with outcomes(nats_url, tmp_path, wanted) as heard:
        assert heard == {"registered": 5, "user_limit": 15}


async def test_130_creates_of_30_users_give_exactly_100_sessions(
    nats_url: str, tmp_path: Path
) -> None:
    wanted = [SessionId(f"user{number % 30}", f"bot{number}") for number in range(130)]

    async with outcomes(nats_url, tmp_path, wanted) as heard:
        assert heard == {"registered": 100, "pool_full": 30}
