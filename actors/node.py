"""A node: one process that owns sessions. Wiring only."""

from __future__ import annotations

import threading

import pykka
import structlog
from nats.aio.client import Client

from actors.browser.launcher import PyppeteerLauncher
from actors.browser.options import BrowserOptions, Deadlines
from actors.browser.protocol import Launcher
from actors.loop import LoopThread
from actors.mailbox import tell
from actors.memory import LinuxMachine
from actors.nats_leases import NatsLeases
from actors.pace import Pace
from actors.parts import Parts
from actors.pool import PoolActor
from actors.pool_messages import Halt
from actors.vault.keys import Keys
from actors.vault.shelves import DiskShelf, RedisShelf, open_redis
from actors.vault.vault import Vault
from actors.wire import NatsWire
from events.clock import SystemClock
from events.connection import connect
from events.jetstream_log import JetStreamLog
from events.media import JetStreamMedia
from events.private import write_private
from events.redis import Redis
from events.session_rules import Policy
from events.settings import Settings
from events.streams import declare

log = structlog.get_logger()

STOP = 30.0
"""Seconds in which all sessions that are left must have stopped; their browsers are killed."""


class Node:
    """Starts, runs until told to stop, and leaves nothing behind."""

    def __init__(self, settings: Settings, launcher: Launcher | None = None) -> None:
        self.settings = settings
        self.loop = LoopThread()
        self.ended = threading.Event()
        self.failed = False
        self._launcher = launcher or chromium(settings)
        self._client: Client | None = None
        self._wire: NatsWire | None = None
        self._redis: Redis | None = None
        self._pool: pykka.ActorRef[PoolActor] | None = None

    def start(self) -> None:
        """Start the loop thread and, in the background, everything else."""
        self.loop.start()
        self.loop.run(self._open(), then=lambda _: None, failed=self._could_not_open)

    async def _open(self) -> None:
        settings = self.settings
        settings.profiles.mkdir(parents=True, exist_ok=True)
        write_private(settings.node_file, settings.node)
        await self._launcher.reap_orphans()
        self._client = await connect(
            settings,
            "node",
            name=f"node {settings.node}",
            closed=self._closed,
            reconnected=self._reconnected,
        )
        js = self._client.jetstream()
        await declare(js, settings)
        self._wire = NatsWire(self._client, f"wa/node/{settings.node}")
        await self._wire.watch()
        clock = SystemClock(self.loop.loop)
        parts = Parts(
            log=JetStreamLog(js, dedupe_window=settings.dedupe_window),
            loop=self.loop,
            clock=clock,
            launcher=self._launcher,
            wire=self._wire,
            leases=NatsLeases(self._client, clock, settings.node, settings.lease_ttl),
            machine=LinuxMachine(),
            media=JetStreamMedia(lambda: js),
            vault=self._open_vault(),
            pace=Pace(settings.sends_per_minute, settings.sends_per_second),
            settings=settings,
            policy=Policy.of(settings),
        )
        self._pool = PoolActor.start(parts, self._fail)

    def _open_vault(self) -> Vault | None:
        settings = self.settings
        if not settings.vault_max_mb:
            return None
        Keys.open(settings)  # A key that is none is said at the start, and not an hour later.
        self._redis = open_redis(settings)
        shelves = (
            RedisShelf(self._redis, settings.vault_hours),
            DiskShelf(settings.vault, settings.vault_keep),
        )
        return Vault(shelves, lambda: Keys.open(settings), settings.vault_max_mb)

    def _could_not_open(self, error: Exception) -> None:
        log.error("node.cannot_start", error=f"{type(error).__name__}: {error}")
        self._fail()

    def _fail(self) -> None:
        self.failed = True
        self.ended.set()

    async def _closed(self) -> None:
        # The connection never closes by itself; if it did, nothing could be recorded.
        if not self.ended.is_set():
            log.error("node.connection_closed")
            self._fail()

    async def _reconnected(self) -> None:
        if self._wire is not None:
            self._wire.renew()

    def stop(self) -> None:
        """Stop all sessions, close their browsers, and leave. Blocks; any thread but the loop's."""
        self.ended.set()
        if self._pool is not None and self._pool.is_alive():
            tell(self._pool, Halt())
            patience = self.settings.drain_timeout + STOP
            if not self._pool.actor_stopped.wait(patience):
                log.error("node.drain_timeout", seconds=patience)
        pykka.ActorRegistry.stop_all(block=False)
        client = self._client
        if client is not None:
            self.loop.wait(client.close(), 5)
        if self._redis is not None:
            self.loop.wait(self._redis.aclose(), 5)
        self.loop.stop()


def chromium(settings: Settings) -> PyppeteerLauncher:
    """Make the launcher of real browsers from the configuration."""
    options = BrowserOptions(
        executable=settings.puppeteer_executable_path,
        sandbox_url=settings.sandbox_url,
        wa_js=settings.wa_js,
        heap_mb=settings.browser_heap_mb,
        extra_args=tuple(settings.chromium_args.split()),
        deadlines=Deadlines(
            launch=settings.launch_timeout,
            call=settings.probe_timeout,
            media=settings.media_timeout,
        ),
    )
    return PyppeteerLauncher(options, settings.profiles)
