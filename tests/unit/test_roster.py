"""Who is registered: the limits hold whatever order things come in."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.roster import Roster
from events.subjects import SessionId


def roster(*sessions: SessionId, most: int = 4, per_user: int = 2) -> Roster:
    folded = Roster(max_sessions=most, max_per_user=per_user)
    for position, session in enumerate(sessions, 1):
        folded.apply(session, "registered", position)
    return folded


def reason(folded: Roster, session: SessionId) -> str | None:
    refused = folded.refusal(session)
    return refused.reason if refused else None


A1, A2, A3 = (SessionId("ada", f"b{n}") for n in (1, 2, 3))
B1, B2, B3 = (SessionId("bob", f"b{n}") for n in (1, 2, 3))
CLASH, CLASHING = SessionId("a-b", "c"), SessionId("a", "b-c")

REFUSALS = [
    ("empty", (), A1, None),
    ("room for one more", (A1,), A2, None),
    ("the user is full", (A1, A2), A3, "user_limit"),
    ("another user is not", (A1, A2), B1, None),
    ("all is full", (A1, A2, B1, B2), SessionId("eve", "b"), "pool_full"),
    ("full for user and all", (A1, A2, B1, B2), B3, "user_limit"),
    ("the joined id is taken", (CLASH,), CLASHING, "id_taken"),
    ("taken before full", (CLASH, A1, A2, B1), CLASHING, "id_taken"),
]


@pytest.mark.parametrize(("word", "held", "new", "expected"), REFUSALS, ids=str)
def test_a_new_session_is_refused_for_a_named_reason(
    word: str, held: tuple[SessionId, ...], new: SessionId, expected: str | None
) -> None:
    assert reason(roster(*held), new) == expected, word


def test_a_refusal_says_whom_and_why() -> None:
    refused = roster(A1, A2).refusal(A3)

    assert refused is not None
    assert (refused.user, refused.bot) == ("ada", "b3")
    assert refused.detail == "the user has 2 sessions, which is the limit"


def test_a_removal_makes_room_and_frees_the_joined_id() -> None:
    folded = roster(A1, A2, CLASH)

    folded.apply(A1, "removed", 4)
    folded.apply(CLASH, "removed", 5)

    assert reason(folded, A3) is None
    assert reason(folded, CLASHING) is None
    assert folded.sessions == {A2: 2}


def test_the_fence_is_the_last_registration_not_the_last_removal() -> None:
    folded = roster(A1, A2)

    folded.apply(A1, "removed", 9)

    assert (folded.tail, folded.read_to) == (2, 9)


def test_an_old_removal_does_not_remove_what_was_registered_since() -> None:
    folded = roster(A1)
    folded.apply(A1, "removed", 2)
    folded.apply(A1, "registered", 3)

    folded.apply(A1, "removed", 2)

    assert folded.sessions == {A1: 3}


def test_the_removal_of_a_stranger_is_no_news() -> None:
    folded = roster(A1)

    folded.apply(B1, "removed", 2)

    assert folded.sessions == {A1: 1}


def test_folding_the_same_events_twice_changes_nothing() -> None:
    once, twice = roster(A1, B1), roster(A1, B1)

    twice.apply(A1, "registered", 1)
    twice.apply(B1, "registered", 2)

    assert twice == once


# Short ids over a dash, so that many pairs join to the same id.
IDS = st.text(st.sampled_from("a-"), min_size=1, max_size=3)
STEPS = st.lists(st.tuples(st.sampled_from(("create", "remove")), IDS, IDS), max_size=60)


@given(STEPS, st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_limits_and_the_joined_ids_hold_in_any_order(
    steps: list[tuple[str, str, str]], most: int, per_user: int
) -> None:
    folded = roster(most=most, per_user=per_user)

    for position, (what, user, bot) in enumerate(steps, 1):
        session = SessionId(user, bot)
        if what == "remove" and session in folded.sessions:
            folded.apply(session, "removed", position)
        elif what == "create" and session not in folded.sessions and not folded.refusal(session):
            folded.apply(session, "registered", position)

        held = folded.sessions
        assert len(held) <= most
        assert max(Counter(one.user for one in held).values(), default=0) <= per_user
        assert {one.joined: one for one in held} == folded.joined
        assert len(folded.joined) == len(held)
