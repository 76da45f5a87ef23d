"""The loop thread: every coroutine handed to it ends, one way or the other."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actors.loop import LoopStopped, LoopThread


async def forever() -> None:
    await asyncio.Event().wait()


async def answer() -> int:
    return 42


def test_a_result_comes_back() -> None:
    loop = LoopThread()
    loop.start()

    assert loop.wait(answer(), 5) == 42
    loop.stop()


def test_who_waits_is_told_when_the_loop_stops() -> None:
    loop = LoopThread()
    loop.start()
    told: list[BaseException] = []

    def wait() -> None:
        try:
            loop.wait(forever())
        except LoopStopped as stopped:
            told.append(stopped)

    waiting = [threading.Thread(target=wait) for _ in range(20)]
    for thread in waiting:
        thread.start()
    loop.stop()
    for thread in waiting:
        thread.join(10)

    assert len(told) == 20


def test_a_loop_that_has_stopped_takes_nothing() -> None:
    loop = LoopThread()
    loop.start()
    loop.stop()
    failed: list[Exception] = []

    with pytest.raises(LoopStopped):
        loop.wait(answer())
    loop.run(answer(), then=lambda _: None, failed=failed.append)

    assert isinstance(failed[0], LoopStopped)


def test_a_cancelled_coroutine_is_an_ordinary_failure() -> None:
    loop = LoopThread()
    loop.start()

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(LoopStopped):
        loop.wait(cancelled(), 5)
    loop.stop()
