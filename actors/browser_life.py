"""A session's hold on its browser, from launch to the last trace.

Each launch and each close begins a new life; what the page of an earlier life
still tells is old news. Whatever touches the profile folder is done strictly
one after the other: a launch waits for the close before it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog

from actors.browser.protocol import Browser, Launcher, Sighting
from actors.loop import LoopThread
from events.subjects import SessionId

T = TypeVar("T")


class BrowserLife:
    """At most one browser at a time. Used on the session's own thread only."""

    def __init__(
        self, identity: SessionId, launcher: Launcher, loop: LoopThread, profile: Path
    ) -> None:
        self.number = 0
        self.browser: Browser | None = None
        self._owner = str(identity)
        self._launcher, self._loop, self._profile = launcher, loop, profile
        self._last: asyncio.Future[None] | None = None
        self._log = structlog.get_logger().bind(session=self._owner)

    def launch(
        self,
        before: Callable[[], Coroutine[Any, Any, None]],
        seen: Callable[[int, Sighting], None],
        failed: Callable[[int, Exception], None],
    ) -> None:
        """Start a browser once `before` is done, which may touch the profile.

        Sightings and a failure, of `before` too, carry the number of the life.
        """
        self.number += 1
        life, last = self.number, self._last
        done: asyncio.Future[None] = self._loop.loop.create_future()
        self._last = done
        browser = self._launcher.browser(self._profile, self._owner)
        self.browser = browser

        async def start() -> None:
            try:
                if last is not None:
                    await asyncio.shield(last)
                if life == self.number:
                    await before()
            finally:
                done.set_result(None)
            # Closed while it waited: the life is over before it began.
            if life == self.number:
                await browser.start(lambda sighting: seen(life, sighting))

        self._loop.run(start(), lambda _: None, lambda error: failed(life, error))

    def close(self) -> None:
        """End the life. The browser goes away in the background, gracefully or not."""
        browser, self.browser = self.browser, None
        self.number += 1
        if browser is not None:
            self.afterwards(browser.close, lambda _: None, self._failed)

    def forget(self) -> None:
        """Delete the profile, and with it the credentials, once the browser is gone."""

        async def forget() -> None:
            await asyncio.to_thread(shutil.rmtree, self._profile, ignore_errors=True)

        self.afterwards(forget, lambda _: None, self._failed)

    def afterwards(
        self,
        step: Callable[[], Coroutine[Any, Any, T]],
        then: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run a step on the profile once everything that was begun before it has ended."""
        before = self._last
        done: asyncio.Future[None] = self._loop.loop.create_future()
        self._last = done

        async def work() -> T:
            try:
                if before is not None:
                    await before
                return await step()
            finally:
                done.set_result(None)

        self._loop.run(work(), then, failed)

    async def over(self) -> None:
        """Wait until everything that was begun has ended. On the loop thread."""
        if self._last is not None:
            await asyncio.shield(self._last)

    def _failed(self, error: Exception) -> None:
        self._log.error("browser.cleanup_failed", error=type(error).__name__)
