"""The circuit breaker, state by state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from events.breaker import Breaker, BreakerState, Try

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = Try(0)
"""What is let through before it ever opened."""


def opened(threshold: int = 3, reset: float = 60) -> Breaker:
    breaker = Breaker(threshold, reset)
    for _ in range(threshold):
        breaker = breaker.failed(FIRST, NOW)
    return breaker


def probed() -> tuple[Try, Breaker]:
    probe, breaker = opened().admit(later(60))
    assert probe is not None
    return probe, breaker


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_fewer_failures_than_the_threshold_keep_it_closed() -> None:
    breaker = Breaker(3).failed(FIRST, NOW).failed(FIRST, NOW)

    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit(NOW) == (FIRST, breaker)


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(3).failed(FIRST, NOW).failed(FIRST, NOW).succeeded(FIRST).failed(FIRST, NOW)

    assert breaker.state is BreakerState.CLOSED
    assert breaker.failures == 1


def test_the_threshold_opens_it_and_what_comes_is_rejected_and_counted() -> None:
    breaker = opened()

    admitted, after = breaker.admit(later(59))

    assert breaker.state is BreakerState.OPEN
    assert not admitted
    assert after.rejected == 1
    assert after.retry_in(later(59)) == 1


def test_tries_begun_before_it_opened_do_not_keep_it_open_for_longer() -> None:
    assert opened().failed(FIRST, later(20)) == opened()


def test_a_late_success_of_a_try_begun_before_it_opened_does_not_close_it() -> None:
    assert opened().succeeded(FIRST) == opened()


def test_half_open_lets_through_exactly_one_probe() -> None:
    first, breaker = opened().admit(later(60))
    second, breaker = breaker.admit(later(61))

    assert (first, second) == (Try(1), None)
    assert breaker.state is BreakerState.HALF_OPEN


def test_half_open_counts_the_outcome_of_the_probe_alone() -> None:
    _, breaker = probed()

    assert breaker.failed(FIRST, later(61)) == breaker
    assert breaker.succeeded(FIRST) == breaker
    assert breaker.abandoned(FIRST) == breaker


def test_failures_of_tries_begun_before_it_opened_do_not_open_it_again_once_it_is_closed() -> None:
    probe, breaker = probed()
    closed = breaker.succeeded(probe)

    stormed = closed
    for _ in range(2 * closed.threshold):
        stormed = stormed.failed(FIRST, later(61))

    assert stormed == closed


def test_a_probe_that_succeeds_closes_it() -> None:
    probe, breaker = probed()

    assert breaker.succeeded(probe).state is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_the_whole_time_again() -> None:
    probe, breaker = probed()
    breaker = breaker.failed(probe, later(61))

    assert breaker.state is BreakerState.OPEN
    assert breaker.until == later(121)


def test_a_probe_that_tells_nothing_leaves_room_for_another() -> None:
    probe, breaker = probed()
    again, _ = breaker.abandoned(probe).admit(later(61))

    assert again is not None


STEPS = st.tuples(
    st.sampled_from(["admit", "failed", "succeeded", "abandoned", "wait"]), st.integers(0, 9)
)


@given(st.lists(STEPS, max_size=60))
def test_at_most_one_probe_is_under_way(steps: list[tuple[str, int]]) -> None:
    breaker, now = Breaker(2, 10), NOW
    under_way: list[tuple[Try, bool]] = []

    for step, which in steps:
        if step == "admit":
            before = breaker.state
            admitted, breaker = breaker.admit(now)
            if admitted is not None:
                under_way.append((admitted, before is not BreakerState.CLOSED))
        elif step == "wait":
            now += timedelta(seconds=6)
        elif under_way:
            tried, _ = under_way.pop(which % len(under_way))
            match step:
                case "failed":
                    breaker = breaker.failed(tried, now)
                case "succeeded":
                    breaker = breaker.succeeded(tried)
                case _:
                    breaker = breaker.abandoned(tried)
        assert sum(is_probe for _, is_probe in under_way) <= 1
