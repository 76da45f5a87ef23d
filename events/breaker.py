"""A circuit breaker as a value: CLOSED, OPEN, HALF_OPEN. Pure.

Failures in a row open it; after the reset time exactly one probe is let
through; its success closes the breaker, its failure opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class BreakerState(StrEnum):
    """The three states, in the field's words."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """`threshold` failures in a row open it for `reset` seconds."""

    threshold: int = 5
    reset: float = 60.0
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    rejected: int = 0
    until: datetime | None = None
    probing: bool = False

    def admit(self, now: datetime) -> tuple[bool, Breaker]:
        """Ask to try something: whether it may be tried, and the breaker after the question."""
        match self.state:
            case BreakerState.CLOSED:
                return True, self
            case BreakerState.OPEN if self.until is not None and now >= self.until:
                return True, replace(self, state=BreakerState.HALF_OPEN, probing=True)
            case BreakerState.HALF_OPEN if not self.probing:
                return True, replace(self, probing=True)
            case _:
                return False, replace(self, rejected=self.rejected + 1)

    def failed(self, now: datetime) -> Breaker:
        """Note that a try failed."""
        failures = self.failures + 1
        if self.state is BreakerState.CLOSED and failures < self.threshold:
            return replace(self, failures=failures)
        if self.state is BreakerState.OPEN:
            # Begun before it opened, so it says nothing of what is now.
            return replace(self, failures=failures)
        return replace(
            self,
            state=BreakerState.OPEN,
            failures=failures,
            until=now + timedelta(seconds=self.reset),
            probing=False,
        )

    def succeeded(self) -> Breaker:
        """Note that a try succeeded: all is forgotten but the count of what was rejected."""
        return replace(self, state=BreakerState.CLOSED, failures=0, until=None, probing=False)

    def abandoned(self) -> Breaker:
        """Note that a try ended without telling anything: a probe may be made again."""
        return replace(self, probing=False)

    def retry_in(self, now: datetime) -> float:
        """Seconds until a probe is let through; 0 where one is let through now."""
        if self.state is not BreakerState.OPEN or self.until is None:
            return 0.0
        return max(0.0, (self.until - now).total_seconds())
