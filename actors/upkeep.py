"""Upkeep: what a browser costs is measured, and one that grew too heavy is started anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.memory import Cost
from actors.operations import Operations
from actors.session_messages import Weighed
from actors.session_parts import SessionParts
from events import live
from events.session_facts import Heavy

IDLE = 5.0
"""Seconds until a browser that is too heavy, and busy, is looked at again."""


class Upkeep:
    """Weighs one session's browser now and then. Used on the session's own thread only."""

    def __init__(
        self,
        own: SessionParts,
        operations: Operations,
        waiting: Callable[[], int],
        note: Callable[[Heavy], None],
    ) -> None:
        """`waiting` counts the messages in the session's mailbox."""
        self._own, self._operations = own, operations
        self._waiting, self._note = waiting, note
        self._cpu: tuple[float, float] | None = None
        self.weight: int | None = None
        """What the browser took when it was weighed last, in MB."""

    def renew(self) -> None:
        """Begin with another browser: its CPU seconds count from nothing."""
        self._cpu = self.weight = None

    def weigh(self) -> None:
        """Have the browser measured; what it costs is a message."""
        browser = self._own.life.browser
        if browser is None or browser.pid is None:
            return
        life, pid, tell_me = self._own.life.number, browser.pid, self._own.tell_me
        self._own.node.loop.run(
            asyncio.to_thread(self._own.node.machine.cost, pid),
            then=lambda cost: tell_me(Weighed(life, cost)),
            failed=lambda _: tell_me(Weighed(life, None)),
        )

    def weighed(self, cost: Cost | None) -> None:
        """Tell what it costs; restart it at an idle moment if it grew past its limit."""
        settings, timers = self._own.node.settings, self._own.timers
        timers.ring("memory", settings.memory_interval)
        if cost is None:
            return
        self.weight = cost.memory_mb
        self._tell(cost)
        if settings.session_memory_mb and cost.memory_mb > settings.session_memory_mb:
            if self._operations.busy:
                timers.ring("memory", IDLE)
            else:
                self._own.log.info("session.too_heavy", memory_mb=cost.memory_mb)
                self._note(Heavy(cost.memory_mb))

    def _tell(self, cost: Cost) -> None:
        now = self._own.node.clock.monotonic()
        if self._cpu is not None and now > self._cpu[1]:
            share = (cost.cpu_seconds - self._cpu[0]) / (now - self._cpu[1])
            usage = live.Usage(
                memory_mb=cost.memory_mb, cpu=round(max(0.0, share), 3), mailbox=self._waiting()
            )
            self._own.tell_live(usage)
        self._cpu = (cost.cpu_seconds, now)
