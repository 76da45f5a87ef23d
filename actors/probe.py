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

    def look(self) -> None:
        """Ask how the page is, and again after the interval."""
        self._call(lambda page: page.status())
        self._own.timers.ring("probe", self._own.node.settings.probe_interval)

    def look_soon(self) -> None:
        """Ask again as soon as a page that navigates can be there."""
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
