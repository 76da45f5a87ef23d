"""The gateway on a real socket, with a real broker, fake read models and a scripted node."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from events.connection import connect
from events.settings import Settings
from events.streams import declare
from gateway.app import create_app
from gateway.callers import SCOPES, Scope
from gateway.server import Server
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads

KEY = "the-admin-key"


@dataclass
class Running:
    """A gateway that serves."""

    app: FastAPI
    port: int
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(settings: Settings, reads: FakeReads | None) -> AsyncIterator[Running]:
    """Serve on a free port, and stop."""
    app = create_app(settings, KEY, reads)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app)
    config = server.config
    # What serve() does but for its loop, which looks every 0.1 s whether it should end.
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    port = listener.getsockname()[1]
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": KEY}, timeout=40
    ) as http:
        try:
            yield Running(app, port, http)
        finally:
            await asyncio.wait_for(server.shutdown(sockets=[listener]), 10)


UNLIMITED = dict.fromkeys(
    (
        *("sessions_per_minute", "sessions_per_second", "sends_per_minute", "sends_per_second"),
        *("qr_per_5_minutes", "qr_per_second", "new_chats_per_day"),
    ),
    0,
)


def settings_for(url: str, home: Path, **more: object) -> Settings:
    """Make settings without quotas, which tests of anything else would run into."""
    given = UNLIMITED | {"nats_url": url, "data_dir": home, "send_wait": 5.0} | more
    return Settings.model_validate(given)


async def until_ready(running: Running) -> None:
    """Wait until the gateway has its broker and follows the log."""
    for _ in range(400):
        if running.app.state.parts.broker.connected and running.app.state.parts.feed.running:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the gateway never connected")


async def logged(read: Callable[[], str], requests: int = 1) -> str:
    """Return what was printed once so many requests are over: their line follows the answer."""
    told = ""
    for _ in range(400):
        told += read()
        if told.count("http.served") >= requests:
            return told
        await asyncio.sleep(0.01)
    raise AssertionError(f"{requests} requests and these lines: {told}")


async def key_for(http: httpx.AsyncClient, user: str | None, *scopes: Scope) -> str:
    """Make a key; of an admin if there is no user, with every scope if none is named."""
    body = {"name": "test", "userId": user, "scopes": sorted(scopes or SCOPES)}
    answer = await http.post("/api/keys", json=body)
    assert answer.status_code == 200, answer.text
    secret: str = answer.json()["key"]
    return secret


@pytest.fixture
def reads() -> FakeReads:
    return FakeReads()


@contextlib.asynccontextmanager
async def scripted(settings: Settings, reads: FakeReads) -> AsyncIterator[ScriptedNode]:
    """Run a scripted node, which makes the streams."""
    client = await connect(settings, "node", name="scripted-node", patience=30)
    await declare(client.jetstream(), settings)
    node = ScriptedNode(client, reads)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()
        await client.close()


@pytest.fixture
async def node(nats_url: str, reads: FakeReads, tmp_path: Path) -> AsyncIterator[ScriptedNode]:
    async with scripted(settings_for(nats_url, tmp_path), reads) as made:
        yield made


@pytest.fixture
async def running(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    async with serving(settings_for(nats_url, tmp_path), reads) as made:
        await until_ready(made)
        yield made


@pytest.fixture
async def alone(reads: FakeReads, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway without a broker, for what is answered before one is needed. Quick to start."""
    async with serving(settings_for("nats://127.0.0.1:9", tmp_path), reads) as made:
        yield made


@pytest.fixture
def http(running: Running) -> httpx.AsyncClient:
    return running.http
