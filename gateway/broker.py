"""The gateway's connection to NATS: made in the background, and made again when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import cast

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from events import subjects
from events.connection import BrokerAway, Connection, NoBroker, connect
from events.envelope import Envelope
from events.jetstream_log import JetStreamLog
from events.log import Guard, LogAway, LogError, Stored
from events.settings import Settings

log = structlog.get_logger()

Attach = Callable[[Client], Awaitable[None]]


class Broker:
    """Holds the connection. Whoever listens is attached each time a new one is made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Connection | None = None
        self._attach: list[Attach] = []
        self._there = asyncio.Event()

    async def until_connected(self) -> None:
        """Wait for the first connection, or for the next one after it was closed for good."""
        await self._there.wait()

    def on_connect(self, attach: Attach) -> None:
        """Call `attach` with each new connection, before it is given to anybody."""
        self._attach.append(attach)

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached right now, as far as is known."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Connection:
        """The connection; raises BrokerAway."""
        if self._client is None or not self._client.is_connected:
            raise BrokerAway
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on the connection; raises BrokerAway."""
        return self.client.jetstream(timeout=2)

    async def run(self) -> None:
        """Keep a connection for ever. Ends by cancellation only."""
        while True:
            lost = asyncio.Event()

            async def closed(lost: asyncio.Event = lost) -> None:
                lost.set()

            try:
                # nats-py tries for ever by itself; what ends here is a refusal.
                client = await connect(self._settings, "gateway", name="wa-gateway", closed=closed)
                for attach in self._attach:
                    await attach(client)
            except (NoBroker, nats_errors.Error) as error:
                log.warning("broker.unreachable", error=type(error).__name__)
                await asyncio.sleep(1)
                continue
            self._client = client
            self._there.set()
            log.info("broker.connected")
            try:
                await lost.wait()
            finally:
                self._client = None
                self._there.clear()
                if not client.is_closed:
                    await client.close()
            log.warning("broker.closed")


class BrokerLog:
    """The log, or another stream, over whatever connection there is, for reading.

    A reader is cut as soon as the connection is there again after it was lost.
    """

    def __init__(self, broker: Broker, stream: str = subjects.EVENTS) -> None:
        self._broker = broker
        self._stream = stream

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        """Refuse: the actors alone write events, and the broker would not let us."""
        raise LogError("the gateway writes no events")

    async def tail(self, family: str) -> int:
        """See Log.tail."""
        return await self._log().tail(family)

    async def last(self, family: str) -> Envelope | None:
        """See Log.last."""
        return await self._log().last(family)

    def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncGenerator[Stored]:
        """See Log.read. It can be closed before its end."""
        return cast("AsyncGenerator[Stored]", self._log().read(filters, start, since))

    def follow(self, filters: Sequence[str], start: int) -> AsyncGenerator[Stored | None]:
        """See Log.follow. It can be closed."""
        return cast("AsyncGenerator[Stored | None]", self._log().follow(filters, start))

    def _log(self) -> JetStreamLog:
        try:
            client = self._broker.client
            return JetStreamLog(self._broker.jetstream, stream=self._stream, back=client.back)
        except BrokerAway as error:
            raise LogAway("no connection") from error
