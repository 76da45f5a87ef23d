"""Pacing: a user's messages leave this node no faster than the quota.

The gateway refuses what is too fast (429); a service on NATS is not refused but
waits here, and nothing of it is lost.
"""

from __future__ import annotations

import threading
from collections import deque


class Pace:
    """Moving windows for each user. Shared by all sessions of a node, so it has a lock:

    one clock reading and a deque, held for microseconds; a message to an actor
    and back would cost a hundred times that on every send.
    """

    def __init__(self, per_minute: int, per_second: int) -> None:
        """Take quotas; 0 is no limit."""
        self._windows = [(n, span) for n, span in ((per_minute, 60.0), (per_second, 1.0)) if n]
        self._sent: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, user: str, now: float) -> float:
        """Take a place for one message: 0.0 if it may go now, else the seconds to wait."""
        with self._lock:
            sent = self._sent.setdefault(user, deque())
            while sent and sent[0] <= now - 60.0:
                sent.popleft()
            wait = max((self._wait(sent, n, span, now) for n, span in self._windows), default=0.0)
            if wait == 0.0:
                sent.append(now)
            return wait

    @staticmethod
    def _wait(sent: deque[float], quota: int, span: float, now: float) -> float:
        if len(sent) < quota:
            return 0.0
        return max(0.0, sent[-quota] + span - now)
