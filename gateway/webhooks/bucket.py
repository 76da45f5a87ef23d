"""The bucket `wa_hooks`: written only on what was read, so that nothing is overwritten unseen."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.js import errors as js_errors

from events import subjects
from events.log import (
    GUARD_SEQUENCE,
    GUARD_SUBJECT,
    WRONG_LAST_SEQUENCE,
    Hole,
    LogAway,
)
from gateway.broker import Broker, BrokerAway, BrokerLog

STREAM = f"KV_{subjects.HOOKS}"
PREFIX = f"$KV.{subjects.HOOKS}."

AWAY = (js_errors.Error, nats_errors.Error, OSError, TimeoutError)


class Moved(Exception):
    """Somebody else wrote since this was read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the revision under which it was written."""

    key: str
    raw: bytes
    revision: int


class Bucket:
    """Every call raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._log = BrokerLog(broker, STREAM)

    async def get(self, key: str) -> Entry | None:
        """Return the newest value of a key; None if there is none, or none any more."""
        try:
            # Not a direct get: a follower of a cluster may answer those with old news.
            found = await self._broker.jetstream.get_last_msg(STREAM, PREFIX + key, direct=False)
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        return Entry(key, found.data, found.seq or 0) if found.data else None

    async def family(self, family: str) -> tuple[dict[str, Entry], int]:
        """Return the values whose keys lie below a family, and its tail, to guard a write with."""
        entries: dict[str, Entry] = {}
        tail = 0
        try:
            read = self._log.read([f"{PREFIX}{family}.>"])
            async with aclosing(read) as history:
                async for stored in history:
                    key = stored.subject.removeprefix(PREFIX)
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
            return await self._log.tail(f"{PREFIX}{family}.>")
        except LogAway as error:
            raise BrokerAway from error

    async def write(self, key: str, raw: bytes, revision: int, family: str | None = None) -> int:
        """Write if the key (or the family) is still at a revision; b"" deletes. Raises Moved."""
        guarded = PREFIX + (key if family is None else f"{family}.>")
        headers = {GUARD_SEQUENCE: str(revision), GUARD_SUBJECT: guarded}
        if not raw:
            headers["KV-Operation"] = "DEL"
        try:
            ack = await self._broker.jetstream.publish(PREFIX + key, raw, headers=headers)
        except js_errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise Moved(key) from None
            raise BrokerAway from error
        except AWAY as error:
            raise BrokerAway from error
        return ack.seq

    async def delete(self, key: str) -> None:
        """Delete, whatever it is now."""
        try:
            await self._broker.jetstream.publish(PREFIX + key, b"", headers={"KV-Operation": "DEL"})
        except AWAY as error:
            raise BrokerAway from error
