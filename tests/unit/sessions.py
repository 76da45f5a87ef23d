"""Sessions in every state, brought there by the rules themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from events import session_events as e
from events import session_facts as f
from events.session import Session, State, evolve
from events.session_events import SessionCommand, SessionEvent, Totals
from events.session_facts import Fact
from events.session_rules import Policy, decide
from events.subjects import SessionId

S = State
IDENTITY = SessionId("ada", "shop")
POLICY = Policy()
T0 = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SYNCED = f.Synced("491701234567@c.us", "7@lid", "Ada")

REGISTERED = e.Registered(user="ada", bot="shop")
CLAIMING = f.Claiming(life="life", totals=Totals())
CRASH = f.Failure("page_crashed", "the renderer ended")

Told = SessionCommand | Fact


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def told(
    session: Session, *what: Told, at: datetime = T0, policy: Policy = POLICY
) -> tuple[Session, list[SessionEvent]]:
    """Let the rules take one thing after the other; return where it ends and all events."""
    events: list[SessionEvent] = []
    for one in what:
        for event in decide(session, IDENTITY, one, at, policy):
            session = evolve(session, event, at)
            events.append(event)
    return session, events


def kinds(events: list[SessionEvent]) -> str:
    return " ".join(event.kind for event in events)


_STARTING: tuple[Told, ...] = (CLAIMING, f.Wanting(), f.Launching())
_PAIRING = (*_STARTING, f.CodeShown(20))
_READY = (*_STARTING, f.Linked(), SYNCED)

ROUTES: dict[State, tuple[Told, ...]] = {
    S.REGISTERED: (CLAIMING,),
    S.QUEUED: (CLAIMING, f.Wanting()),
    S.STARTING: _STARTING,
    S.PAIRING: _PAIRING,
    S.AUTHENTICATED: (*_STARTING, f.Linked()),
    S.READY: _READY,
    S.OFFLINE: (*_READY, f.Dropped("TIMEOUT")),
    S.BACKING_OFF: (*_READY, CRASH),
    S.SUSPENDED: (*_READY, CRASH, *(f.Due(), f.Launching(), CRASH) * 5),
    S.PARKED: (*_READY, f.Conflicted()),
    S.RESTING: (*_PAIRING, *(f.CodeShown(20),) * 6),
    S.BLOCKED: (*_READY, f.Banned("TOS_BLOCK")),
    S.STOPPED: (*_READY, e.Stop()),
    S.LOGGED_OUT: (*_READY, f.Unlinked("UNPAIRED")),
    S.REMOVED: (*_READY, e.Delete()),
}


def a_session(state: State) -> Session:
    """Return a session in a state, as the shortest plausible life leads there."""
    if state is S.NOTHING:
        return Session()
    session, _ = told(evolve(Session(), REGISTERED, T0), *ROUTES[state])
    assert session.state is state
    return session
