"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN = 0.5
"""Seconds until a task that did not end is cancelled once more."""


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raised is dropped.

    One cancellation is not enough: Python 3.11's `wait_for`, on which nats-py
    stands, swallows one that comes in the same turn of the loop as its answer,
    and a follower of a busy log then follows for ever.
    """
    waiting: Collection[asyncio.Task[Any]] = tasks
    interrupted = False
    while waiting := [task for task in waiting if not task.done()]:
        for task in waiting:
            task.cancel()
        try:
            await asyncio.wait(waiting, timeout=AGAIN)
        except asyncio.CancelledError:
            # We are being ended in the same way; nothing may be left behind for that.
            interrupted = True
    await asyncio.gather(*tasks, return_exceptions=True)
    if interrupted:
        raise asyncio.CancelledError
