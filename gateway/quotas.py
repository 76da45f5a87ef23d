"""What a user may ask for in a while: the quotas of each kind of request.

A request that is refused, here or for a reason of its own before it is carried
out, costs nothing. What ends something (disconnect, logout, delete) is not
limited: nobody should have to wait before a session may be stopped.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Literal, assert_never

import structlog

from events.settings import Settings
from gateway.problems import Problem
from gateway.windows import Level, LocalWindows, Verdict, Window, Windows, WindowsAway
from gateway.wire import Json

log = structlog.get_logger()

Family = Literal["sessions", "messages", "qr"]
Fallback = Literal["local", "refuse", "allow"]
Keeper = Literal["redis", "memory", "nobody"]
"""Who counts just now. With nobody, everything or nothing is let through, as configured."""

SULK = 2.0
"""Seconds for which Redis is not asked again after it did not answer."""

ACTIVE = 300.0
"""Seconds after a request for which its user counts as active."""

SENDS = re.compile(r"/api/messages/send|/api/sessions/[^/]+/messages(/[a-z]+)?")
"""Where messages are sent."""

_FAMILIES: tuple[tuple[str, re.Pattern[str], Family], ...] = (
    ("POST", re.compile(r"/api/sessions/(create|initialize|[^/]+/reconnect)"), "sessions"),
    ("POST", SENDS, "messages"),
    ("POST", re.compile(r"/api/sessions/(([^/]+/)?refresh-qr|[^/]+/pairing-code)"), "qr"),
    ("GET", re.compile(r"/api/qr/[^/]+(/[^/]+)?"), "qr"),
)


def family_of(method: str, path: str) -> Family | None:
    """Tell which quota a route falls under. By its path, so that a 401 tells its figures too."""
    for its_method, its_path, family in _FAMILIES:
        if method == its_method and its_path.fullmatch(path):
            return family
    return None


class Quotas:
    """Counts in Redis, shared by all gateways; without Redis as `RATE_LIMIT_FALLBACK` says."""

    def __init__(self, settings: Settings, shared: Windows) -> None:
        self._shared = shared
        self._local = LocalWindows()
        self._fallback: Fallback = settings.rate_limit_fallback
        self._windows = _windows(settings)
        self._ask_again = 0.0
        self._away = False
        self._allowed: Counter[str] = Counter()
        self._blocked: Counter[str] = Counter()
        self._active: OrderedDict[str, float] = OrderedDict()

    def windows(self, family: Family) -> tuple[Window, ...]:
        """Return the windows of a kind, the longest first; none if it is not limited."""
        return self._windows[family]

    @property
    def keeper(self) -> Keeper:
        """Who counts, as far as is known; for health."""
        if not self._away:
            return "redis"
        return "memory" if self._fallback == "local" else "nobody"

    async def take(self, family: Family, user: str, *more: Window) -> Verdict:
        """Take a place in all windows of a kind and in `more`, or in none.

        Raises Problem 503 when Redis is away and the fallback is to refuse.
        """
        verdict = await self._ask(user, (*self.windows(family), *more), 1)
        counted = self._allowed if verdict.allowed else self._blocked
        counted[family] += 1
        self._active[user] = time.monotonic()
        self._active.move_to_end(user)
        self._forget_idle()
        return verdict

    async def look(self, family: Family, user: str) -> tuple[Level, ...]:
        """Tell how full the windows of a kind are; as if untouched where that is not known."""
        windows = self.windows(family)
        try:
            return (await self._ask(user, windows, 0)).levels
        except Problem:
            return tuple(Level(window) for window in windows)

    def decisions(self) -> Iterator[tuple[Family, Literal["allowed", "refused"], int]]:
        """Count what this gateway let through and what not, of each kind."""
        for family in self._windows:
            yield family, "allowed", self._allowed[family]
            yield family, "refused", self._blocked[family]

    def statistics(self) -> Json:
        """Count what this gateway let through and what not; users of the last five minutes."""
        self._forget_idle()
        return {
            "allowed": self._allowed.total(),
            "blocked": self._blocked.total(),
            "activeUsers": len(self._active),
            "keeper": self.keeper,
            "byKind": {
                family: {
                    "allowed": self._allowed[family],
                    "blocked": self._blocked[family],
                    "windows": [{"limit": w.amount, "seconds": w.seconds} for w in windows],
                }
                for family, windows in self._windows.items()
            },
        }

    async def close(self) -> None:
        """Let go of Redis."""
        await self._shared.close()

    async def _ask(self, user: str, windows: tuple[Window, ...], cost: int) -> Verdict:
        if not windows:
            return Verdict(True, ())
        if time.monotonic() >= self._ask_again:
            try:
                verdict = await self._shared.take(user, windows, cost)
            except WindowsAway as error:
                self._ask_again = time.monotonic() + SULK
                self._say(away=True, error=str(error))
            else:
                self._say(away=False)
                return verdict
        match self._fallback:
            case "local":
                return await self._local.take(user, windows, cost)
            case "refuse":
                detail = "The rate limits cannot be read just now; try again."
                raise Problem(503, "limits_away", detail, retry_after=SULK)
            case "allow":
                return Verdict(True, tuple(Level(window) for window in windows))
            case _:
                assert_never(self._fallback)

    def _say(self, *, away: bool, error: str | None = None) -> None:
        if away != self._away:
            self._away = away
            if away:
                log.warning("quotas.redis_away", fallback=self._fallback, error=error)
            else:
                log.info("quotas.redis_back")

    def _forget_idle(self) -> None:
        since = time.monotonic() - ACTIVE
        while self._active and next(iter(self._active.values())) < since:
            self._active.popitem(last=False)


def _windows(settings: Settings) -> dict[Family, tuple[Window, ...]]:
    """Read the windows; one of 0 places is no limit."""
    table: dict[Family, tuple[tuple[int, int], ...]] = {
        "sessions": ((settings.sessions_per_minute, 60), (settings.sessions_per_second, 1)),
        "messages": ((settings.sends_per_minute, 60), (settings.sends_per_second, 1)),
        "qr": ((settings.qr_per_5_minutes, 300), (settings.qr_per_second, 1)),
    }
    return {
        family: tuple(
            Window(family if seconds > 1 else f"{family}-burst", amount, seconds)
            for amount, seconds in windows
            if amount
        )
        for family, windows in table.items()
    }


def too_many(user: str, verdict: Verdict) -> Problem:
    """Say which window is full, and when there is room again."""
    full = max((x for x in verdict.levels if not x.remaining), key=lambda level: level.free)
    window = full.window
    wait = max(0.001, verdict.wait)
    kind = window.name.removesuffix("-burst")
    return Problem(
        429,
        "new_chats" if kind == "new-chats" else "rate_limited",
        f"User {user} may make at most {window.amount} requests of the kind {kind} in "
        f"{window.seconds} s; there is room again in {math.ceil(wait)} s.",
        retry_after=wait,
        limit=window.name,
    )
