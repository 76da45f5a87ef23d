"""The circuit breaker, state by state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from events.breaker import Breaker, BreakerState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def opened(threshold: int = 3, reset: float = 60) -> Breaker:
    breaker = Breaker(threshold, reset)
    for _ in range(threshold):
        breaker = breaker.failed(NOW)
    return breaker


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_fewer_failures_than_the_threshold_keep_it_closed() -> None:
    breaker = Breaker(3).failed(NOW).failed(NOW)

    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit(NOW) == (True, breaker)


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(3).failed(NOW).failed(NOW).succeeded().failed(NOW)

    assert breaker.state is BreakerState.CLOSED
    assert breaker.failures == 1


def test_the_threshold_opens_it_and_what_comes_is_rejected_and_counted() -> None:
    breaker = opened()

    admitted, after = breaker.admit(later(59))

    assert breaker.state is BreakerState.OPEN
    assert not admitted
    assert after.rejected == 1
    assert after.retry_in(later(59)) == 1


def test_a_try_begun_before_it_opened_does_not_keep_it_open_for_longer() -> None:
    breaker = opened().failed(later(20))

    assert breaker.failures == 4
    assert breaker.until == later(60)


def test_half_open_lets_through_exactly_one_probe() -> None:
    first, breaker = opened().admit(later(60))
    second, breaker = breaker.admit(later(61))

    assert (first, second) == (True, False)
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    _, breaker = opened().admit(later(60))

    assert breaker.succeeded().state is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_the_whole_time_again() -> None:
    _, breaker = opened().admit(later(60))
    breaker = breaker.failed(later(61))

    assert breaker.state is BreakerState.OPEN
    assert breaker.until == later(121)


def test_a_probe_that_tells_nothing_leaves_room_for_another() -> None:
    _, breaker = opened().admit(later(60))
    admitted, _ = breaker.abandoned().admit(later(61))

    assert admitted


@given(
    st.lists(st.sampled_from(["admit", "failed", "succeeded", "abandoned", "wait"]), max_size=60)
)
def test_at_most_one_probe_is_under_way(steps: list[str]) -> None:
    breaker, now, probes = Breaker(2, 10), NOW, 0

    for step in steps:
        before = breaker.state
        match step:
            case "admit":
                admitted, breaker = breaker.admit(now)
                if admitted and before is not BreakerState.CLOSED:
                    probes += 1
            case "failed":
                breaker, probes = breaker.failed(now), 0
            case "succeeded":
                breaker, probes = breaker.succeeded(), 0
            case "abandoned":
                breaker, probes = breaker.abandoned(), 0
            case _:
                now += timedelta(seconds=6)
        assert probes <= 1
