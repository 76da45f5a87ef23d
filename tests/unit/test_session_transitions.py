"""Which event may follow which state, and that the rules never step outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import session_events as e
from events import session_facts as f
from events.session import LEGAL, WORDS, IllegalTransition, Session, State, evolve
from events.session_events import SessionCommand, SessionEvent, Totals
from events.session_facts import Fact
from events.session_rules import Policy, Refusal, decide
from tests.unit.sessions import IDENTITY, POLICY, REGISTERED, SYNCED, T0, Told, a_session, told

S = State
SOON = T0 + timedelta(seconds=30)

EVENTS: dict[str, SessionEvent] = {
    event.kind: event
    for event in (
        e.Registered(user="ada", bot="shop"),
        e.Claimed(life="life"),
        e.Queued(reason="start"),
        e.Starting(attempt=1, deadline=SOON),
        e.LoadingSeen(percent=50, message=""),
        e.Pairing(attempt=1, expires=SOON),
        e.QrRefreshed(attempt=2, expires=SOON),
        e.PairingCodeAsked(expires=SOON),
        e.QrExhausted(attempts=6),
        e.Authenticated(deadline=SOON),
        e.AuthFailed(reason="rejected"),
        e.Ready(phone="491701234567@c.us"),
        e.Offline(reason="TIMEOUT", deadline=SOON),
        e.Crashed(reason="page_crashed", detail=""),
        e.BackingOff(attempt=1, max_attempts=5, delay=1, until=SOON),
        e.Suspended(failures=6, until=SOON),
        e.Probing(failures=6),
        e.Recovered(failures=6),
        e.OperationsPaused(failures=3, rejected=0, until=SOON),
        e.OperationsProbed(rejected=1),
        e.OperationsResumed(rejected=1),
        e.Parked(reason="CONFLICT"),
        e.Rested(reason="qr_exhausted"),
        e.Blocked(reason="TOS_BLOCK"),
        e.LoggedOut(reason="UNPAIRED"),
        e.Stopped(reason="command"),
        e.Removed(),
        e.ProfileSaved(generation=3, bytes=1),
        e.ProfileRestored(generation=3, source="disk"),
    )
}

# Written from the design, not from the code: "live" states run or wait for a
# browser, "page" states have one, "rest" ones have none and wait for something.
GROUPS: dict[str, frozenset[State]] = {
    "live": frozenset(
        {S.REGISTERED, S.QUEUED, S.STARTING, S.PAIRING, S.AUTHENTICATED, S.READY, S.OFFLINE}
    ),
    "page": frozenset({S.STARTING, S.PAIRING, S.AUTHENTICATED, S.READY, S.OFFLINE}),
    "rest": frozenset(
        {S.BACKING_OFF, S.SUSPENDED, S.PARKED, S.RESTING, S.BLOCKED, S.STOPPED, S.LOGGED_OUT}
    ),
}

TABLE = """
registered        nothing removed                               registered
claimed           live                                          registered
claimed           rest                                          =
queued            live rest                                     queued
starting          queued                                        starting
loading           starting pairing authenticated offline        =
pairing           starting                                      pairing
qr_refreshed      pairing                                       pairing
pairing_code_asked pairing                                      =
qr_exhausted      pairing                                       =
authenticated     starting pairing                              authenticated
auth_failed       starting pairing authenticated                =
ready             starting pairing authenticated offline        ready
offline           authenticated ready                           offline
crashed           page                                          backing_off
backing_off       backing_off                                   backing_off
suspended         backing_off                                   suspended
probing           suspended                                     queued
recovered         live rest                                     =
operations_paused  ready                                        =
operations_probed  ready                                        =
operations_resumed ready                                        =
parked            page                                          parked
rested            registered pairing                            resting
blocked           page                                          blocked
logged_out        live rest -logged_out                         logged_out
stopped           live rest -stopped                            stopped
removed           live rest                                     removed
profile_saved     live rest                                     =
profile_restored  live rest                                     =
"""


def _rows() -> dict[tuple[State, str], State]:
    follows: dict[tuple[State, str], State] = {}
    for line in TABLE.strip().splitlines():
        kind, *origins, target = line.split()
        states: set[State] = set()
        for word in origins:
            if word.startswith("-"):
                states.discard(State(word[1:]))
            else:
                states |= GROUPS.get(word) or {State(word)}
        for state in states:
            assert (state, kind) not in follows
            follows[state, kind] = state if target == "=" else State(target)
    return follows


FOLLOWS = _rows()


def test_the_table_of_this_test_speaks_of_every_event() -> None:
    catalogue = {event.kind for event in get_args(SessionEvent)}

    assert catalogue == set(EVENTS) == set(LEGAL) == {kind for _, kind in FOLLOWS}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("state", State)
def test_an_event_leads_where_the_design_says_or_is_refused(state: State, kind: str) -> None:
    session = replace(a_session(state), version=41)

    expected = FOLLOWS.get((state, kind))

    if expected is None:
        with pytest.raises(IllegalTransition, match=f"{kind} cannot follow {state}") as refused:
            evolve(session, EVENTS[kind], SOON)
        assert (refused.value.state, refused.value.kind) == (state, kind)
    else:
        moved = evolve(session, EVENTS[kind], SOON)
        assert moved.state is expected
        assert moved.version == 42
        assert moved.since == (session.since if expected is state else SOON)


def test_every_state_has_a_word_outside() -> None:
    assert set(WORDS) == set(State)


# --- everything the rules decide ---------------------------------------------------

COMMANDS: tuple[SessionCommand, ...] = (
    e.Start(),
    e.Stop(),
    e.Restart(),
    e.Logout(),
    e.Delete(),
    e.Reset(),
    e.Reset(fresh=True),
    e.Takeover(),
    e.RefreshQr(),
)
FACTS: tuple[Fact, ...] = (
    f.Claiming(life="life", totals=Totals(received=3)),
    f.Wanting(),
    f.Wanting(orphaned=True),
    f.Launching(),
    f.Progress(10, "loading"),
    f.Progress(100, "loaded"),
    f.CodeShown(20),
    f.TypedCode(),
    f.Linked(),
    SYNCED,
    f.Dropped("TIMEOUT"),
    f.Conflicted(),
    f.Unlinked("UNPAIRED"),
    f.Unlinked("command", confirmed=False),
    f.Banned("TOS_BLOCK"),
    f.Failure("page_crashed", ""),
    f.Due(),
    f.Quiet(),
    f.Heavy(900),
    f.Stale(),
)
BY_THEMSELVES = (f.Claiming, f.Wanting, f.Launching, f.Due, f.Quiet, f.Heavy, f.Stale)
"""Facts that no person and no phone stands behind: timers, slots, new owners."""


def test_the_tests_tell_the_rules_everything_there_is_to_tell() -> None:
    assert {type(one) for one in COMMANDS} == set(get_args(SessionCommand))
    assert {type(one) for one in FACTS} == set(get_args(Fact))


@pytest.mark.parametrize("what", [*COMMANDS, *FACTS], ids=repr)
@pytest.mark.parametrize("state", State)
def test_whatever_the_rules_decide_is_legal(state: State, what: Told) -> None:
    session = a_session(state)

    try:
        after, events = told(session, what, at=SOON)
    except Refusal:
        assert isinstance(what, SessionCommand), "a fact is noted or ignored, never refused"
    else:
        assert after.version == session.version + len(events)


TIMED = {S.STARTING, S.PAIRING, S.AUTHENTICATED, S.OFFLINE, S.BACKING_OFF, S.SUSPENDED}
RUNNING = TIMED | {S.QUEUED, S.READY}
AT_REST = {S.PARKED, S.RESTING, S.BLOCKED, S.STOPPED, S.LOGGED_OUT, S.REMOVED}
UNLINKING = (e.LoggedOut, e.Removed, e.Registered)


@dataclass(frozen=True)
class Step:
    """Something is told `after` seconds; the owner may die with only some events stored."""

    what: Told
    after: float
    dies_after: int | None


# Progress on the way to READY is drawn more often, or no run would get far.
_ONWARD: tuple[Told, ...] = (f.Wanting(), f.Launching(), f.CodeShown(20), f.Linked(), SYNCED)
STEPS = st.builds(
    Step,
    st.one_of(st.sampled_from(_ONWARD), st.sampled_from(FACTS), st.sampled_from(COMMANDS)),
    st.floats(0, 200, allow_nan=False),
    st.sampled_from((None, None, None, None, 0, 1)),
)
POLICIES = st.sampled_from(
    (POLICY, Policy(qr_max=1), Policy(backoff=replace(POLICY.backoff, attempts=1)))
)


@given(st.lists(STEPS, max_size=60), POLICIES, st.booleans())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_no_life_of_a_session_leaves_the_rails(
    steps: list[Step], policy: Policy, start: bool
) -> None:
    now = T0
    session = evolve(Session(), REGISTERED.model_copy(update={"start": start}), now)

    for step in steps:
        now += timedelta(seconds=step.after)
        session = _live(session, step, now, policy)


def _live(session: Session, step: Step, now: datetime, policy: Policy) -> Session:
    if session.state is S.REMOVED:
        session = _evolved(session, REGISTERED, now)
    try:
        events = decide(session, IDENTITY, step.what, now, policy)
    except Refusal:
        return session
    stored = events if step.dies_after is None else events[: step.dies_after]
    before = session
    for event in stored:
        session = _evolved(session, event, now)
    if len(stored) == len(events):
        assert (session.deadline is not None) == (session.state in TIMED)
    else:
        # The next owner claims, and finds a deadline that is due or that must be planned.
        session = _evolved(session, e.Claimed(life="next"), now)
        assert session.deadline is None or session.state in TIMED
        if session.state is S.BACKING_OFF and session.deadline is None:
            [plan] = decide(session, IDENTITY, f.Due(), now, policy)
            session = _evolved(session, plan, now)
            assert session.deadline is not None
    forgotten = isinstance(step.what, f.Stale) and session.state is S.REMOVED
    if isinstance(step.what, BY_THEMSELVES) and before.state in AT_REST and not forgotten:
        assert session.state is before.state, "nobody asked for it to run"
    return session


def _evolved(was: Session, event: SessionEvent, at: datetime) -> Session:
    session = evolve(was, event, at)
    state = session.state

    assert session.version == was.version + 1
    if state in {S.AUTHENTICATED, S.READY, S.OFFLINE}:
        assert session.linked
    if state in {S.PAIRING, S.LOGGED_OUT, S.REMOVED}:
        assert not session.linked
    if state in {S.STOPPED, S.LOGGED_OUT, S.REMOVED}:
        assert not session.wanted
        assert session.failures == 0 or state is S.REMOVED
    if state in RUNNING:
        assert session.wanted
    if isinstance(event, e.Removed) and event.reason == "stale":
        assert not was.linked
    if was.linked and not session.linked:
        dropped = isinstance(event, e.Queued) and event.fresh
        assert dropped or isinstance(event, UNLINKING)
    if not session.linked:
        assert session.phone is session.lid is session.linked_at is None
    if session.failures > was.failures:
        assert isinstance(event, e.Crashed)
    if session.breaker != "closed":
        assert session.failures > 0
    return session
