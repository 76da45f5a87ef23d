"""The last half hour in steps: messages, how long sends took, how late events were told.

Every gateway follows the whole log, so each tells the same. It begins when the
gateway does: for what lasts there are the metrics.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from events.clock import utc_now
from events.log import Stored
from events.message import Expired, Failed, Received, Sending, Sent, Unresolved
from events.subjects import SessionId
from gateway.answers import Answer
from gateway.frames import Told

STEP = 10
"""Seconds of one step."""

STEPS = 180

TIMED = 200
"""Sends of one user that are timed in one step; a quantile needs no more."""

UNDER_WAY = 10_000


@dataclass(slots=True)
class _Step:
    """What one user's sessions did in one step; times in seconds."""

    received: int = 0
    sent: int = 0
    failed: int = 0
    took: list[float] = field(default_factory=list[float])
    lag: float = 0.0


class Trends:
    """Fed with every event of the log. Steps are known by their number since the epoch."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._steps: OrderedDict[int, dict[str, _Step]] = OrderedDict()
        self._under_way: OrderedDict[tuple[SessionId, str], datetime] = OrderedDict()

    def take(self, stored: Stored, told: Told | None) -> None:
        """Count an event."""
        if told is None:
            return
        step = self._step(_number(stored.stored_at), told.session.user)
        step.lag = max(step.lag, (self._now() - stored.stored_at).total_seconds())
        match told.payload:
            case Received(from_me=False):
                step.received += 1
            case Sending() as event:
                self._under_way[told.session, event.message] = told.envelope.time
                if len(self._under_way) > UNDER_WAY:
                    self._under_way.popitem(last=False)
            case Sent() as event:
                step.sent += 1
                began = self._under_way.pop((told.session, event.message), None)
                if began is not None and len(step.took) < TIMED:
                    step.took.append((told.envelope.time - began).total_seconds())
            case Failed() | Expired() | Unresolved():
                step.failed += 1
            case _:
                pass

    def _step(self, number: int, user: str) -> _Step:
        held = self._steps.setdefault(number, defaultdict(_Step))
        while len(self._steps) > STEPS:
            self._steps.popitem(last=False)
        return held[user]

    def of(self, user: str | None) -> TrendsAnswer:
        """Tell what one user's sessions did, or (None) all of them."""
        newest = _number(self._now())
        steps = [
            _joined(self._steps.get(number, {}), user)
            for number in range(newest - STEPS + 1, newest + 1)
        ]
        return TrendsAnswer(
            start=(newest - STEPS + 1) * STEP,
            received=[step.received for step in steps],
            sent=[step.sent for step in steps],
            failed=[step.failed for step in steps],
            latency_half=[_quantile(step.took, 0.5) for step in steps],
            latency_most=[_quantile(step.took, 0.95) for step in steps],
            lag=max(step.lag for step in steps[-60 // STEP :]),
        )


class TrendsAnswer(Answer):
    """Columns with one entry for each step, the oldest first."""

    step: int = Field(default=STEP, description="Seconds of one step.")
    start: int = Field(description="When the first step began, in seconds since the epoch.")
    received: list[int]
    sent: list[int]
    failed: list[int]
    latency_half: list[float | None] = Field(
        description="Seconds from the intent to send to WhatsApp's acknowledgement: the median."
    )
    latency_most: list[float | None] = Field(description="The same for 95 of 100 sends.")
    lag: float = Field(
        description="Seconds by which the latest event of the last minute was told late."
    )


def _number(at: datetime) -> int:
    return int(at.timestamp()) // STEP


def _joined(users: dict[str, _Step], user: str | None) -> _Step:
    if user is not None:
        return users.get(user, _Step())
    return _Step(
        received=sum(step.received for step in users.values()),
        sent=sum(step.sent for step in users.values()),
        failed=sum(step.failed for step in users.values()),
        took=[one for step in users.values() for one in step.took],
        lag=max((step.lag for step in users.values()), default=0.0),
    )


def _quantile(values: Sequence[float], part: float) -> float | None:
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(part * len(values)))], 4)
