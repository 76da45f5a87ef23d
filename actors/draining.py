"""Draining: a node hands its sessions over, a few at a time, and takes nothing meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from actors.pool_recorder import PoolRecorder
from events.pool import NodeDraining
from events.subjects import SessionId


class Drain:
    """One drain, from its beginning to the last session. Used on the pool's own thread only."""

    def __init__(
        self,
        sessions: Iterable[SessionId],
        recorder: PoolRecorder,
        *,
        at_once: int,
        stop: Callable[[SessionId], None],
        over: Callable[[], None],
    ) -> None:
        """`stop` begins the end of a session here; `over` is called when none is left."""
        self._waiting, self._under_way = list(sessions), set[SessionId]()
        self._total = len(self._waiting)
        self._recorder, self._at_once = recorder, at_once
        self._stop, self._over = stop, over
        self._log = structlog.get_logger()

    @property
    def left(self) -> int:
        """How many sessions are still here."""
        return len(self._waiting) + len(self._under_way)

    def begin(self) -> None:
        """Hand over the first ones."""
        self._tell()
        self._go_on()

    def gone(self, session: SessionId) -> None:
        """Note that a session ended here, handed over or not."""
        if session in self._waiting:
            self._waiting.remove(session)
        elif session not in self._under_way:
            return
        self._under_way.discard(session)
        self._tell()
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._under_way) < self._at_once:
            session = self._waiting.pop(0)
            self._under_way.add(session)
            self._stop(session)
        if not self.left:
            self._over()

    def _tell(self) -> None:
        self._log.info("pool.draining", left=self.left, total=self._total)
        self._recorder.record(NodeDraining(left=self.left, total=self._total))
