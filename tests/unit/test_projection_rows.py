"""Folding runs of session events into rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events import session_events as e
from events.session import Session, State
from events.session_events import Totals
from events.subjects import SessionId
from projections import keys, rows
from projections.facts import Fact
from projections.rows import Row, fold

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ADA = SessionId("ada", "shop")


def fact(event: Any, version: int, position: int | None = None, node: str | None = "n") -> Any:
    at = T0 + timedelta(minutes=version)
    return Fact(ADA, position or version * 10, version, at, at, node, event)


def facts(*events: Any) -> list[Any]:
    return [fact(event, version) for version, event in enumerate(events, 1)]


LIFE = facts(
    e.Registered(user="ada", bot="shop"),
    e.Claimed(life="1"),
    e.Queued(reason="create"),
    e.Starting(attempt=1, deadline=T0),
    e.Pairing(attempt=1, expires=T0),
)


def test_a_run_from_the_start_is_applied() -> None:
    change = fold(Row(), LIFE)

    assert change.answers == ("applied",) * 5
    assert change.row.session.state is State.PAIRING
    assert (change.row.version, change.row.position, change.row.node) == (5, 50, "n")
    assert (change.row.created, change.row.updated) == (LIFE[0].at, LIFE[4].at)


def test_what_the_row_has_is_seen_and_what_comes_too_early_is_a_gap() -> None:
    base = fold(Row(), LIFE[:3]).row

    change = fold(base, [LIFE[1], LIFE[2], LIFE[4]])

    assert change.answers == ("seen", "seen", "gap")
    assert change.row == base
    assert not change.writes
    assert change.gap


def test_after_a_gap_nothing_is_applied() -> None:
    change = fold(Row(), [LIFE[0], LIFE[2], LIFE[3]])

    assert change.answers == ("applied", "gap", "gap")
    assert change.row.version == 1


def test_an_event_that_cannot_follow_cuts_the_run_short() -> None:
    change = fold(Row(), [*LIFE[:2], fact(e.Ready(phone="1"), 3), fact(e.Stopped(reason="x"), 4)])

    assert change.answers == ("applied", "applied")
    assert change.stuck is not None
    assert change.stuck.position == 30
    assert "ready cannot follow registered" in change.stuck.reason


@pytest.mark.parametrize(
    ("after", "void"),
    [
        (e.QrRefreshed(attempt=2, expires=T0), False),
        (e.Authenticated(deadline=T0), True),
        (e.Rested(reason="unscanned"), True),
        (e.Stopped(reason="command"), True),
        (e.Removed(), True),
    ],
    ids=["another code", "scanned", "nobody scanned", "stopped", "removed"],
)
def test_codes_are_void_when_pairing_ends(after: Any, void: bool) -> None:
    change = fold(fold(Row(), LIFE).row, [fact(after, 6)])

    assert (change.left_pairing is not None) is void


def test_codes_of_a_start_that_has_not_shown_one_are_left_alone() -> None:
    assert fold(Row(), LIFE).left_pairing is None


def test_a_removed_session_goes_on_counting() -> None:
    gone = fold(Row(), [*LIFE, fact(e.Removed(), 6)])
    tombstone = rows.load("6", "removed", "60", None)

    again = fold(tombstone, [fact(e.Registered(user="ada", bot="shop"), 7)])

    assert gone.born == 60
    assert gone.row.session.state is State.REMOVED
    assert tombstone.session == Session(state=State.REMOVED, version=6)
    assert (again.row.version, again.born) == (7, 70)
    assert again.row.created == T0 + timedelta(minutes=7)


def test_the_latest_statement_of_totals_counts_and_ends_with_the_life() -> None:
    early, late = Totals(received=5, message_version=5), Totals(received=9, message_version=9)
    base = fold(Row(), LIFE).row

    change = fold(
        base,
        [
            fact(e.ProfileSaved(generation=1, bytes=1, totals=late), 6),
            fact(e.Claimed(life="2", totals=early), 7),
        ],
    )
    ended = fold(change.row, [fact(e.Removed(), 8)])

    assert change.totals == late
    assert ended.totals is None


def test_a_row_survives_being_written_and_read() -> None:
    row = fold(Row(), LIFE).row

    assert rows.load("5", "pairing", "50", rows.dump(row)) == row
    assert rows.load(None, None, None, None) == Row()


def test_keys_of_a_session_share_one_slot_and_those_of_others_do_not() -> None:
    hostile = SessionId("a-b", "c")

    held = {
        keys.row(3, ADA),
        keys.history(3, ADA),
        keys.entry(3, ADA, "o:{x}.y"),
        keys.qr(ADA),
    }

    assert {key[key.index("{") + 1 : key.index("}")] for key in held} == {"ada.shop"}
    assert keys.row(3, ADA) != keys.row(3, hostile)
    assert keys.session_of(keys.index_member(hostile)) == hostile
    assert keys.index_member(SessionId("a", "b-c")) != keys.index_member(hostile)
