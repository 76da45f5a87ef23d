"""A lane: what one session has waiting for one endpoint, in order. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from events.backoff import Backoff
from events.subjects import SessionId


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lane is tried for, and how much may wait meanwhile."""

    backoff: Backoff
    longest: timedelta
    waiting: int


@dataclass(slots=True)
class Lane:
    """Events stay in the log, and only their positions wait here.

    `behind`: more waits than is held here, since the record names only the first one;
    the rest is read from the log before the first try.
    """

    session: SessionId
    waiting: deque[int] = field(default_factory=deque[int])
    newest: int = 0
    behind: bool = False
    failures: int = 0
    attempts: int = 0
    since: datetime | None = None
    due: datetime | None = None
    error: str | None = None

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self.failures > 0

    def add(self, position: int) -> None:
        """Have an event wait at the end."""
        self.newest = position
        # Of a lane that is behind, reading on comes to it.
        if not self.behind:
            self.waiting.append(position)

    def passed(self) -> int:
        """Let the first one go; the next has had no try."""
        self.attempts = 0
        return self.waiting.popleft()

    def taken(self) -> int:
        """Note that the first one was delivered: the lane is well."""
        self.failures = 0
        self.since = self.due = self.error = None
        return self.passed()

    def failed(self, error: str, later: float, now: datetime, patience: Patience) -> None:
        """Note that a try failed, and when the next one is due."""
        self.failures += 1
        self.attempts += 1
        self.since = self.since or now
        self.error = error
        backoff = patience.backoff
        delay = max(backoff.delay(self.failures, self.session.dotted), min(later, backoff.most))
        self.due = now + timedelta(seconds=delay)

    def is_hopeless(self, stored_at: datetime, now: datetime, patience: Patience) -> bool:
        """Tell whether an event has waited long enough.

        It must be old, and all that time the lane must have failed: after an outage
        of ours, what is old still has all its tries before it.
        """
        if self.since is None:
            return False
        return now - stored_at >= patience.longest and now - self.since >= patience.longest
