"""The story of a session: recorded incidents, and the same fold as the read models'."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.session import State
from events.subjects import SessionId
from projections.facts import session_fact
from projections.rows import Row, fold
from projections.timeline import Timeline
from tests.golden.record_incidents import FOLDER, INCIDENTS, load, record, told

ANN = SessionId("ann", "bot")


@pytest.mark.parametrize("incident", INCIDENTS)
def test_each_incident_is_told_as_it_was(incident: str) -> None:
    assert told(load(incident)) == (FOLDER / f"{incident}.txt").read_text()


@pytest.mark.parametrize("incident", ["browser_killed", "unscanned"])
def test_an_incident_happens_today_as_it_was_recorded(incident: str) -> None:
    def kinds(subjects: list[str]) -> list[str]:
        return [subject.rsplit(".", 1)[1] for subject in subjects]

    today, then = record(incident), load(incident)

    assert kinds([s.subject for s in today.events]) == kinds([s.subject for s in then.events])


@pytest.mark.parametrize("incident", INCIDENTS)
def test_at_every_event_it_is_what_the_read_models_hold(incident: str) -> None:
    events = load(incident).events
    facts = [session_fact(stored) for stored in events]

    for number, fact in enumerate(facts, 1):
        timeline = Timeline(limit=10, until=fact.at)
        for stored in events:
            timeline.take(stored)
        # Events of one instant are one moment: all of them have happened.
        last = max(n for n, other in enumerate(facts, 1) if other.at <= fact.at)

        assert timeline.row == fold(Row(), facts[:last]).row
        assert timeline.row.version >= number


def test_before_it_was_made_there_is_no_session() -> None:
    events = load("unlinked").events
    moment = session_fact(events[0]).at - timedelta(seconds=1)
    timeline = Timeline(limit=10, until=moment)

    assert not timeline.take(events[0])
    assert timeline.why(moment) == ["There is no such session."]
    assert not timeline.happenings


def test_it_is_paged_backwards_without_a_hole() -> None:
    events = load("back_again").events
    told: list[int] = []
    before: int | None = None
    while True:
        timeline = Timeline(limit=7, before=before)
        for stored in events:
            timeline.take(stored)
        told = [each.version for each in timeline.happenings] + told
        before = timeline.happenings[0].version
        if not timeline.more:
            break

    assert told == list(range(1, len(events) + 1))
    assert timeline.row.session.state is State.READY


def test_what_an_event_came_of_is_named() -> None:
    timeline = Timeline(limit=100)
    for stored in load("browser_killed").events:
        timeline.take(stored)
    by_id = {each.id: each for each in timeline.happenings}
    plan = timeline.happenings[-1]

    [crash] = (by_id[cause] for cause in plan.causes)

    assert (plan.kind, crash.kind) == ("backing_off", "crashed")
