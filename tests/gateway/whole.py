"""The whole service in one process on real NATS and Redis; only its browsers are fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.node import Node
from events.connection import connect
from events.jetstream_log import JetStreamLog
from events.redis import connect as connect_redis
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from gateway.tasks import end
from projections.projector import Projector
from projections.qr import QrCodes
from tests.fakes.browser import FakeLauncher
from tests.gateway.conftest import Running, serving, until_ready


@dataclass
class Whole:
    """A service, and the browsers behind it."""

    gateway: Running
    launcher: FakeLauncher

    async def link(self, session: SessionId, number: str) -> None:
        """Create a session, scan its code, and wait until it is ready."""
        pair = {"userId": session.user, "plubotId": session.bot}
        created = await self.gateway.http.post("/api/sessions/create", json=pair)
        created.raise_for_status()
        (await self.gateway.http.get(f"/api/qr/{session.joined}")).raise_for_status()
        self.launcher.of(str(session)).scan(number)
        while not (await self._status(session)).get("isReady"):
            await asyncio.sleep(0.02)

    async def _status(self, session: SessionId) -> dict[str, object]:
        return (await self.gateway.http.get(f"/api/sessions/{session.joined}/status")).json()


@asynccontextmanager
async def whole(
    nats_url: str, redis_port: int, home: Path, **variables: object
) -> AsyncIterator[Whole]:
    """Run node, projections and gateway until the end of the block."""
    settings = Settings.model_validate(
        {"nats_url": nats_url, "redis_port": redis_port, "data_dir": home, **variables}
    )
    client = await connect(settings, "node", name="test", patience=30)
    await declare(client.jetstream(), settings)
    redis = connect_redis(settings)
    launcher = FakeLauncher()
    node = Node(settings, launcher)
    node.start()
    projector = Projector(JetStreamLog(client.jetstream()), redis, settings)
    parts = [
        asyncio.create_task(projector.run()),
        asyncio.create_task(QrCodes(client, redis).run()),
    ]
    try:
        async with serving(settings, None) as gateway:
            await until_ready(gateway)
            yield Whole(gateway, launcher)
    finally:
        for part in parts:
            await end(part)
        await asyncio.to_thread(node.stop)
        await redis.aclose()
        await client.close()
