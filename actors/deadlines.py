"""The timers that follow from a session's state."""

from __future__ import annotations

from datetime import datetime

from actors.timers import Timers
from events.session import Session, State
from events.session_rules import QR_GRACE, is_forgettable

S = State


def arm(timers: Timers, session: Session, now: datetime, stale_hours: float) -> None:
    """Set the one deadline the state has, and the end of a session that nobody touches."""
    _arm_deadline(timers, session, now)
    _arm_stale(timers, session, now, stale_hours)


def _arm_deadline(timers: Timers, session: Session, now: datetime) -> None:
    if session.state is S.BACKING_OFF and session.deadline is None:
        timers.ring("deadline", 0)
    elif session.deadline is None:
        timers.silence("deadline")
    else:
        # A page that waits for a typed code need not show others meanwhile.
        due = max(session.deadline, session.typed_until or session.deadline)
        grace = QR_GRACE if session.state is S.PAIRING else 0.0
        timers.ring("deadline", max(0.0, (due - now).total_seconds() + grace))


def _arm_stale(timers: Timers, session: Session, now: datetime, hours: float) -> None:
    """Forget an unlinked session that nobody touched for its time to live."""
    if hours and is_forgettable(session) and session.since is not None:
        age = (now - session.since).total_seconds()
        timers.ring("stale", max(0.0, hours * 3_600 - age))
    else:
        timers.silence("stale")
