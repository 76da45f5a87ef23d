"""A circuit breaker as a value: CLOSED, OPEN, HALF_OPEN. Pure.

Failures in a row open it; after the reset time exactly one probe is let
through; its success closes the breaker, its failure opens it again. What was
begun before it opened last says nothing of what is now, and is not counted.
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
class Try:
    """What was let through; `opening` is how often the breaker had opened by then."""

    opening: int


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
    openings: int = 0

    def admit(self, now: datetime) -> tuple[Try | None, Breaker]:
        """Ask to try something: the try, None if it may not be, and the breaker after that."""
        granted = Try(self.openings)
        match self.state:
            case BreakerState.CLOSED:
                return granted, self
            case BreakerState.OPEN if self.until is not None and now >= self.until:
                return granted, replace(self, state=BreakerState.HALF_OPEN, probing=True)
            case BreakerState.HALF_OPEN if not self.probing:
                return granted, replace(self, probing=True)
            case _:
                return None, replace(self, rejected=self.rejected + 1)

    def counts(self, tried: Try) -> bool:
        """Tell whether the outcome of a try is news: while half open, the probe's alone is."""
        return tried.opening == self.openings

    def failed(self, tried: Try, now: datetime) -> Breaker:
        """Note that a try failed."""
        if not self.counts(tried):
            return self
        failures = self.failures + 1
        if self.state is BreakerState.CLOSED and failures < self.threshold:
            return replace(self, failures=failures)
        return replace(
            self,
            state=BreakerState.OPEN,
            failures=failures,
            until=now + timedelta(seconds=self.reset),
            probing=False,
            openings=self.openings + 1,
        )

    def succeeded(self, tried: Try) -> Breaker:
        """Note that a try succeeded: all is forgotten but what was rejected and the openings."""
        if not self.counts(tried):
            # A late success of what began before the breaker opened does not close it: that
            # page loaded before the others failed, and taking its word would let all who
            # wait run at once into what just failed in a row. The probe tells what is now,
            # and it is at most `reset` seconds away.
            return self
        return replace(self, state=BreakerState.CLOSED, failures=0, until=None, probing=False)

    def abandoned(self, tried: Try) -> Breaker:
        """Note that a try ended without telling anything: a probe may be made again."""
        return replace(self, probing=False) if self.counts(tried) else self

    def retry_in(self, now: datetime) -> float:
        """Seconds until a probe is let through; 0 where one is let through now."""
        if self.state is not BreakerState.OPEN or self.until is None:
            return 0.0
        return max(0.0, (self.until - now).total_seconds())
