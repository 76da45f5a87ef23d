"""The record of one delivery: how far it is, written now and then, by one gateway only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from events.bucket import Moved
from events.clock import utc_now
from events.envelope import new_id
from events.subjects import SessionId
from gateway.broker import BrokerAway
from gateway.webhooks.bucket import Bucket
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.lane import Lane
from gateway.webhooks.past import Due, Past
from gateway.webhooks.progress import RECENT, Delivered, Progress, Stopped, Totals, key_of

SAVE = 0.5
"""Seconds between two writes."""


class Superseded(Exception):
    """The endpoint is gone, or another gateway delivers to it now."""


class Record:
    """What is known of a delivery here; the bucket holds what of it was saved.

    It is written whole, and only over what was read, so a gateway that lost its
    lease cannot move it.
    """

    def __init__(self, endpoint: Endpoint, bucket: Bucket) -> None:
        self._key = key_of(endpoint.id)
        self._bucket = bucket
        self._me = new_id()
        self._revision = 0
        self._unsaved = asyncio.Event()
        self._recent: deque[Delivered] = deque(maxlen=RECENT)
        self.position = 0
        self.totals = Totals()
        self.lanes: dict[SessionId, Lane] = {}

    async def open(self) -> Iterable[Lane]:
        """Read what was saved, and return the lanes in it; raises Superseded, BrokerAway."""
        entry = await self._bucket.get(self._key)
        if entry is None:
            raise Superseded
        held = Progress.model_validate_json(entry.raw)
        self._revision = entry.revision
        self.position = held.position
        self.totals = held.totals
        self._recent.extend(held.recent)
        return held.opened()

    def begin_again(self) -> None:
        """Stand at the beginning of a log that is another one."""
        self.position = 0

    def changed(self) -> None:
        """Have it saved soon."""
        self._unsaved.set()

    def note(
        self,
        lane: Lane,
        due: Due,
        status: str,
        *,
        attempts: int,
        error: str | None = None,
        code: int | None = None,
        replied: str | None = None,
    ) -> None:
        """Note what became of an event; one that is tried again and again is noted once."""
        event_id = due.told.envelope.id
        for held in list(self._recent):
            if held.id == event_id:
                self._recent.remove(held)
        self._recent.append(
            Delivered(
                id=event_id,
                position=due.told.position,
                event=due.name,
                session=lane.session.joined,
                status=status,
                attempts=attempts,
                error=error,
                code=code,
                replied=replied,
                at=utc_now(),
            )
        )
        self.changed()

    async def keep_saving(self, past: Past) -> None:
        """Save what changes, for ever; raises Superseded."""
        while True:
            await self._unsaved.wait()
            try:
                await self.save()
            except BrokerAway:
                await past.until_there()
            await asyncio.sleep(SAVE)

    async def save(self) -> None:
        """Write what was not saved yet; raises Superseded, BrokerAway."""
        while self._unsaved.is_set():
            self._unsaved.clear()
            try:
                raw = self._progress().encoded()
                self._revision = await self._bucket.write(self._key, raw, self._revision)
            except BrokerAway:
                self._unsaved.set()
                raise
            except Moved:
                # A write of our own may have landed though its answer was lost.
                self._unsaved.set()
                entry = await self._bucket.get(self._key)
                if entry is None or Progress.model_validate_json(entry.raw).writer != self._me:
                    raise Superseded from None
                self._revision = entry.revision

    def _progress(self) -> Progress:
        return Progress(
            position=self.position,
            writer=self._me,
            lanes={s.dotted: Stopped.of(lane) for s, lane in self.lanes.items() if lane.waiting},
            recent=tuple(self._recent),
            totals=self.totals,
        )
