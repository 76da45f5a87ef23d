"""What counts as flat."""

from __future__ import annotations

import pytest

from tests.faults.trend import HOUR, trend

TEN_MINUTES = [float(at) for at in range(0, 600, 10)]
AN_HOUR = [float(at) for at in range(0, 3_600, 10)]


@pytest.mark.parametrize(
    ("what", "rise", "flat"),
    [
        ("stands still", 0, True),
        ("falls", -50, True),
        ("rises within 5 % of its mean", 4.5, True),
        ("leaks", 20, False),
    ],
)
def test_a_line_is_flat_unless_it_rises(what: str, rise: float, flat: bool) -> None:
    points = [(at, 100 + rise * at / HOUR) for at in TEN_MINUTES]

    judged = trend(points, warm_up=120, least=2)

    assert judged.flat is flat, what
    assert judged.slope == pytest.approx(rise)


def test_what_grows_in_the_warm_up_is_not_held_against_it() -> None:
    points = [(at, min(at, 120)) for at in TEN_MINUTES]

    judged = trend(points, warm_up=120, least=2)

    assert (judged.start, judged.warm, judged.end) == (0, 120, 120)
    assert judged.flat


def test_a_small_thing_may_rise_by_what_is_told() -> None:
    points = [(at, 1 + 6 * at / HOUR) for at in TEN_MINUTES]

    assert trend(points, warm_up=0, least=10).flat
    assert not trend(points, warm_up=0, least=5).flat


def test_a_saw_that_comes_back_is_flat() -> None:
    points = [(at, 100 + 20 * (at / 10 % 6)) for at in AN_HOUR]

    assert trend(points, warm_up=600, least=0).flat


def test_too_short_a_run_says_so() -> None:
    with pytest.raises(ValueError, match="run for longer"):
        trend([(0.0, 1.0), (10.0, 1.0), (20.0, 1.0)], warm_up=5, least=1)
