"""The broker that holds the streams: the one there is, or ours, started for the while."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from nats.aio.client import Client
from pydantic import SecretStr

from actors.machine import servers
from actors.machine.part import Part
from actors.machine.ports import claim
from actors.machine.secrets import Passwords
from events.connection import connect
from events.settings import Settings

_PATIENCE = 5.0
"""Seconds that a broker of somebody else may take to answer."""


@contextlib.asynccontextmanager
async def there(settings: Settings) -> AsyncGenerator[Client]:
    """Connect to the broker that NATS_URL names, as the node. Raises NoBroker.

    Not as operations: who may have a stream copied says where the copy is delivered,
    and could name the log; and who may bring one back writes events. That is the
    node's account alone.
    """
    client = await connect(settings, "node", name="wa-backup", patience=_PATIENCE)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def ours(settings: Settings, folder: Path) -> AsyncGenerator[Client]:
    """Run nats-server on a folder of the embedded one. Raises DidNotStart and NoBroker."""
    held = Passwords()
    port = claim("NATS_PORT", 0)
    settings = settings.model_copy(
        update={
            "nats_port": port,
            "nats_url": f"nats://127.0.0.1:{port}",
            "nats_password": SecretStr(held.node),
        }
    )
    part = Part(servers.nats(settings, folder, held), lambda _name, _line: None)
    try:
        await part.start()
        async with there(settings) as client:
            yield client
    finally:
        await part.stop()


def version_of(client: Client) -> str:
    """Tell which version of nats-server this is."""
    version = client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"
