"""What a check is, what it finds, and what the checks of one look share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.parts import Parts
from gateway.wire import Json
from projections.views import SessionView

Status = Literal["healthy", "degraded", "unhealthy"]

ASK = 1.0
"""Seconds that a check gives whomever it asks; less than it has itself, so that it can tell."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `mend` names the cause and the next step, for people."""

    healthy: bool
    message: str
    metrics: Json = field(default_factory=dict[str, object])
    mend: str | None = None
    degraded: bool = False
    """Something is not as it should be and yet does its work, whatever the check is about."""


class Look:
    """One look at everything: what several checks want to know is asked for once."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._views: asyncio.Task[list[SessionView]] | None = None

    async def sessions(self) -> list[SessionView]:
        """List all sessions; raises ReadModelsAway."""
        if self._views is None:
            self._views = asyncio.create_task(self.parts.directory.every())
            self._views.add_done_callback(forget)
        # Shielded: a check whose time is over must not take the answer from the others.
        return await asyncio.shield(self._views)


Check = Callable[[Look], Awaitable[Finding]]


def forget(task: asyncio.Future[Any]) -> None:
    """Take note of how a task ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def milliseconds(seconds: float) -> float:
    """Return a duration as health shows it."""
    return round(seconds * 1000, 2)
