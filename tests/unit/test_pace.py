"""Pacing: never faster than the quota, and nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.pace import Pace


def test_a_burst_waits_for_the_second_to_pass() -> None:
    pace = Pace(per_minute=60, per_second=3)

    waits = [pace.take("ann", 100.0) for _ in range(4)]

    assert waits == [0.0, 0.0, 0.0, 1.0]
    assert pace.take("ann", 101.0) == 0.0


def test_the_minute_counts_as_well() -> None:
    pace = Pace(per_minute=2, per_second=0)
    assert [pace.take("ann", 0.0), pace.take("ann", 10.0)] == [0.0, 0.0]

    assert pace.take("ann", 20.0) == 40.0


def test_one_user_waits_for_no_other() -> None:
    pace = Pace(per_minute=0, per_second=1)
    pace.take("ann", 0.0)

    assert pace.take("bob", 0.0) == 0.0


def test_no_quota_is_no_limit() -> None:
    pace = Pace(per_minute=0, per_second=0)

    assert all(pace.take("ann", 0.0) == 0.0 for _ in range(1000))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=120))
def test_no_window_ever_holds_more_than_its_quota(gaps: list[float]) -> None:
    pace, now, sent = Pace(per_minute=20, per_second=4), 0.0, []

    for gap in gaps:
        now += gap
        wait = pace.take("ann", now)
        if wait:
            now += wait + 1e-6
            assert pace.take("ann", now) == 0.0
        sent.append(now)

    for at in sent:
        assert sum(at - 1.0 < other <= at for other in sent) <= 4
        assert sum(at - 60.0 < other <= at for other in sent) <= 20
