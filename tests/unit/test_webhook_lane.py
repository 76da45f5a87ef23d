"""What waits for an endpoint: order, room, and when to give up. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from events.backoff import Backoff
from events.subjects import SessionId
from gateway.webhooks.lane import Lane, Patience
from gateway.webhooks.progress import Progress, Stopped

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
PATIENCE = Patience(Backoff(1, 3_600, 0), DAY, waiting=3)


def lane(*positions: int) -> Lane:
    made = Lane(SessionId("ann", "shop"))
    for position in positions:
        made.add(position)
    return made


def held(one: Lane) -> list[int]:
    return list(one.waiting)


def test_events_wait_in_order_until_they_are_delivered() -> None:
    one = lane(1, 2, 3)

    one.taken()
    one.add(4)

    assert held(one) == [2, 3, 4]
    assert one.newest == 4


def test_a_lane_that_is_behind_leaves_to_the_log_what_comes() -> None:
    one = lane(1)
    one.behind = True

    one.add(2)

    assert held(one) == [1]
    assert one.newest == 2


def test_delays_double_and_end_with_a_success() -> None:
    failing = lane(1)

    delays: list[float] = []
    for _ in range(14):
        failing.failed("HTTP 500", 0, NOON, PATIENCE)
        assert failing.due is not None
        delays.append((failing.due - NOON).total_seconds())
    failing.taken()

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600]
    assert (failing.failing, failing.due, failing.since, failing.error) == (False,) + (None,) * 3


def test_jitter_spreads_sessions_that_fail_together() -> None:
    spread = Patience(Backoff(10, 3_600, 0.2), DAY, 3)
    dues = set[datetime | None]()
    for bot in range(20):
        one = Lane(SessionId("ann", str(bot)))
        one.failed("HTTP 500", 0, NOON, spread)
        dues.add(one.due)

    assert len(dues) == 20
    assert all(due and timedelta(seconds=8) <= due - NOON <= timedelta(seconds=10) for due in dues)


def test_an_endpoint_may_ask_for_longer_and_not_for_ever() -> None:
    asked, too_much = lane(1), lane(1)

    asked.failed("HTTP 429", 60, NOON, PATIENCE)
    too_much.failed("HTTP 429", 10**9, NOON, PATIENCE)

    assert asked.due == NOON + timedelta(seconds=60)
    assert too_much.due == NOON + timedelta(seconds=3_600)


def test_one_that_is_buried_leaves_the_next_its_own_tries_and_the_same_delay() -> None:
    failing = lane(1, 2)
    failing.failed("HTTP 500", 0, NOON, PATIENCE)
    due = failing.due

    failing.passed()

    assert held(failing) == [2]
    assert (failing.attempts, failing.failures, failing.due) == (0, 1, due)


def test_an_event_is_given_up_when_it_and_the_failure_are_a_day_old() -> None:
    failing = lane(1)
    failing.failed("HTTP 500", 0, NOON, PATIENCE)

    assert not failing.is_hopeless(NOON, NOON + DAY - timedelta(seconds=1), PATIENCE)
    assert failing.is_hopeless(NOON, NOON + DAY, PATIENCE)


def test_what_grew_old_while_nobody_tried_still_has_its_day() -> None:
    failing = lane(1)
    failing.failed("HTTP 500", 0, NOON, PATIENCE)

    assert not failing.is_hopeless(NOON - 3 * DAY, NOON, PATIENCE)


def test_what_came_late_into_a_long_failure_has_its_day_as_well() -> None:
    failing = lane(1)
    failing.failed("HTTP 500", 0, NOON, PATIENCE)

    assert not failing.is_hopeless(NOON + 2 * DAY, NOON + 2 * DAY, PATIENCE)


def test_a_record_brings_back_the_first_event_and_how_its_tries_went() -> None:
    failing = lane(7, 9)
    failing.failed("HTTP 500", 0, NOON, PATIENCE)
    record = Progress(position=12, lanes={"ann.shop": Stopped.of(failing)})

    (again,) = Progress.model_validate_json(record.encoded()).opened()

    assert held(again) == [7]
    assert (again.behind, again.newest) == (True, 12)
    assert (again.failures, again.attempts, again.due) == (1, 1, failing.due)
