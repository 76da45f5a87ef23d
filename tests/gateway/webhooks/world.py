"""What tests of webhooks do again and again: have a receiver called, write events, look."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from events.connection import connect
from events.streams import declare
from events.subjects import SessionId
from tests.gateway.conftest import Running, settings_for
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Receiver

ONE = SessionId("user", "one")
TWO = SessionId("user", "two")
OTHERS = SessionId("other", "one")

QUICK = {
    "webhook_allow_private": "127.0.0.0/8",
    "webhook_backoff_first": 0.02,
    "webhook_backoff_max": 0.1,
    "webhook_timeout": 2,
}


@contextlib.asynccontextmanager
async def scripted(nats_url: str, home: Path, reads: FakeReads) -> AsyncIterator[ScriptedNode]:
    """A node on a broker that the test may end."""
    settings = settings_for(nats_url, home)
    client = await connect(settings, "node", name="scripted-node", patience=5)
    await declare(client.jetstream(), settings)
    try:
        yield ScriptedNode(client, reads)
    finally:
        await client.close()


async def hook(
    http: httpx.AsyncClient, receiver: Receiver, name: str = "crm", **more: object
) -> dict[str, Any]:
    """Have a receiver called; return the answer."""
    body = {"url": receiver.url, "events": ["message-received"]} | more
    answer = await http.put(f"/api/webhooks/{name}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def write(node: ScriptedNode, session: SessionId, *texts: object) -> None:
    for text in texts:
        await node.message(session, received(str(text)))


async def shown(running: Running, name: str = "crm") -> dict[str, Any]:
    return (await running.http.get(f"/api/webhooks/{name}")).json()["data"]


async def dead(running: Running, name: str = "crm") -> list[dict[str, Any]]:
    return (await running.http.get(f"/api/webhooks/{name}/dead")).json()["dead"]


async def until_dead(running: Running, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while len(letters := await dead(running)) < count:
            await asyncio.sleep(0.02)
    return letters


async def until_deliveries(running: Running, count: int) -> list[dict[str, Any]]:
    """Wait until so many deliveries were recorded."""
    async with asyncio.timeout(20):
        while True:
            body = (await running.http.get("/api/webhooks/crm/deliveries")).json()
            if len(body["deliveries"]) >= count:
                return body["deliveries"]
            await asyncio.sleep(0.02)
