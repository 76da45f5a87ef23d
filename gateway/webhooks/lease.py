"""Which of several gateways posts: whoever holds the lease.

The lease keeps the peace, and each endpoint's progress is written only on what was
read, so that one who lost the lease without noticing cannot move it. No clocks are
compared: who waits takes the lease when its entry has not changed for as long as it
lasts, by the stopwatch of who waits; who holds it counts from before its last renewal.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from events.envelope import new_id
from gateway.broker import BrokerAway
from gateway.webhooks.bucket import Bucket, Moved

log = structlog.get_logger()

KEY = "lease"
FREE = b"free"


class Lease:
    """One process's claim to the lease. `seconds`: how long it lasts without being renewed."""

    def __init__(self, bucket: Bucket, seconds: float) -> None:
        self._bucket = bucket
        self._seconds = seconds
        self._me = new_id().encode()
        self._revision = 0
        self._until = float("-inf")
        self._renewed = asyncio.Event()

    @property
    def remaining(self) -> float:
        """Seconds for which nobody else can hold it; below 0 it may be lost."""
        return self._until - time.monotonic()

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        seen, since = -1, 0.0
        while True:
            began = time.monotonic()
            try:
                entry = await self._bucket.get(KEY)
                revision = 0 if entry is None else entry.revision
                if revision != seen:
                    seen, since = revision, time.monotonic()
                free = entry is None or entry.raw in {FREE, self._me}
                if free or time.monotonic() - since > self._seconds:
                    await self._write(revision, began)
                    log.info("webhooks.lease_taken")
                    return
            except (BrokerAway, Moved):
                pass
            await asyncio.sleep(self._seconds / 8)

    async def keep(self) -> None:
        """Renew it until somebody else has it."""
        while True:
            await asyncio.sleep(self._seconds / 8)
            began = time.monotonic()
            try:
                await self._write(self._revision, began)
            except BrokerAway:
                continue
            except Moved:
                if not await self._is_still_mine():
                    self._until = float("-inf")
                    log.warning("webhooks.lease_lost")
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
                await self._bucket.write(KEY, FREE, self._revision)
            except Moved:
                log.debug("webhooks.lease_was_lost")

    async def _write(self, revision: int, began: float) -> None:
        self._revision = await self._bucket.write(KEY, self._me, revision)
        self._until = began + self._seconds
        self._renewed.set()

    async def _is_still_mine(self) -> bool:
        """Tell whether it was a write of our own, whose answer was lost, that moved it."""
        while True:
            try:
                entry = await self._bucket.get(KEY)
            except BrokerAway:
                await asyncio.sleep(self._seconds / 8)
                continue
            if entry is not None and entry.raw == self._me:
                self._revision = entry.revision
                return True
            return False
