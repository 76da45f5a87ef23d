"""The liveness probe: a page is asked how it is, for what exists may long be dead."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from actors.browser.protocol import Browser, PageStatus
from actors.session_messages import Answered
from actors.session_parts import SessionParts


class Probe:
    """Asks one session's page. What it says, or that it fails, comes back as `Answered`."""

    def __init__(self, own: SessionParts) -> None:
        self._own = own
        self._heard = float("-inf")
        self._must = False

    def heard(self) -> None:
        """Note that the page said something: that is as good as an answer."""
        self._heard = self._own.node.clock.monotonic()

    def look(self) -> None:
        """Ask how the page is once it was silent for the interval, and again after that."""
        interval = self._own.node.settings.probe_interval
        silent = self._own.node.clock.monotonic() - self._heard
        if self._must or silent >= interval:
            self._must, silent = False, 0.0
            self._call(lambda page: page.status())
        # Never later than an interval after its last word, so what freezes is noticed in time.
        self._own.timers.ring("probe", interval - silent)

    def look_soon(self) -> None:
        """Ask again as soon as a page that navigates can be there, whatever it says meanwhile."""
        self._must = True
        self._own.timers.ring("probe", self._own.node.settings.probe_timeout)

    def refresh_qr(self) -> None:
        """Have the page show a new code; only a failure is news."""
        self._call(lambda page: page.refresh_qr())

    def _call(self, call: Callable[[Browser], Coroutine[Any, Any, PageStatus | None]]) -> None:
        own = self._own
        life, browser = own.life.number, own.life.browser
        if browser is not None:
            own.node.loop.run(
                call(browser),
                then=lambda answer: own.tell_me(Answered(life, answer)),
                failed=lambda error: own.tell_me(Answered(life, error)),
            )
