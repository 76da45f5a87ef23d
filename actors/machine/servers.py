"""The embedded NATS and Redis: how to run them, and when they serve."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from actors.machine.part import DidNotStart, Recipe
from actors.machine.secrets import Passwords
from events import connection
from events.private import write_private
from events.redis import AWAY, ping
from events.redis import connect as connect_redis
from events.settings import Settings

_AGAIN = 0.05
"""Seconds between two looks at a server that is coming up."""

NATS_CONF = Path(__file__).resolve().parents[2] / "nats.conf"

TENANTS = "tenants.conf"
"""The file of the accounts of tenants, beside the configuration that includes it."""


def nats(settings: Settings, folder: Path, passwords: Passwords) -> Recipe:
    """Run nats-server on `settings.nats_port`, with one user per role. Raises DidNotStart."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not NATS_CONF.exists():
        raise DidNotStart(f"{NATS_CONF} is missing: run from a clone of the repository")

    tenants, conf = folder.with_name(TENANTS), folder.with_name(NATS_CONF.name)
    if not tenants.exists():
        write_private(tenants, "{}")
    # A copy: the server includes files by their way from the file that names them.
    conf.write_text(with_tenants(NATS_CONF.read_text()))

    return Recipe(
        name="nats",
        command=[program("nats-server", "make setup installs it"), "-c", str(conf)],
        # Quoted: nats.conf reads these as configuration, where a space or a
        # leading digit would mean something.
        environment={
            "WA_NATS_PORT": str(settings.nats_port),
            "WA_NATS_STORE": json.dumps(str(folder)),
            "WA_NATS_NODE_PASSWORD": json.dumps(passwords.node),
            "WA_NATS_GATEWAY_PASSWORD": json.dumps(passwords.gateway),
            "WA_NATS_PROJECTOR_PASSWORD": json.dumps(passwords.projector),
            "WA_NATS_OPS_PASSWORD": json.dumps(passwords.ops),
            "WA_NATS_SERVICE_PASSWORD": json.dumps(passwords.service),
        },
        ready=lambda: until_streams(settings),
        start_within=120,
        shown=lambda line: "[ERR]" in line or "[FTL]" in line,
    )


def with_tenants(text: str) -> str:
    """Have nats.conf include the accounts of tenants, which it only mentions."""
    return text.replace(f'# include "{TENANTS}"', f'include "{TENANTS}"')


def redis(settings: Settings, folder: Path, password: str) -> Recipe:
    """Run redis-server on `settings.redis_port` with an append-only file. Raises DidNotStart."""
    folder.mkdir(mode=0o700, exist_ok=True)

    return Recipe(
        name="redis",
        command=[program("redis-server", "apt-get install redis-server"), "-"],
        # By its standard input, so that the password is in no file and no process list.
        stdin="\n".join(
            [
                "bind 127.0.0.1",
                f"port {settings.redis_port}",
                f"dir {json.dumps(str(folder.resolve()))}",
                f"requirepass {password}",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "daemonize no",
                "",
            ]
        ).encode(),
        ready=lambda: until_pong(settings),
        start_within=120,
        shown=lambda _line: False,
        mend=f"If its file is damaged, remove {folder}: it is rebuilt from the log.",
    )


def program(name: str, mend: str) -> str:
    """Find a server's program: beside our Python first, then on the PATH. Raises DidNotStart."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DidNotStart(f"{name} is not installed: {mend}")
    return found


async def until_streams(settings: Settings, *streams: str) -> None:
    """Wait until NATS takes the node's password and has JetStream, and on it these streams.

    Raises DidNotStart if it refuses.
    """
    try:
        client = await connection.connect(settings, "node", name="up")
    except connection.NoBroker as error:
        raise DidNotStart(str(error)) from None
    try:
        manager = client.jetstream(timeout=2)
        while True:
            try:
                await manager.account_info()
                for stream in streams:
                    await manager.stream_info(stream)
            except (JetStreamError, NatsError, TimeoutError):
                await asyncio.sleep(_AGAIN)
            else:
                return
    finally:
        await client.close()


async def until_pong(settings: Settings) -> None:
    """Wait until Redis takes the password and has read its file."""
    client = connect_redis(settings, timeout=2)
    try:
        while True:
            try:
                await ping(client)
            except AWAY:
                await asyncio.sleep(_AGAIN)
            else:
                return
    finally:
        await client.aclose()
