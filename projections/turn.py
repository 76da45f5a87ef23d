"""Of several projectors one is at work; another takes over when it ends, dies or hangs.

One lease for both projections, since the messages are judged by their sessions and one
reader feeds both. A projector that was frozen and wakes may still have a batch in hand:
every script in Redis is guarded by what is held there, so all of it is seen already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine

import structlog
from nats.js import JetStreamContext

from events import subjects
from events.bucket import Bucket
from events.connection import BrokerAway
from events.lease import Lease
from events.settings import Settings
from projections.cancelling import cancel

log = structlog.get_logger()

LEASE = "projections"
"""The key of who is at work, in the bucket of turns."""

FAREWELL = 2.0
"""Seconds to give the lease up, so that another need not wait."""

Work = Callable[[], Coroutine[None, None, None]]


def lease_of(js: JetStreamContext, settings: Settings) -> Lease:
    """Claim the projectors' lease as this node, which need not wait for itself after a crash."""
    bucket = Bucket(lambda: js, subjects.TURNS)
    return Lease(bucket, LEASE, settings.projector_lease, holder=settings.node)


async def in_turn(lease: Lease, *work: Work) -> None:
    """Do the work whenever the lease is ours. Ends by cancellation, or with what ends the work."""
    while True:
        await lease.acquire()
        log.info("projections.at_work")
        tasks = [asyncio.create_task(each()) for each in (lease.keep, *work)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(*tasks)
            with contextlib.suppress(BrokerAway, TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await lease.release()
        for task in done:
            task.result()
        log.warning("projections.waiting_for_turn")
