"""The past of the log, for whoever comes back with a position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from events import subjects
from events.clock import utc_now
from events.connection import AWAY
from events.log import Hole, LogAway, Stored
from events.settings import Settings
from gateway import frames
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.directory import Directory
from gateway.frames import Frame
from gateway.watch import Watch

READERS = 8
"""Temporary readers at once."""

PAGE, LARGE = 500, 2_000_000
"""Events and bytes that are read at once. No reader is kept while a slow client takes them."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may be missing. `foreign`: the position is of another log altogether."""

    frame: Frame
    foreign: bool


class Replay:
    """Reads the log again, from a position. Every call raises BrokerAway."""

    def __init__(self, settings: Settings, broker: Broker, directory: Directory) -> None:
        self._memory = timedelta(days=settings.message_days)
        self._broker = broker
        self._log = BrokerLog(broker)
        self._directory = directory
        self._readers = asyncio.Semaphore(READERS)

    async def gap(self, watch: Watch, since: int) -> Gap | None:
        """Tell whether something after a position may be gone from the log."""
        session = watch.session or "*"
        try:
            newest = await self._log.tail(subjects.ALL_EVENTS)
            if since > newest:
                return Gap(frames.gap(session, since, newest, "unknown_position"), foreign=True)
            if since == newest:
                return None
            first = await self._broker.jetstream.get_msg(
                subjects.EVENTS, seq=max(1, since), subject=subjects.ALL_EVENTS, next=True
            )
        except (LogAway, *AWAY) as error:
            raise BrokerAway from error
        # Session events stay for ever and messages expire among them. So where the
        # event at the position is younger than messages get, nothing has expired
        # since; a place that is empty then is of a session that was deleted.
        gone = first.seq is None or first.seq > since + 1
        old = first.time is None or first.time < utc_now() - self._memory
        if not gone and not old:
            return None
        return Gap(frames.gap(session, since, first.seq, "expired"), foreign=False)

    async def read(self, watch: Watch, since: int) -> AsyncGenerator[Frame]:
        """Give every frame after a position that the log holds now."""
        pair = None if watch.session is None else await self._directory.pair(watch.session)
        filters = (
            (subjects.ALL_SESSION_EVENTS, subjects.ALL_MESSAGE_EVENTS)
            if pair is None
            else (subjects.session_family(pair), subjects.message_family(pair))
        )
        start, more = since + 1, True
        while more:
            page, more = await self._page(filters, start)
            for stored in page:
                start = stored.position + 1
                told = frames.decoded(stored)
                frame = None if told is None else frames.of_event(told)
                if frame is not None and watch.wants(frame):
                    yield frame

    async def _page(self, filters: Sequence[str], start: int) -> tuple[list[Stored], bool]:
        """Read some of what there is from a position on, and tell whether there is more."""
        page: list[Stored] = []
        size = 0
        async with self._readers:
            try:
                async with aclosing(self._log.read(filters, start)) as events:
                    async for stored in events:
                        page.append(stored)
                        size += len(stored.raw)
                        if len(page) == PAGE or size > LARGE:
                            return page, True
            except (LogAway, Hole) as error:
                raise BrokerAway from error
        return page, False
