"""Calls into a page, behind a circuit breaker of their own.

A page that answers its liveness probe can still fail every real call. After a
few failures in a row sends wait in their queue and questions are refused at
once; then one call is let through to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from events import session_events as e
from events.breaker import Breaker, BreakerState, Try
from events.clock import Clock

OperationsEvent = e.OperationsPaused | e.OperationsProbed | e.OperationsResumed


class Operations:
    """The breaker of one session's page. Used on the session's own thread only."""

    def __init__(
        self, threshold: int, reset: float, clock: Clock, record: Callable[[OperationsEvent], None]
    ) -> None:
        self._fresh = Breaker(threshold, reset)
        self._breaker = self._fresh
        self._page, self._in_hand = self._fresh.openings, 0
        self._clock, self._record = clock, record

    def renew(self) -> None:
        """Forget everything: a new page. Calls into the one before do not count for it."""
        self._breaker = replace(self._fresh, openings=self._breaker.openings + 1)
        self._page, self._in_hand = self._breaker.openings, 0

    def admit(self) -> Try | None:
        """Ask whether a call may be made now; what is granted is given back with its outcome."""
        granted, after = self._breaker.admit(self._clock.now())
        if granted is not None:
            self._in_hand += 1
        self._become(after)
        return granted

    @property
    def busy(self) -> bool:
        """Whether a call into this page has not ended yet."""
        return self._in_hand > 0

    @property
    def retry_in(self) -> float:
        """Seconds until the next call has a chance."""
        return max(1.0, self._breaker.retry_in(self._clock.now()))

    def worked(self, tried: Try) -> None:
        """Note that the page did what it was asked, or gave a sound no."""
        self._give_back(tried)
        self._become(self._breaker.succeeded(tried))

    def failed(self, tried: Try) -> None:
        """Note that the page did not do it and gave no reason."""
        self._give_back(tried)
        self._become(self._breaker.failed(tried, self._clock.now()))

    def ended(self, tried: Try) -> None:
        """Note that a call ended without telling anything, with its page for one."""
        self._give_back(tried)
        self._become(self._breaker.abandoned(tried))

    def _give_back(self, tried: Try) -> None:
        if tried.opening >= self._page:
            self._in_hand -= 1

    def _become(self, after: Breaker) -> None:
        before, self._breaker = self._breaker, after
        if after.state is before.state and not (
            after.state is BreakerState.OPEN and after.until != before.until
        ):
            return
        match after.state:
            case BreakerState.OPEN if after.until is not None:
                self._record(
                    e.OperationsPaused(
                        failures=after.failures, rejected=after.rejected, until=after.until
                    )
                )
            case BreakerState.HALF_OPEN:
                self._record(e.OperationsProbed(rejected=after.rejected))
            case _:
                self._record(e.OperationsResumed(rejected=after.rejected))
