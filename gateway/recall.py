"""A session as the log holds it: all of it, and never much at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from events import subjects
from events.log import Hole, LogAway, Stored
from events.subjects import SessionId
from gateway.broker import Broker, BrokerAway, BrokerLog
from projections.retelling import Retelling
from projections.views import MessageView

T = TypeVar("T")

HELD = 1_000
"""Messages within which receipts of one are awaited."""

PAGE = 500
"""Events that are read at once. No reader is kept while a slow client takes them."""

STRETCH, LONGEST = 4_000, 16_000
"""Places of the log that are looked at at once. Those of other sessions are among them."""

BREATH = 50
"""Messages that are told without letting anybody else have the loop."""

READERS = 4
"""Temporary readers at once."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The messages that began in a stretch of the log, the newest first.

    Whatever began before `reached` is still to be looked at, unless it is the `last`.
    """

    messages: list[MessageView]
    reached: int
    last: bool


class Recall:
    """Reads the log again. Every call raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        self._log = BrokerLog(broker)
        self._readers = asyncio.Semaphore(READERS)

    async def transitions(self, session: SessionId) -> AsyncGenerator[Stored]:
        """Give every event of the session's own, oldest first."""
        async with self._readers, aclosing(self._read(subjects.session_family(session), 1)) as read:
            async for stored in read:
                yield stored

    async def forward(self, session: SessionId) -> AsyncGenerator[list[MessageView]]:
        """Give every message, oldest first, some at a time."""
        retelling, start, more = Retelling(HELD), 1, True
        while more:
            page = await self._page(session, start, PAGE)
            told = [view async for stored in _slowly(page) if (view := retelling.take(stored))]
            more = len(page) == PAGE
            if more:
                start = page[-1].position + 1
            else:
                told += [view async for view in _slowly(retelling.rest())]
            yield told

    async def backward(
        self, session: SessionId, before: int | None = None
    ) -> AsyncGenerator[Stretch]:
        """Give every message that began before a position, a stretch at a time, newest first."""
        oldest = await self._page(session, 1, 1)
        try:
            end = 1 + await self._log.tail(subjects.message_family(session))
        except LogAway as error:
            raise BrokerAway from error
        first = oldest[0].position if oldest else end
        end, size = min(end, before or end), STRETCH
        while end > first:
            start = max(first, end - size)
            found = await self._stretch(session, start, end)
            yield Stretch(found[::-1], start, last=start == first)
            # Much or little of a stretch may be of this session.
            size = max(STRETCH, size // 2) if len(found) > STRETCH else min(LONGEST, size * 2)
            end = start

    async def _stretch(self, session: SessionId, start: int, end: int) -> list[MessageView]:
        retelling, beyond = Retelling(end - start + HELD), 0
        async with self._readers, aclosing(self._messages(session, start)) as events:
            async for stored in events:
                # Past the end too, for what became of the last ones.
                beyond += stored.position >= end
                if beyond > HELD:
                    break
                retelling.take(stored)
        return [view async for view in _slowly(retelling.rest()) if view.position < end]

    async def _page(self, session: SessionId, start: int, size: int) -> list[Stored]:
        page: list[Stored] = []
        async with self._readers, aclosing(self._messages(session, start)) as events:
            async for stored in events:
                page.append(stored)
                if len(page) == size:
                    break
        return page

    def _messages(self, session: SessionId, start: int) -> AsyncGenerator[Stored]:
        return self._read(subjects.message_family(session), start)

    async def _read(self, family: str, start: int) -> AsyncGenerator[Stored]:
        try:
            async with aclosing(self._log.read([family], start)) as read:
                number = 0
                async for stored in read:
                    number += 1
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
                    yield stored
        except (LogAway, Hole) as error:
            raise BrokerAway from error


async def _slowly(many: Iterable[T]) -> AsyncGenerator[T]:
    """Give one after the other, and way to others in between."""
    for number, one in enumerate(many, 1):
        if number % BREATH == 0:
            await asyncio.sleep(0)
        yield one
