"""The bucket `wa_hooks`, which is read by families as well."""

from __future__ import annotations

from contextlib import aclosing

from events import bucket, subjects
from events.bucket import Entry
from events.log import Hole, LogAway
from gateway.broker import Broker, BrokerAway, BrokerLog

FORGOTTEN = 86_400
"""Seconds for which it is known that an endpoint was deleted."""


class Bucket(bucket.Bucket):
    """Every call raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(lambda: broker.jetstream, subjects.HOOKS, FORGOTTEN)
        self._log = BrokerLog(broker, self.stream)

    async def family(self, family: str) -> tuple[dict[str, Entry], int]:
        """Return the values whose keys lie below a family, and its tail, to guard a write with."""
        entries: dict[str, Entry] = {}
        tail = 0
        try:
            read = self._log.read([f"{self.prefix}{family}.>"])
            async with aclosing(read) as history:
                async for stored in history:
                    key = stored.subject.removeprefix(self.prefix)
                    tail = stored.position
                    entries.pop(key, None)
                    if stored.raw:
                        entries[key] = Entry(key, stored.raw, stored.position)
        except (LogAway, Hole) as error:
            raise BrokerAway from error
        return entries, tail

    async def tail(self, family: str) -> int:
        """Return the revision of the newest change below a family."""
        try:
            return await self._log.tail(f"{self.prefix}{family}.>")
        except LogAway as error:
            raise BrokerAway from error
