"""What a session does about what it is told, told as stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from events import session_events as e
from events import session_facts as f
from events.backoff import Backoff
from events.session import WORDS, Session, State, evolve
from events.session_events import SessionCommand, Totals
from events.session_rules import Policy, Refusal, decide
from events.settings import Settings
from tests.unit.sessions import (
    CLAIMING,
    CRASH,
    IDENTITY,
    POLICY,
    REGISTERED,
    SYNCED,
    T0,
    Told,
    a_session,
    kinds,
    seconds,
    told,
)

S = State
SHOWN = f.CodeShown(20)
STRICT = Policy(backoff=Backoff(first=1, most=30, jitter=0, attempts=5))


def refusal(session: Session, command: SessionCommand, after: float = 0) -> Refusal:
    with pytest.raises(Refusal) as refused:
        decide(session, IDENTITY, command, T0 + seconds(after), POLICY)
    return refused.value


# --- the way to ready -----------------------------------------------------------------


def test_a_new_session_goes_from_registered_to_ready() -> None:
    session = evolve(Session(), REGISTERED, T0)

    session, events = told(
        session, CLAIMING, f.Wanting(), f.Launching(), SHOWN, SHOWN, f.Linked(), SYNCED
    )

    assert kinds(events) == ("claimed queued starting pairing qr_refreshed authenticated ready")
    assert session.word == "ready"
    assert (session.phone, session.lid) == ("491701234567@c.us", "7@lid")
    assert session.linked_at == T0


def test_a_restored_link_needs_no_code() -> None:
    linked, _ = told(a_session(S.STOPPED), e.Start(), f.Launching())

    session, events = told(linked, SYNCED, at=T0 + seconds(5))

    assert kinds(events) == "authenticated ready"
    assert session.linked_at == T0


DEADLINES = """
starting       60    start_timeout
pairing        20    qr_stuck
authenticated  120   sync_timeout
offline        60    offline_timeout
"""


@pytest.mark.parametrize("row", DEADLINES.strip().splitlines(), ids=lambda row: row.split()[0])
def test_a_state_that_must_end_has_a_deadline_and_crashes_when_it_comes(row: str) -> None:
    state, allowed, reason = row.split()
    session = a_session(State(state))
    assert session.deadline == T0 + seconds(float(allowed))

    _, events = told(session, f.Due(), at=session.deadline)

    assert kinds(events) == "crashed backing_off"
    assert isinstance(events[0], e.Crashed)
    assert events[0].reason == reason


@pytest.mark.parametrize("state", [S.REGISTERED, S.QUEUED, S.READY, S.PARKED, S.STOPPED])
def test_a_deadline_that_was_overtaken_means_nothing(state: State) -> None:
    assert told(a_session(state), f.Due())[1] == []


def test_loading_is_told_in_quarters() -> None:
    told_percents = range(0, 101, 5)

    _, events = told(a_session(S.STARTING), *(f.Progress(n, "") for n in told_percents))

    assert [event.percent for event in events if isinstance(event, e.LoadingSeen)] == [
        0, 25, 50, 75, 100,
    ]  # fmt: skip


def test_a_ready_session_does_not_load() -> None:
    assert told(a_session(S.READY), f.Progress(100, ""))[1] == []


OLD_NEWS: list[tuple[State, Told]] = [
    (S.READY, SYNCED),
    (S.READY, f.Linked()),
    (S.AUTHENTICATED, f.Linked()),
    (S.OFFLINE, f.Dropped("TIMEOUT")),
    (S.STARTING, f.Dropped("OPENING")),
    (S.READY, SHOWN),
    (S.BACKING_OFF, CRASH),
    (S.STOPPED, f.Conflicted()),
    (S.STOPPED, f.Unlinked("UNPAIRED")),
    (S.PAIRING, f.Unlinked("UNPAIRED")),
    (S.LOGGED_OUT, f.Banned("TOS_BLOCK")),
    (S.STARTING, f.Launching()),
    (S.READY, f.Quiet()),
    (S.QUEUED, f.Wanting()),
]


@pytest.mark.parametrize(("state", "fact"), OLD_NEWS, ids=repr)
def test_old_news_leaves_no_event(state: State, fact: Told) -> None:
    assert told(a_session(state), fact)[1] == []


# --- failures: backoff and the breaker --------------------------------------------------


def test_five_attempts_back_off_and_the_sixth_failure_suspends() -> None:
    session, now, told_kinds, delays = a_session(S.READY), T0, list[str](), list[float]()

    for _ in range(6):
        session, events = told(session, CRASH, at=now, policy=STRICT)
        told_kinds.append(kinds(events))
        assert session.deadline is not None
        delays.append((session.deadline - now).total_seconds())
        now = session.deadline
        if session.state is S.BACKING_OFF:
            session, _ = told(session, f.Due(), f.Launching(), at=now, policy=STRICT)

    assert told_kinds == ["crashed backing_off"] * 5 + ["crashed suspended"]
    assert delays == [1, 2, 4, 8, 16, 60]
    assert session.breaker == "open"


def test_delays_are_exact_to_the_millisecond_and_stand_in_the_event() -> None:
    session, delays = a_session(S.READY), list[float]()

    for attempt in range(1, 6):
        session, [_, plan] = told(session, CRASH)
        assert isinstance(plan, e.BackingOff)
        assert (plan.attempt, plan.max_attempts) == (attempt, 5)
        assert plan.until == T0 + timedelta(milliseconds=round(plan.delay * 1000))
        assert session.deadline == plan.until
        delays.append(plan.delay)
        session, events = told(session, f.Due(), f.Launching(), at=plan.until)
        assert kinds(events) == "queued starting"
        assert isinstance(events[1], e.Starting)
        assert events[1].attempt == attempt + 1

    assert delays == [0.81, 1.842, 3.951, 7.935, 13.597]


def test_a_suspended_session_gets_one_probe_and_recovers_if_it_becomes_ready() -> None:
    session, events = told(a_session(S.SUSPENDED), f.Due(), f.Launching(), SYNCED)

    assert kinds(events) == "probing starting authenticated ready recovered"
    assert (session.failures, session.breaker) == (0, "closed")


def test_a_code_on_the_page_of_a_probe_closes_the_breaker_too() -> None:
    fresh = e.Queued(reason="reset", fresh=True)
    unlinked = evolve(evolve(a_session(S.READY), fresh, T0), e.Starting(attempt=1, deadline=T0), T0)
    failing = replace(unlinked, failures=6, probing=True)

    session, events = told(failing, SHOWN)

    assert kinds(events) == "pairing recovered"
    assert (session.failures, session.breaker) == (0, "closed")


def test_a_probe_that_fails_suspends_at_once() -> None:
    probing, _ = told(a_session(S.SUSPENDED), f.Due(), f.Launching())
    assert probing.breaker == "half_open"

    session, events = told(probing, CRASH)

    assert kinds(events) == "crashed suspended"
    assert (session.failures, session.breaker) == (7, "open")


def test_the_breaker_says_at_its_next_move_what_it_turned_away() -> None:
    suspended = replace(a_session(S.SUSPENDED), rejected=3)

    session, [probing, _] = told(suspended, f.Due(), f.Launching())
    session, events = told(session, SYNCED)

    assert isinstance(probing, e.Probing)
    assert probing.rejected == 3
    assert events[-1] == e.Recovered(failures=suspended.failures, rejected=3)
    assert session.rejected == 3
    assert session.breaker_since == T0


def test_the_breaker_of_a_page_is_told_by_its_events_and_ends_with_the_page() -> None:
    until = T0 + timedelta(seconds=20)
    paused = e.OperationsPaused(failures=3, rejected=1, until=until)

    session = evolve(a_session(S.READY), paused, T0)
    opened = session.page
    session = evolve(session, e.OperationsProbed(rejected=4), T0)
    probed = session.page
    session = evolve(session, e.Crashed(reason="page_gone", detail=""), T0)

    assert (opened.state, opened.failures, opened.rejected, opened.until) == ("open", 3, 1, until)
    assert (probed.state, probed.failures, probed.rejected) == ("half_open", 3, 4)
    assert session.page.state == "closed"
    assert session.page_since == T0


def test_a_quiet_period_forgets_failures() -> None:
    session, _ = told(a_session(S.BACKING_OFF), f.Due(), f.Launching(), SYNCED)
    assert session.failures == 1

    session, events = told(session, f.Quiet())

    assert kinds(events) == "recovered"
    assert session.failures == 0


def test_failures_count_on_until_the_quiet_period_has_passed() -> None:
    session = a_session(S.READY)

    for failures in (1, 2, 3):
        session, _ = told(session, CRASH, f.Due(), f.Launching(), SYNCED)
        assert session.failures == failures
        assert session.totals.reconnections == failures


def test_an_owner_that_died_between_crash_and_plan_plans_late() -> None:
    crashed = evolve(a_session(S.READY), e.Crashed(reason="page_crashed", detail=""), T0)
    assert crashed.deadline is None

    session, events = told(crashed, CLAIMING, f.Wanting(), f.Due(), at=T0 + seconds(100))

    assert kinds(events) == "claimed backing_off"
    assert session.deadline == T0 + seconds(100.81)


# --- QR codes ----------------------------------------------------------------------------


def test_each_code_is_one_attempt_and_the_seventh_puts_the_session_to_rest() -> None:
    session, events = told(a_session(S.STARTING), *[SHOWN] * 7)

    assert kinds(events) == "pairing" + " qr_refreshed" * 5 + " qr_exhausted rested"
    assert [getattr(event, "attempt", None) for event in events[:6]] == [1, 2, 3, 4, 5, 6]
    assert events[6:] == [e.QrExhausted(attempts=6), e.Rested(reason="qr_exhausted")]
    assert (session.word, session.reason, session.deadline) == (
        "disconnected",
        "qr_exhausted",
        None,
    )


def test_a_session_whose_node_is_gone_with_the_code_it_showed_rests() -> None:
    session, events = told(a_session(S.PAIRING), CLAIMING, f.Wanting(orphaned=True))

    assert kinds(events) == "claimed rested"
    assert session.state is S.RESTING
    assert session.reason == "owner_lost"


def test_a_rested_session_starts_counting_anew() -> None:
    session, events = told(a_session(S.RESTING), e.Start(), f.Launching(), SHOWN)

    assert kinds(events) == "queued starting pairing"
    assert session.qr_attempt == 1


def test_a_code_is_valid_for_as_long_as_the_page_says() -> None:
    session, _ = told(a_session(S.PAIRING), f.CodeShown(59.5), at=T0 + seconds(20))

    assert session.deadline == T0 + seconds(79.5)


def test_a_known_code_with_another_validity_is_no_further_attempt() -> None:
    known = f.CodeShown(59.5, known=True)

    session, events = told(a_session(S.PAIRING), known, SHOWN)

    assert kinds(events) == "qr_refreshed qr_refreshed"
    assert [getattr(event, "attempt", None) for event in events] == [1, 2]
    assert getattr(events[0], "expires", None) == T0 + seconds(59.5)
    assert session.qr_attempt == 2


# --- what WhatsApp says --------------------------------------------------------------------


PAGE = (S.STARTING, S.PAIRING, S.AUTHENTICATED, S.READY, S.OFFLINE)


@pytest.mark.parametrize("state", PAGE)
def test_a_conflict_parks_and_keeps_the_link(state: State) -> None:
    before = a_session(state)

    session, events = told(before, f.Conflicted())

    assert kinds(events) == "parked"
    assert (session.word, session.reason) == ("disconnected", "CONFLICT")
    assert session.linked == before.linked


def test_a_parked_session_comes_back_on_a_takeover() -> None:
    session, events = told(a_session(S.PARKED), e.Takeover(), f.Launching(), SYNCED)

    assert kinds(events) == "queued starting authenticated ready"
    assert session.phone == "491701234567@c.us"


@pytest.mark.parametrize("state", [S.AUTHENTICATED, S.READY, S.OFFLINE])
def test_a_phone_that_unlinks_logs_out_and_nothing_brings_it_back(state: State) -> None:
    session, events = told(a_session(state), f.Unlinked("UNPAIRED"))
    assert kinds(events) == "logged_out"
    assert (session.linked, session.phone, session.wanted) == (False, None, False)

    _, events = told(session, CLAIMING, f.Wanting(), f.Launching(), f.Due(), f.Quiet())

    assert kinds(events) == "claimed"


def test_a_page_that_shows_a_code_to_a_linked_session_was_unlinked() -> None:
    starting, _ = told(a_session(S.STOPPED), e.Start(), f.Launching())

    session, events = told(starting, SHOWN)

    assert events == [e.LoggedOut(reason="unlinked", confirmed=True)]
    assert session.word == "logged_out"


def test_after_a_log_out_failures_of_the_old_link_are_forgotten() -> None:
    session, _ = told(a_session(S.SUSPENDED), e.Logout())

    _, events = told(session, e.Start(), f.Launching(), CRASH)

    assert kinds(events) == "queued starting crashed backing_off"


@pytest.mark.parametrize("state", PAGE)
@pytest.mark.parametrize("word", ["TOS_BLOCK", "SMB_TOS_BLOCK"])
def test_a_block_is_the_end(state: State, word: str) -> None:
    session, events = told(a_session(state), f.Banned(word))
    assert kinds(events) == "blocked"
    assert (session.word, session.reason) == ("auth_failed", word)

    _, events = told(session, CLAIMING, f.Wanting(), f.Launching(), f.Due(), SYNCED)

    assert kinds(events) == "claimed"


def test_whatsapp_away_is_offline_and_comes_back_by_itself() -> None:
    session, events = told(a_session(S.READY), f.Dropped("TIMEOUT"), SYNCED)

    assert kinds(events) == "offline ready"
    assert session.totals.reconnections == 1
    assert (session.reason, session.deadline) == (None, None)


# --- commands --------------------------------------------------------------------------------

COMMANDS: dict[str, SessionCommand] = {
    "start": e.Start(),
    "restart": e.Restart(),
    "stop": e.Stop(),
    "logout": e.Logout(),
    "delete": e.Delete(),
    "reset": e.Reset(),
    "fresh": e.Reset(fresh=True),
    "takeover": e.Takeover(),
    "refresh": e.RefreshQr(),
}

# "-": nothing to do; a number: refused with that status.
OBEYED = """
               start   restart stop    logout     delete  reset            fresh            takeover refresh
nothing        404     404     404     404        404     404              404              404      404
registered     queued  queued  stopped logged_out removed queued           queued           409      -
queued         -       -       stopped logged_out removed -                queued           409      -
starting       -       queued  stopped logged_out removed queued           queued           409      -
pairing        -       queued  stopped logged_out removed queued           queued           409      -
authenticated  -       queued  stopped logged_out removed queued           queued           409      409
ready          -       queued  stopped logged_out removed queued           queued           409      409
offline        -       queued  stopped logged_out removed queued           queued           409      409
backing_off    queued  queued  stopped logged_out removed recovered+queued recovered+queued 409      -
suspended      503     503     stopped logged_out removed recovered+queued recovered+queued 409      503
parked         queued  queued  stopped logged_out removed queued           queued           queued   queued
resting        queued  queued  stopped logged_out removed queued           queued           409      queued
blocked        409     409     stopped logged_out removed queued           queued           409      409
stopped        queued  queued  -       logged_out removed queued           queued           409      queued
logged_out     queued  queued  -       -          removed queued           queued           409      queued
removed        404     404     404     404        404     404              404              404      404
"""  # noqa: E501 - a table


def _obeyed() -> list[tuple[str, str, str]]:
    header, *rows = [line.split() for line in OBEYED.strip().splitlines()]
    return [
        (state, command, answer)
        for state, *answers in rows
        for command, answer in zip(header, answers, strict=True)
    ]


@pytest.mark.parametrize(("state", "command", "answer"), _obeyed())
def test_a_command_is_obeyed_fulfilled_or_refused(state: str, command: str, answer: str) -> None:
    session = a_session(State(state))

    if answer.isdigit():
        assert refusal(session, COMMANDS[command]).status == int(answer)
    else:
        _, events = told(session, COMMANDS[command])
        assert kinds(events).replace(" ", "+") == answer.removeprefix("-")


REASONS = [
    (S.SUSPENDED, e.Start(), "suspended", 503),
    (S.SUSPENDED, e.Restart(), "suspended", 503),
    (S.BLOCKED, e.Start(), "blocked", 409),
    (S.READY, e.Takeover(), "not_parked", 409),
    (S.READY, e.RefreshQr(), "linked", 409),
    (S.REMOVED, e.Stop(), "unknown_session", 404),
]


@pytest.mark.parametrize(("state", "command", "reason", "status"), REASONS, ids=str)
def test_a_refusal_says_why(
    state: State, command: SessionCommand, reason: str, status: int
) -> None:
    no = refusal(a_session(state), command)

    assert (no.reason, no.status) == (reason, status)
    assert no.detail


@pytest.mark.parametrize(("after", "wait"), [(0, 60), (12.5, 47.5), (60, 0), (90, 0)])
def test_an_open_breaker_says_when_to_come_again(after: float, wait: float) -> None:
    assert refusal(a_session(S.SUSPENDED), e.Start(), after).retry_after == wait


def test_a_reset_closes_the_breaker_by_hand() -> None:
    session, events = told(a_session(S.SUSPENDED), e.Reset(), f.Launching(), CRASH)

    assert kinds(events) == "recovered queued starting crashed backing_off"
    assert session.failures == 1


@pytest.mark.parametrize("state", [S.QUEUED, S.READY, S.PARKED, S.STOPPED, S.SUSPENDED])
def test_a_fresh_reset_drops_the_link_and_a_plain_one_keeps_it(state: State) -> None:
    linked = a_session(state)
    if state is S.QUEUED:
        linked, _ = told(a_session(S.READY), e.Restart())
    assert linked.linked

    fresh, _ = told(linked, e.Reset(fresh=True))
    plain, _ = told(linked, e.Reset())

    assert (fresh.linked, fresh.phone, fresh.linked_at) == (False, None, None)
    assert plain.linked


def test_a_stop_carries_the_totals_and_forgets_failures() -> None:
    counted = replace(a_session(S.BACKING_OFF), totals=Totals(received=7, message_version=9))

    session, events = told(counted, e.Stop())

    assert events == [e.Stopped(reason="command", totals=counted.totals)]
    assert (session.failures, session.linked) == (0, True)


@pytest.mark.parametrize(("state", "confirmed"), [(S.READY, False), (S.PAIRING, True)])
def test_a_log_out_by_command_is_confirmed_only_where_there_is_no_link(
    state: State, confirmed: bool
) -> None:
    _, events = told(a_session(state), e.Logout())

    assert events == [e.LoggedOut(reason="command", confirmed=confirmed)]


def test_a_removed_session_can_be_created_again_and_its_versions_go_on() -> None:
    removed = a_session(S.REMOVED)

    again = evolve(removed, REGISTERED, T0)

    assert again == Session(state=S.REGISTERED, version=removed.version + 1, wanted=True, since=T0)


# --- a new owner -------------------------------------------------------------------------------

CLAIMED = """
registered     claimed queued       registered then queued
queued         claimed queued       the line at the old owner is gone
starting       claimed queued       its browser is gone
pairing        claimed queued       its browser is gone
authenticated  claimed queued       its browser is gone
ready          claimed queued       its browser is gone
offline        claimed queued       its browser is gone
backing_off    claimed              and the deadline stays
suspended      claimed              and the deadline stays
parked         claimed              until a takeover
resting        claimed              until a start
blocked        claimed              for good
stopped        claimed              until a start
logged_out     claimed              until a start
"""


@pytest.mark.parametrize("row", CLAIMED.strip().splitlines(), ids=lambda row: row.split()[0])
def test_a_new_owner_takes_over(row: str) -> None:
    state = State(row.split(maxsplit=1)[0])
    before = a_session(state)
    follows = "claimed queued" if "claimed queued" in row else "claimed"

    after, events = told(before, CLAIMING, f.Wanting(), at=T0 + seconds(5))

    assert kinds(events) == follows
    if follows == "claimed":
        assert after == replace(before, version=before.version + 1)
    else:
        assert (after.state, after.deadline) == (S.QUEUED, None)
        assert (after.linked, after.phone) == (before.linked, before.phone)


@pytest.mark.parametrize(("state", "then"), [(S.BACKING_OFF, "queued"), (S.SUSPENDED, "probing")])
def test_a_deadline_that_passed_without_an_owner_is_due_at_once(state: State, then: str) -> None:
    claimed, _ = told(a_session(state), CLAIMING, f.Wanting(), at=T0 + seconds(1000))

    _, events = told(claimed, f.Due(), at=T0 + seconds(1000))

    assert kinds(events) == then


def test_a_probe_whose_owner_died_is_still_a_probe() -> None:
    probing, _ = told(a_session(S.SUSPENDED), f.Due(), f.Launching())

    _, events = told(probing, CLAIMING, f.Wanting(), f.Launching(), CRASH)

    assert kinds(events) == "claimed queued starting crashed suspended"


def test_a_session_registered_without_a_start_waits_for_one() -> None:
    waiting = evolve(Session(), REGISTERED.model_copy(update={"start": False}), T0)

    session, events = told(waiting, CLAIMING, f.Wanting(), f.Launching())
    assert kinds(events) == "claimed"

    _, events = told(session, e.Start(), f.Launching())
    assert kinds(events) == "queued starting"


def test_a_new_owner_brings_the_totals() -> None:
    totals = Totals(received=3, sent=2, failed=1, reconnections=4, message_version=9)

    session, _ = told(a_session(S.READY), f.Claiming(life="next", totals=totals))

    assert session.totals == totals


# --- the numbers ---------------------------------------------------------------------------------


def test_the_policy_is_what_the_configuration_says() -> None:
    chosen = Settings(
        start_timeout=1,
        sync_timeout=2,
        offline_timeout=3,
        suspend_time=4,
        qr_max=5,
        backoff_first=6,
        backoff_max=7,
        backoff_jitter=0.8,
        backoff_attempts=9,
    )  # pyright: ignore[reportCallIssue]

    assert Policy.of(chosen) == Policy(Backoff(6, 7, 0.8, 9), 1, 2, 3, 4, 5)


def test_the_words_outside_are_those_of_the_contract() -> None:
    words = """initializing waiting_qr authenticated ready disconnected reconnecting
        suspended auth_failed logged_out stopped not_found"""

    assert set(WORDS.values()) == set(words.split())
