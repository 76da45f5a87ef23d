"""One asyncio loop for the node, on a thread of its own.

Actors hand it coroutines and get messages back; they wait for it only while
they append to the log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class LoopStopped(Exception):
    """The node is shutting down; the coroutine was not run to its end."""


class LoopThread:
    """Runs coroutines for actors."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="asyncio", daemon=True)
        # Taken for the moment of handing over only: what is handed over before the
        # stop is seen by it, and nothing is handed to a loop that will never run it.
        self._handing_over = threading.Lock()
        self._stopping = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(
        self,
        work: Coroutine[Any, Any, T],
        then: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `work`; exactly one of `then` and `failed` is called, on the loop thread.

        Both should do no more than tell an actor.
        """

        def done(future: concurrent.futures.Future[T]) -> None:
            # A cancelled coroutine would be asyncio's CancelledError, a BaseException
            # that stops every actor of the process; here it is an ordinary failure.
            if future.cancelled():
                failed(LoopStopped())
                return
            error = future.exception()
            if error is None:
                then(future.result())
            elif isinstance(error, Exception):
                failed(error)
            else:
                failed(LoopStopped(repr(error)))

        try:
            self._hand_over(work).add_done_callback(done)
        except LoopStopped as stopped:
            failed(stopped)

    def wait(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run `work` and block this thread until it ends. Only for an actor's own append.

        Raises what `work` raises; LoopStopped if it was cancelled; TimeoutError
        after `timeout` seconds, and the work goes on.
        """
        future = self._hand_over(work)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise LoopStopped from None

    def _hand_over(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        with self._handing_over:
            if self._stopping:
                work.close()
                raise LoopStopped
            return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, function: Callable[[], None]) -> None:
        """Run a plain function on the loop thread, soon."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """Cancel what still runs, let it unwind, and end the thread."""

        async def unwind() -> None:
            # Once is not enough: before Python 3.12 `wait_for` loses a cancellation
            # that comes in the same moment as its result.
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=0.2)

        with self._handing_over:
            self._stopping = True
        asyncio.run_coroutine_threadsafe(unwind(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
