"""Browsers come after the service for the CPU: hundreds of pages must not slow their keeper."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import structlog

log = structlog.get_logger()

NICEST = 19
TRIES = 10
PAUSE = 0.11
"""Seconds between two tries; the kernel lets an ordinary user change one autogroup in 0.1 s."""


async def step_back(group: int, nice: int) -> None:
    """Make a new process group, which leads a session of its own, `nice` steps nicer than us.

    Where the kernel groups by session (sched_autogroup_enabled, as on most desktops and
    many servers), a process group's nice counts only within its session: there it is the
    session's that has to be set. What cannot be set is left as it is.
    """
    if not nice:
        return
    value = min(NICEST, os.getpriority(os.PRIO_PROCESS, 0) + nice)
    try:
        os.setpriority(os.PRIO_PGRP, group, value)
        for _ in range(TRIES):
            if _set_autogroup(group, value):
                break
            await asyncio.sleep(PAUSE)
    except ProcessLookupError:
        pass  # it has ended already, which is told elsewhere
    except OSError as error:
        log.info("browser.not_nice", error=error.strerror)


def _set_autogroup(group: int, value: int) -> bool:
    """Tell whether that was it: the kernel may want to be asked again."""
    file = Path(f"/proc/{group}/autogroup")
    if not file.exists():
        return True
    try:
        file.write_text(str(value))
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        raise
    return True
