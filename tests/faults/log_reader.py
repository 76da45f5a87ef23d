"""The log of a site, read as it is stored."""

from __future__ import annotations

import contextlib
from typing import Protocol

from nats.aio.client import Client

from events import subjects
from events.jetstream_log import JetStreamLog
from events.log import LogError
from events.settings import Role
from tests.faults.evidence import Logged


class Connects(Protocol):
    """Whoever knows where the broker is."""

    async def connect(self, role: Role) -> Client:
        """Connect in a role."""
        ...


class LogReader:
    """The stream, read directly and kept: each call reads what came since."""

    def __init__(self, site: Connects) -> None:
        self._site = site
        self.events: list[Logged] = []
        """All that was read, the events of the pool too."""

        self._client: Client | None = None
        self._next = 1

    async def more(self) -> list[Logged]:
        """Return every event up to now."""
        self._client = self._client or await self._site.connect("projector")
        log = JetStreamLog(self._client.jetstream())
        for _ in range(3):
            with contextlib.suppress(LogError):
                async for stored in log.read([subjects.ALL_EVENTS], self._next):
                    self._next = stored.position + 1
                    family = stored.subject.split(".")[2]
                    envelope = stored.envelope
                    self.events.append(
                        Logged(
                            stored.position,
                            envelope.id,
                            envelope.subject,
                            family,
                            envelope.type.split(".")[2],
                            envelope.version,
                            envelope.data,
                            stored.stored_at,
                            envelope.node,
                        )
                    )
                break
        return [event for event in self.events if event.family != "pool"]

    async def queued(self) -> int:
        """Count the commands that wait."""
        client = await self._site.connect("node")
        try:
            return (await client.jetstream().stream_info(subjects.COMMANDS)).state.messages
        finally:
            await client.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
