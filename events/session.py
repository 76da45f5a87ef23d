"""A session: its state, and the pure functions that move it.

`decide` turns a command or a sighting into events, `evolve` applies one.
A table says which event may follow which state; `evolve` refuses all others.
Desired state (`wanted`) and observed state (`state`) are different facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from events import session_events as e
from events.breaker import Breaker, BreakerState
from events.session_events import SessionEvent, Totals


class State(StrEnum):
    """Where a session stands."""

    NOTHING = "nothing"
    REGISTERED = "registered"
    QUEUED = "queued"
    STARTING = "starting"
    PAIRING = "pairing"
    AUTHENTICATED = "authenticated"
    READY = "ready"
    OFFLINE = "offline"
    BACKING_OFF = "backing_off"
    SUSPENDED = "suspended"
    PARKED = "parked"
    RESTING = "resting"
    BLOCKED = "blocked"
    STOPPED = "stopped"
    LOGGED_OUT = "logged_out"
    REMOVED = "removed"


S = State

WORDS: dict[State, str] = {
    S.NOTHING: "not_found",
    S.REGISTERED: "initializing",
    S.QUEUED: "initializing",
    S.STARTING: "initializing",
    S.PAIRING: "waiting_qr",
    S.AUTHENTICATED: "authenticated",
    S.READY: "ready",
    S.OFFLINE: "disconnected",
    S.BACKING_OFF: "reconnecting",
    S.SUSPENDED: "suspended",
    S.PARKED: "disconnected",
    S.RESTING: "disconnected",
    S.BLOCKED: "auth_failed",
    S.STOPPED: "stopped",
    S.LOGGED_OUT: "logged_out",
    S.REMOVED: "not_found",
}
"""The word outside for each state, as the wire contract has it."""

WITH_BROWSER = frozenset({S.STARTING, S.PAIRING, S.AUTHENTICATED, S.READY, S.OFFLINE})
"""States in which a browser runs, or is being launched."""

LIVE = WITH_BROWSER | {S.REGISTERED, S.QUEUED}
EXISTING = frozenset(State) - {S.NOTHING, S.REMOVED}
AT_REST = frozenset({S.PARKED, S.RESTING, S.STOPPED, S.LOGGED_OUT})

LEGAL: dict[str, frozenset[State]] = {
    "registered": frozenset({S.NOTHING, S.REMOVED}),
    "claimed": EXISTING,
    "queued": EXISTING,
    "starting": frozenset({S.QUEUED}),
    "loading": WITH_BROWSER - {S.READY},
    "pairing": frozenset({S.STARTING}),
    "qr_refreshed": frozenset({S.PAIRING}),
    "pairing_code_asked": frozenset({S.PAIRING}),
    "qr_exhausted": frozenset({S.PAIRING}),
    "authenticated": frozenset({S.STARTING, S.PAIRING}),
    "auth_failed": frozenset({S.STARTING, S.PAIRING, S.AUTHENTICATED}),
    "ready": frozenset({S.STARTING, S.PAIRING, S.AUTHENTICATED, S.OFFLINE}),
    "offline": frozenset({S.AUTHENTICATED, S.READY}),
    "crashed": WITH_BROWSER,
    "backing_off": frozenset({S.BACKING_OFF}),
    "suspended": frozenset({S.BACKING_OFF}),
    "probing": frozenset({S.SUSPENDED}),
    "recovered": EXISTING,
    "operations_paused": frozenset({S.READY}),
    "operations_probed": frozenset({S.READY}),
    "operations_resumed": frozenset({S.READY}),
    "parked": WITH_BROWSER,
    "rested": frozenset({S.PAIRING, S.REGISTERED}),
    "blocked": WITH_BROWSER,
    "logged_out": EXISTING - {S.LOGGED_OUT},
    "stopped": EXISTING - {S.STOPPED},
    "removed": EXISTING,
    "profile_saved": EXISTING,
    "profile_restored": EXISTING,
}
"""Which states an event may follow."""


class IllegalTransition(Exception):
    """An event does not fit the state it was applied to."""

    def __init__(self, state: State, kind: str) -> None:
        super().__init__(f"{kind} cannot follow {state}")
        self.state = state
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Session:
    """All that is known of a session from its own events."""

    state: State = S.NOTHING
    version: int = 0
    wanted: bool = False
    linked: bool = False
    phone: str | None = None
    lid: str | None = None
    push_name: str | None = None
    linked_at: datetime | None = None
    since: datetime | None = None
    reason: str | None = None
    error: str | None = None
    failures: int = 0
    probing: bool = False
    rejected: int = 0
    breaker_since: datetime | None = None
    page: Breaker = field(default_factory=Breaker)
    page_since: datetime | None = None
    qr_attempt: int = 0
    typed_until: datetime | None = None
    deadline: datetime | None = None
    generation: int = 0
    percent: int = -1
    totals: Totals = Totals()

    @property
    def word(self) -> str:
        """The status word outside."""
        return WORDS[self.state]

    @property
    def is_coming_back(self) -> bool:
        """Whether it would be ready again: after failures, or without its connection."""
        return self.failures > 0 or self.state is S.OFFLINE

    @property
    def breaker(self) -> BreakerState:
        """The start breaker as the events tell it: closed, open or half_open."""
        if self.state is S.SUSPENDED:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN if self.probing else BreakerState.CLOSED


def evolve(session: Session, event: SessionEvent, at: datetime) -> Session:
    """Apply one event that was written at `at`; raise IllegalTransition if it cannot follow."""
    if session.state not in LEGAL[event.kind]:
        raise IllegalTransition(session.state, event.kind)
    moved = _apply(replace(session, version=session.version + 1), event)
    if moved.state not in WITH_BROWSER:
        # A breaker of calls into a page ends with the page.
        moved = replace(moved, page=Breaker())
    if moved.state is not S.PAIRING:
        moved = replace(moved, typed_until=None)
    if moved.linked and not session.linked:
        moved = replace(moved, linked_at=at)
    if moved.breaker is not session.breaker:
        moved = replace(moved, breaker_since=at)
    if moved.page.state is not session.page.state:
        moved = replace(moved, page_since=at)
    return moved if moved.state is session.state else replace(moved, since=at)


def _apply(was: Session, event: SessionEvent) -> Session:
    match event:
        case e.Registered():
            return Session(version=was.version, state=S.REGISTERED, wanted=event.start)
        case e.Claimed():
            # No browser outlives its owner, so what was live is only registered now,
            # and the deadline of that browser is nobody's any more.
            live = was.state in LIVE
            state = S.REGISTERED if live else was.state
            deadline = None if live else was.deadline
            return replace(was, state=state, deadline=deadline, totals=event.totals, percent=-1)
        case e.Queued():
            link = _unlinked(was) if event.fresh else was
            return replace(link, state=S.QUEUED, wanted=True, reason=event.reason, deadline=None)
        case e.Starting():
            return replace(
                was,
                state=S.STARTING,
                deadline=event.deadline,
                qr_attempt=0,
                percent=-1,
            )
        case e.LoadingSeen():
            return replace(was, percent=event.percent)
        case e.Pairing() | e.QrRefreshed():
            return replace(was, state=S.PAIRING, qr_attempt=event.attempt, deadline=event.expires)
        case e.PairingCodeAsked():
            return replace(was, typed_until=event.expires)
        case e.QrExhausted() | e.AuthFailed() | e.ProfileRestored():
            return was
        case e.Authenticated():
            return replace(was, state=S.AUTHENTICATED, linked=True, deadline=event.deadline)
        case e.Ready():
            back = 1 if was.is_coming_back else 0
            return replace(
                was,
                state=S.READY,
                linked=True,
                phone=event.phone,
                lid=event.lid,
                push_name=event.push_name,
                deadline=None,
                reason=None,
                error=None,
                totals=was.totals.model_copy(
                    update={"reconnections": was.totals.reconnections + back}
                ),
            )
        case e.Offline():
            return replace(was, state=S.OFFLINE, reason=event.reason, deadline=event.deadline)
        case e.Crashed():
            return replace(
                was,
                state=S.BACKING_OFF,
                reason=event.reason,
                error=event.detail,
                failures=was.failures + 1,
                deadline=None,
            )
        case e.BackingOff():
            return replace(was, deadline=event.until)
        case e.Suspended():
            return replace(was, state=S.SUSPENDED, deadline=event.until, probing=False)
        case e.Probing():
            return replace(
                was, state=S.QUEUED, deadline=None, probing=True, rejected=event.rejected
            )
        case e.Recovered():
            return replace(was, failures=0, probing=False, rejected=event.rejected)
        case e.OperationsPaused() | e.OperationsProbed() | e.OperationsResumed():
            return replace(was, page=_paged(was.page, event))
        case e.Parked():
            return replace(was, state=S.PARKED, reason=event.reason, deadline=None)
        case e.Rested():
            return replace(was, state=S.RESTING, reason=event.reason, deadline=None)
        case e.Blocked():
            return replace(was, state=S.BLOCKED, reason=event.reason, deadline=None)
        case e.LoggedOut():
            # As after a stop: what failed with the old link says nothing of the next.
            return replace(
                _unlinked(was),
                state=S.LOGGED_OUT,
                wanted=False,
                reason=event.reason,
                deadline=None,
                failures=0,
                probing=False,
            )
        case e.Stopped():
            # A person stopped it, so the next start begins with a clean slate.
            return replace(
                was,
                state=S.STOPPED,
                wanted=False,
                reason=event.reason,
                deadline=None,
                failures=0,
                probing=False,
                totals=event.totals,
            )
        case e.Removed():
            return replace(
                _unlinked(was), state=S.REMOVED, wanted=False, reason=event.reason, deadline=None
            )
        case e.ProfileSaved():
            return replace(was, generation=event.generation, totals=event.totals)
        case _:
            assert_never(event)


def _paged(
    was: Breaker, event: e.OperationsPaused | e.OperationsProbed | e.OperationsResumed
) -> Breaker:
    match event:
        case e.OperationsPaused():
            state, failures, until = BreakerState.OPEN, event.failures, event.until
        case e.OperationsProbed():
            state, failures, until = BreakerState.HALF_OPEN, was.failures, None
        case e.OperationsResumed():
            state, failures, until = BreakerState.CLOSED, 0, None
    return Breaker(state=state, failures=failures, rejected=event.rejected, until=until)


def _unlinked(was: Session) -> Session:
    return replace(was, linked=False, phone=None, lid=None, push_name=None, linked_at=None)
