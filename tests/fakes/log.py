"""The log in memory: same answers as JetStream, and faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from events import codec
from events.envelope import Envelope
from events.log import Conflict, Guard, LogAway, Stored, Unknown


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a NATS subject matches a filter with `*` and `>`."""
    wanted, held = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(held) > index
        if index >= len(held) or part not in {"*", held[index]}:
            return False
    return len(wanted) == len(held)


@dataclass
class Faults:
    """What goes wrong, counted down: each append uses one up."""

    lose_acks: int = 0  # it is stored, the answer is lost, and asking again tells
    vanish: int = 0  # it is stored, and nobody ever answers: Unknown
    refuse: int = 0  # it is not stored, and nobody ever answers: Unknown
    away: bool = False  # nothing is stored, nothing is answered


class MemoryLog:
    """A log for tests. Safe to use from several loops: appends never yield in between."""

    def __init__(self) -> None:
        self.events: list[Stored] = []
        self.faults = Faults()
        self.fenced = True
        self._ids: dict[str, int] = {}
        self._news: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        """Store once; see events.log.Log.append."""
        if self.faults.away or self.faults.refuse > 0:
            self.faults.refuse = max(0, self.faults.refuse - 1)
            raise Unknown(subject)
        position = self._store(subject, event, guard)
        if self.faults.vanish > 0:
            self.faults.vanish -= 1
            raise Unknown(subject)
        if self.faults.lose_acks > 0:
            self.faults.lose_acks -= 1
            position = self._store(subject, event, guard)
        return position

    def _store(self, subject: str, event: Envelope, guard: Guard) -> int:
        tail = self._tail(guard.family)
        if self.fenced and tail != guard.tail:
            head = next((s for s in reversed(self.events) if s.subject == subject), None)
            if head is not None and head.envelope.id == event.id:
                return head.position
            raise Conflict(subject, guard.tail, tail)
        if event.id in self._ids:
            return self._ids[event.id]
        position = len(self.events) + 1
        self.events.append(Stored(position, subject, datetime.now(UTC), codec.encode(event)))
        self._ids[event.id] = position
        for loop, news in self._news:
            loop.call_soon_threadsafe(news.set)
        return position

    def _tail(self, family: str) -> int:
        return next((s.position for s in reversed(self.events) if matches(family, s.subject)), 0)

    async def tail(self, family: str) -> int:
        """See events.log.Log.tail."""
        if self.faults.away:
            raise LogAway("away")
        return self._tail(family)

    async def last(self, family: str) -> Envelope | None:
        """See events.log.Log.last."""
        if self.faults.away:
            raise LogAway("away")
        found = (s for s in reversed(self.events) if matches(family, s.subject))
        return next((stored.envelope for stored in found), None)

    async def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """See events.log.Log.read."""
        if self.faults.away:
            raise LogAway("away")
        for stored in list(self.events):
            late = since is None or stored.stored_at >= since
            if stored.position >= start and late and _any(filters, stored.subject):
                yield stored

    async def follow(self, filters: Sequence[str], start: int) -> AsyncIterator[Stored | None]:
        """See events.log.Log.follow."""
        news = asyncio.Event()
        entry = (asyncio.get_running_loop(), news)
        self._news.append(entry)
        position = start
        try:
            while True:
                news.clear()
                found = [
                    s for s in self.events if s.position >= position and _any(filters, s.subject)
                ]
                for stored in found:
                    yield stored
                    position = stored.position + 1
                yield None
                await news.wait()
        finally:
            self._news.remove(entry)


def _any(filters: Sequence[str], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in filters)
