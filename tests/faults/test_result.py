"""Which sends a strike met, and how long they waited."""

from __future__ import annotations

from tests.faults.load import Wait
from tests.faults.result import meanwhile, quantiles
from tests.faults.strikes import Struck

STRIKE = Struck("leader killed", [], began=100.0, over=110.0)


def test_sends_under_way_while_there_was_a_strike_are_told_apart() -> None:
    before, into, within, out_of, after = (
        Wait(90, 5),
        Wait(99, 2),
        Wait(101, 1),
        Wait(109, 5),
        Wait(111, 1),
    )

    found = meanwhile([before, into, within, out_of, after], [STRIKE])

    assert found == [into, within, out_of]


def test_a_send_that_outlasts_a_strike_was_met_by_it() -> None:
    assert meanwhile([Wait(90, 30)], [STRIKE]) == [Wait(90, 30)]


def test_quantiles_are_waits_that_there_were() -> None:
    told = quantiles([Wait(0, took / 100) for took in range(101)])

    assert (told.count, told.p50, told.p99, told.longest) == (101, 0.5, 0.99, 1.0)


def test_of_no_waits_there_is_nothing_to_tell() -> None:
    assert quantiles([]).count == 0
