"""Ending tasks for sure."""

from __future__ import annotations

import asyncio


async def end(*tasks: asyncio.Task[None]) -> list[BaseException | None]:
    """Cancel tasks until they have ended; return what each ended with.

    Once is not enough: in Python 3.11 `asyncio.wait_for`, which nats-py waits
    with, loses a cancellation that comes together with the answer.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.2)
    return [None if task.cancelled() else task.exception() for task in tasks]
