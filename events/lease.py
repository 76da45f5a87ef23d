"""Which of several processes does what one at a time may do: whoever holds the lease.

The lease keeps the peace and nothing more: one who lost it without noticing, frozen
perhaps, must be harmless by other means, such as writing only on what was read. No clocks
are compared: who waits takes the lease when its entry has not changed for as long as it
lasts, by the stopwatch of who waits; who holds it counts from before its last renewal.
A session's ownership is another matter, see actors/: there the log itself is the fence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from events.bucket import Bucket, Moved
from events.clock import stopwatch
from events.connection import BrokerAway
from events.envelope import new_id

log = structlog.get_logger()

FREE = b"free"


class Lease:
    """One process's claim to the lease. `seconds`: how long it lasts without being renewed."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        seconds: float,
        holder: str | None = None,
        now: Callable[[], float] = stopwatch,
    ) -> None:
        """`holder` names who comes back after a crash and need not wait for itself.

        Two that run at once under one name both hold the lease; unset: nobody else has it.
        """
        self._bucket, self._key = bucket, key
        self._seconds, self._now = seconds, now
        self._me = (holder or new_id()).encode()
        self._log = log.bind(lease=key)
        self._revision = 0
        self._until = float("-inf")
        self._renewed = asyncio.Event()

    @property
    def remaining(self) -> float:
        """Seconds for which nobody else can hold it; below 0 it may be lost."""
        return self._until - self._now()

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        seen, since = -1, 0.0
        said = ""
        while True:
            began = self._now()
            try:
                entry = await self._bucket.get(self._key)
                revision = 0 if entry is None else entry.revision
                if revision != seen:
                    seen, since = revision, self._now()
                free = entry is None or entry.raw in {FREE, self._me}
                if free or self._now() - since > self._seconds:
                    await self._write(revision, began)
                    self._log.info("lease.taken")
                    return
            except Moved:
                pass
            except BrokerAway as away:
                # A bucket that no node has made yet looks like this as well.
                if (why := repr(away.__cause__)) != said:
                    said = why
                    self._log.warning("lease.cannot_ask", bucket=self._bucket.stream, error=why)
            await asyncio.sleep(self._seconds / 8)

    async def keep(self) -> None:
        """Renew it until somebody else has it."""
        while True:
            await asyncio.sleep(self._seconds / 8)
            began = self._now()
            try:
                await self._write(self._revision, began)
            except BrokerAway:
                continue
            except Moved:
                if not await self._is_still_mine():
                    self._until = float("-inf")
                    self._log.warning("lease.lost")
                    return

    async def safe_for(self, seconds: float) -> None:
        """Wait until nobody else can hold it for so long."""
        while self.remaining < seconds:
            self._renewed.clear()
            await self._renewed.wait()

    async def release(self) -> None:
        """Give it up, so that another need not wait; raises BrokerAway."""
        if self.remaining > 0:
            self._until = float("-inf")
            try:
                await self._bucket.write(self._key, FREE, self._revision)
            except Moved:
                self._log.debug("lease.was_lost")

    async def _write(self, revision: int, began: float) -> None:
        self._revision = await self._bucket.write(self._key, self._me, revision)
        self._until = began + self._seconds
        self._renewed.set()

    async def _is_still_mine(self) -> bool:
        """Tell whether it was a write of our own, whose answer was lost, that moved it."""
        while True:
            try:
                entry = await self._bucket.get(self._key)
            except BrokerAway:
                await asyncio.sleep(self._seconds / 8)
                continue
            if entry is not None and entry.raw == self._me:
                self._revision = entry.revision
                return True
            return False
