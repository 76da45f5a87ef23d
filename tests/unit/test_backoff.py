"""Delays between attempts: doubling, bounded, spread, and the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.backoff import Backoff


def test_without_jitter_it_doubles_up_to_the_most() -> None:
    backoff = Backoff(first=1, most=30, jitter=0)

    delays = [backoff.delay(attempt, "ada.shop") for attempt in range(1, 8)]

    assert delays == [1, 2, 4, 8, 16, 30, 30]


def test_a_session_waits_the_same_to_the_millisecond_every_time() -> None:
    delays = [Backoff().delay(attempt, "ada.shop") for attempt in range(1, 6)]

    assert delays == [0.81, 1.842, 3.951, 7.935, 13.597]


def test_sessions_that_fail_together_spread_out() -> None:
    backoff = Backoff()

    delays = {backoff.delay(5, f"user{n}.bot") for n in range(100)}

    assert len(delays) > 90
    assert max(delays) - min(delays) > 2.5


@pytest.mark.parametrize("attempt", [33, 1_000, 10**9])
def test_an_attempt_beyond_all_counting_waits_the_most(attempt: int) -> None:
    assert Backoff(jitter=0).delay(attempt, "ada.shop") == 30


@given(
    first=st.floats(0.001, 100),
    most=st.floats(0.001, 1_000),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 200),
    seed=st.text(max_size=20),
)
@settings(deadline=None, derandomize=True)
def test_a_delay_stays_between_the_jittered_and_the_full_one(
    first: float, most: float, jitter: float, attempt: int, seed: str
) -> None:
    full = min(most, first * 2.0 ** min(attempt - 1, 32))

    delay = Backoff(first, most, jitter).delay(attempt, seed)

    assert full * (1 - jitter) - 0.001 <= delay <= full + 0.001
