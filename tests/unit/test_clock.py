"""The clocks: the real one fires from any thread, the virtual one only when told to."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, timedelta

import pytest

from events.clock import Cancel, Clock, SystemClock, epoch, utc_now
from tests.fakes.clock import START, VirtualClock


def test_the_virtual_clock_stands_still() -> None:
    clock: Clock = VirtualClock()

    first = clock.now()

    assert first == clock.now() == START
    assert first.tzinfo is UTC
    assert clock.monotonic() == 0.0


def test_both_times_move_together() -> None:
    clock = VirtualClock()

    clock.advance(1.5)
    clock.advance(0)

    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_due_calls_fire_in_order_of_time_and_then_of_asking() -> None:
    clock = VirtualClock()
    fired: list[str] = []
    clock.after(3, lambda: fired.append("third"))
    clock.after(1, lambda: fired.append("first"))
    clock.after(2, lambda: fired.append("second"))
    clock.after(2, lambda: fired.append("second, asked later"))
    clock.after(4, lambda: fired.append("not yet"))

    clock.advance(3)

    assert fired == ["first", "second", "second, asked later", "third"]
    assert clock.pending == 1


def test_a_call_sees_the_time_it_asked_for() -> None:
    clock = VirtualClock()
    seen: list[float] = []
    clock.after(2, lambda: seen.append(clock.monotonic()))

    clock.advance(10)

    assert seen == [2]
    assert clock.monotonic() == 10


def test_calls_set_while_advancing_fire_too() -> None:
    clock = VirtualClock()
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(clock.monotonic())
        clock.after(1, tick)

    clock.after(1, tick)
    clock.advance(3.5)

    assert ticks == [1, 2, 3]
    assert clock.next_due == 0.5


def test_nothing_fires_without_advancing_not_even_at_once() -> None:
    clock = VirtualClock()
    fired: list[str] = []

    clock.after(0, lambda: fired.append("zero"))
    clock.after(-5, lambda: fired.append("the past"))

    assert fired == []
    clock.advance(0)
    assert fired == ["zero", "the past"]


def test_a_cancelled_call_does_not_fire_even_if_cancelled_on_the_same_instant() -> None:
    clock = VirtualClock()
    fired: list[str] = []
    cancels: list[Cancel] = []
    clock.after(1, lambda: cancels[0]())  # noqa: PLW0108 - filled in below
    cancels.append(clock.after(1, lambda: fired.append("cancelled")))

    clock.advance(1)
    cancels[0]()

    assert fired == []
    assert clock.pending == 0


def test_a_call_that_raises_leaves_the_rest_in_place() -> None:
    clock = VirtualClock()
    fired: list[float] = []
    clock.after(1, lambda: 1 / 0)
    clock.after(2, lambda: fired.append(clock.monotonic()))

    with pytest.raises(ZeroDivisionError):
        clock.advance(5)

    assert clock.monotonic() == 1
    clock.advance(1)
    assert fired == [2]


def test_time_does_not_run_backwards() -> None:
    clock = VirtualClock()

    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-0.1)


def test_any_thread_may_set_timers() -> None:
    clock = VirtualClock()
    fired: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: clock.after(n, lambda: fired.append(n)))
        for n in (3, 1, 2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.advance(3)

    assert fired == [1, 2, 3]


async def test_the_systems_clock_fires_on_its_loop_when_set_from_a_thread() -> None:
    loop = asyncio.get_running_loop()
    clock: Clock = SystemClock(loop)
    fired = asyncio.Event()

    await asyncio.to_thread(clock.after, -1, fired.set)

    await asyncio.wait_for(fired.wait(), 5)


async def test_a_timer_of_the_systems_clock_can_be_cancelled_before_it_was_armed() -> None:
    clock = SystemClock(asyncio.get_running_loop())
    fired: list[str] = []

    cancel = clock.after(0, lambda: fired.append("cancelled"))
    cancel()
    done = asyncio.Event()
    clock.after(0, done.set)
    await asyncio.wait_for(done.wait(), 5)

    assert fired == []


async def test_cancelling_after_the_loop_was_closed_does_nothing() -> None:
    loop = asyncio.new_event_loop()
    cancel = SystemClock(loop).after(60, lambda: None)
    loop.close()

    cancel()


def test_the_time_of_day_is_aware() -> None:
    assert utc_now().tzinfo is UTC
    assert epoch(0).isoformat() == "1970-01-01T00:00:00+00:00"
