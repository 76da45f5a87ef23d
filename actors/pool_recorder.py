"""A pool's pen: appends what happens to a node, in order."""

from __future__ import annotations

import structlog

from actors.parts import Parts
from events import codec, subjects
from events.log import Conflict, Guard, LogError
from events.pool import PoolEvent


class PoolRecorder:
    """Writes one node's events. Blocks; one thread only."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._node = parts, parts.settings.node
        self._tail = 0
        self._version = 0
        self._log = structlog.get_logger()

    def read(self) -> None:
        """Find the end of what the node wrote before. Raises what the log raises."""
        family = subjects.pool_family(self._node)

        async def read() -> None:
            async for stored in self._parts.log.read([family]):
                self._tail = stored.position
                self._version = stored.envelope.version or self._version

        self._parts.loop.wait(read())

    def record(self, event: PoolEvent, cause: str | None = None) -> None:
        """Append an event; it guards nothing but its order, and without a log it is let go."""
        try:
            try:
                self._append(event, cause)
            except Conflict:
                # A timed-out write of an earlier life landed late: go on behind it.
                self.read()
                self._append(event, cause)
        except LogError as error:
            self._log.warning("pool.event_lost", kind=event.kind, error=str(error))

    def _append(self, event: PoolEvent, cause: str | None) -> None:
        envelope = codec.seal(
            event,
            subject=self._node,
            source=f"wa/node/{self._node}",
            at=self._parts.clock.now(),
            causation=cause,
            node=self._node,
            version=self._version + 1,
        )
        subject = subjects.pool_event(self._node, event.kind)
        guard = Guard(subjects.pool_family(self._node), self._tail)
        self._tail = self._parts.loop.wait(self._parts.log.append(subject, envelope, guard))
        self._version += 1
